//! The head of a request as the upstream gets it: written anew from the judged one, which stays whole with the hub,
//! so that it can be judged and written again. Body and framing are set by [`super::upstream`].

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Uri, Version, request};

use super::connection::Peer;
use super::headers;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A judged request and what it takes to write it for the upstream.
#[derive(Debug)]
pub struct Outbound<'a> {
    /// The head as it was received and judged.
    pub head: &'a request::Parts,
    pub peer: &'a Peer,
    /// Path and query as judged, in origin form.
    pub uri: &'a Uri,
    /// The upstream's own name.
    pub host: &'a HeaderValue,
    /// Fields that the gate sets or, with `None`, takes away: the credential. They win over everything.
    pub replace: &'a [(HeaderName, Option<HeaderValue>)],
}

impl Outbound<'_> {
    /// The head to send. Never fails, and leaves `self` as it was: a retry writes the same again.
    pub fn to_head(&self) -> request::Parts {
        let mut parts = http::Request::new(()).into_parts().0;
        parts.method = self.head.method.clone();
        parts.uri = self.uri.clone();
        parts.version = Version::HTTP_11;
        parts.headers = self.fields();
        parts
    }

    fn fields(&self) -> HeaderMap {
        let received = &self.head.headers;
        let mut fields = HeaderMap::with_capacity(received.len() + 6);
        fields.insert(header::HOST, self.host.clone());
        let named = headers::names_fields(received);
        for (name, value) in received {
            if headers::is_stripped(name.as_str()) || named && headers::is_named_by_connection(received, name.as_str())
            {
                continue;
            }
            fields.append(name, value.clone());
        }
        // What the proxy itself says comes after the stripping, so no `Connection` option can take it away (H04).
        if headers::takes_trailers(received) {
            fields.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if let Some(host) = received.get(header::HOST) {
            fields.insert(X_FORWARDED_HOST, host.clone());
        }
        if let Some(address) = &self.peer.forwarded_for {
            fields.insert(X_FORWARDED_FOR, address.clone());
        }
        fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.peer.scheme()));
        // RFC 9110 §7.6.3: a gateway must say so to the inbound side; it costs one insert and shows loops.
        fields.append(header::VIA, HeaderValue::from_static("1.1 scopegate"));
        for (name, value) in self.replace {
            match value {
                Some(value) => drop(fields.insert(name, value.clone())),
                None => drop(fields.remove(name)),
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn sent(fields: &[(&str, &str)], replace: &[(HeaderName, Option<HeaderValue>)]) -> HeaderMap {
        let mut request = Request::builder().uri("/rest/api/3/issue/A-1?x=1");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let peer = Peer::of_address("192.0.2.1:4000".parse().expect("an address"));
        let host = HeaderValue::from_static("acme.atlassian.net");
        let uri = head.uri.clone();
        Outbound { head: &head, peer: &peer, uri: &uri, host: &host, replace }.to_head().headers
    }

    #[test]
    fn forwarded_fields_are_rebuilt_from_the_connection() {
        let fields = sent(
            &[
                ("host", "gate:8080"),
                ("x-forwarded-for", "10.0.0.1"),
                ("X_Forwarded_Proto", "https"),
                ("forwarded", "for=1"),
            ],
            &[],
        );
        assert_eq!(fields["host"], "acme.atlassian.net");
        assert_eq!(fields["x-forwarded-for"], "192.0.2.1");
        assert_eq!(fields["x-forwarded-proto"], "http");
        assert_eq!(fields["x-forwarded-host"], "gate:8080");
        assert_eq!(fields["via"], "1.1 scopegate");
        assert_eq!(fields.len(), 5);
    }

    #[test]
    fn connection_takes_away_what_it_names_but_nothing_that_the_proxy_sets() {
        let fields = sent(
            &[("host", "gate"), ("connection", "X-Hop, X-Forwarded-For, via, te"), ("x-hop", "1"), ("te", "trailers")],
            &[],
        );
        assert!(!fields.contains_key("x-hop"));
        assert_eq!(fields["x-forwarded-for"], "192.0.2.1");
        assert_eq!(fields["via"], "1.1 scopegate");
        assert_eq!(fields["te"], "trailers");
    }

    #[test]
    fn the_credential_of_the_gate_replaces_every_one_of_the_client() {
        let fields = sent(
            &[("host", "gate"), ("authorization", "Bearer sg_a"), ("authorization", "Bearer sg_b"), ("x-key", "sg_a")],
            &[
                (header::AUTHORIZATION, Some(HeaderValue::from_static("Bearer real"))),
                (HeaderName::from_static("x-key"), None),
            ],
        );
        assert_eq!(fields.get_all("authorization").iter().collect::<Vec<_>>(), ["Bearer real"]);
        assert!(!fields.contains_key("x-key"));
    }

    #[test]
    fn trace_context_passes_and_repeated_fields_stay_in_order() {
        let fields = sent(&[("host", "gate"), ("traceparent", "00-1-2-01"), ("accept", "a"), ("accept", "b")], &[]);
        assert_eq!(fields["traceparent"], "00-1-2-01");
        assert_eq!(fields.get_all("accept").iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
