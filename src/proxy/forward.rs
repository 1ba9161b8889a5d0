//! The head of a request as the upstream gets it: written anew from the judged one, which stays whole with the hub,
//! so that it can be judged and written again. Body and framing are set by [`super::upstream`].

use base64::Engine as _;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Response, Uri, Version, request};

use super::body::{Body, Held, RequestBody};
use super::connection::Peer;
use super::headers;
use super::links;
use super::upstream::{SendError, Upstream};
use super::websocket::Handshake;
use crate::authz::decide::is_same_request;
use crate::authz::gate::GateRules;
use crate::authz::identity::KeyPlaces;
use crate::authz::looked_up::LookedUp;
use crate::authz::policy::credentials::Secret;
use crate::authz::policy::document::UpstreamScheme;
use crate::authz::request::{BodyFacts, Facts, RequestView, parse_body};
use crate::authz::{Credential, Denial, Permit, Reason};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A permitted request as it will be sent: the gate key gone, the real credential in its place.
#[derive(Debug)]
pub struct FinalForm {
    path: PathAndQuery,
    /// What takes the caller's credential's place.
    replace: Option<(HeaderName, Option<HeaderValue>)>,
    /// The answer must be one that can be looked into.
    links_are_read: bool,
    body: RequestBody,
}

impl FinalForm {
    /// Takes the gate key out of wherever it stood. A request that this rewrites is read again, and must be the same
    /// operation on the same containers (law 5).
    ///
    /// # Errors
    /// What goes upstream would not be what was judged, or the credential is not one that a header can hold.
    pub fn of(
        gate: &GateRules,
        head: &request::Parts,
        request: &RequestView<'_>,
        facts: &Facts<'_>,
        permit: &Permit,
        body: RequestBody,
    ) -> Result<Self, Box<Denial>> {
        let unsendable = |why| Box::new(Denial { why: Some(why), ..Denial::of(Reason::BadRequest) });
        let path = |target: &str| match head.uri.path_and_query() {
            // Most are sent as they were received, and need not be parsed again.
            Some(received) if received == target => Ok(received.clone()),
            _ => PathAndQuery::try_from(target).map_err(|_| unsendable("the path or query cannot be sent on")),
        };
        let listened_to = permit.operation.is_some_and(|id| gate.catalog.is_listened_to(id));
        let links_are_read = listened_to || links::rules(&gate.catalog, permit.operation).is_some();
        let (scheme, secret, stood_in) = match &permit.credential {
            Credential::PassThrough if permit.url_signed => {
                return Ok(Self { path: path(request.received_target())?, replace: None, links_are_read, body });
            }
            Credential::PassThrough => {
                return Ok(Self { path: path(&request.forward_target())?, replace: None, links_are_read, body });
            }
            Credential::Replace { scheme, secret, stood_in } => (*scheme, secret, *stood_in),
        };
        let unreadable = "the gate's credential for the product cannot stand in a header";
        let value = authorization(scheme, secret)
            .ok_or_else(|| Box::new(Denial { why: Some(unreadable), ..Denial::of(Reason::UpstreamUnreachable) }))?;
        let replace = Some((header::AUTHORIZATION, Some(value)));
        if !stood_in.query && !stood_in.form {
            return Ok(Self { path: path(&request.forward_target())?, replace, links_are_read, body });
        }
        let (target, body) = without_key(gate, request, facts, permit, stood_in, body).map_err(unsendable)?;
        Ok(Self { path: path(&target)?, replace, links_are_read, body })
    }

    /// Sends it, under the generation that permitted it.
    ///
    /// # Errors
    /// No answer came; `Moved`: nothing was sent, for the permit no longer holds.
    pub async fn send(
        self,
        upstream: &Upstream,
        peer: &Peer,
        head: &request::Parts,
        permit: &Permit,
        handshake: Option<&Handshake>,
        called: Option<&HeaderValue>,
    ) -> Result<Response<Body>, SendError> {
        let host = &upstream.target().host;
        let replace = self.replace.as_slice();
        let links_are_read = self.links_are_read;
        let outbound = Outbound { head, peer, path: &self.path, host, called, replace, links_are_read, handshake };
        upstream.send(permit.generation, || outbound.to_head(), self.body, handshake).await
    }
}

/// `Bearer <secret>` (RFC 6750 §2.1) or `Basic base64(<secret>)` (RFC 7617 §2), marked as not to be logged.
pub fn authorization(scheme: UpstreamScheme, secret: &Secret) -> Option<HeaderValue> {
    let mut value = match scheme {
        UpstreamScheme::Bearer => [b"Bearer ", secret.bytes()].concat(),
        UpstreamScheme::Basic => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(secret.bytes());
            format!("Basic {encoded}").into_bytes()
        }
    };
    let header = HeaderValue::from_bytes(&value).ok();
    value.fill(0);
    header.map(|mut header| {
        header.set_sensitive(true);
        header
    })
}

/// The target and body without the members that held the gate key.
fn without_key(
    gate: &GateRules,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
    permit: &Permit,
    stood_in: KeyPlaces,
    body: RequestBody,
) -> Result<(String, RequestBody), &'static str> {
    let tokens = &gate.catalog.tokens;
    let query = if stood_in.query { request.arguments().without(&tokens.query) } else { request.query.to_owned() };
    let target = if query.is_empty() { request.path.to_string() } else { format!("{}?{query}", request.path) };
    let held = match (&facts.body, body) {
        (BodyFacts::Form(pairs), RequestBody::Held(held)) if stood_in.form => {
            Held { bytes: Bytes::from(pairs.without(&tokens.body)), trailers: held.trailers }
        }
        (_, RequestBody::Held(held)) => held,
        (_, RequestBody::Empty) => Held::default(),
        (_, RequestBody::Stream(_)) => return Err("the body that holds the key was not held"),
    };
    if permit.operation.is_some() {
        let last = request.retargeted(&target).map_err(|error| error.0)?;
        let body = parse_body(&last.headers.clone(), &held.bytes).map_err(|error| error.0)?;
        let last_facts =
            Facts { now_ms: facts.now_ms, behind_ms: facts.behind_ms, body, looked_up: LookedUp::nothing() };
        if !is_same_request(gate, (request, facts), (&last, &last_facts)) {
            return Err("without its gate key the request would be another one");
        }
    }
    Ok((target, RequestBody::held(held)))
}

/// A judged request and what it takes to write it for the upstream.
#[derive(Debug)]
pub struct Outbound<'a> {
    /// The head as it was received and judged.
    pub head: &'a request::Parts,
    pub peer: &'a Peer,
    /// Path and query as judged. The type leaves no room for an authority: only the origin form is sent.
    pub path: &'a PathAndQuery,
    /// The upstream's own name.
    pub host: &'a HeaderValue,
    /// What the gate is called, where that is known and not only what the caller says: a product may take
    /// `x-forwarded-host` for the tenant.
    pub called: Option<&'a HeaderValue>,
    /// Fields that the gate sets or, with `None`, takes away: the credential. They win over everything.
    pub replace: &'a [(HeaderName, Option<HeaderValue>)],
    /// What asks for a WebSocket, where the request does.
    pub handshake: Option<&'a Handshake>,
    /// The answer must come whole and uncompressed: its links are read.
    pub links_are_read: bool,
}

impl Outbound<'_> {
    /// The head to send. Never fails, and leaves `self` as it was: a retry writes the same again.
    pub fn to_head(&self) -> request::Parts {
        let mut parts = http::Request::new(()).into_parts().0;
        parts.method = self.head.method.clone();
        parts.uri = Uri::from(self.path.clone());
        parts.version = Version::HTTP_11;
        parts.headers = self.fields();
        parts
    }

    fn fields(&self) -> HeaderMap {
        let received = &self.head.headers;
        // Taken over whole, and thinned out: to add them one by one would look for the place of each.
        let mut fields = received.clone();
        let named = headers::names_fields(received);
        for name in received.keys().filter(|name| **name != header::HOST) {
            if headers::is_stripped(name.as_str()) || named && headers::is_named_by_connection(received, name.as_str())
            {
                fields.remove(name);
            }
        }
        fields.insert(header::HOST, self.host.clone());
        // What the proxy itself says comes after the stripping, so no `Connection` option can take it away (H04).
        if headers::takes_trailers(received) {
            fields.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if let Some(called) = self.called {
            fields.insert(X_FORWARDED_HOST, called.clone());
        }
        if let Some(address) = &self.peer.forwarded_for {
            fields.insert(X_FORWARDED_FOR, address.clone());
        }
        fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.peer.scheme()));
        // RFC 9110 §7.6.3: a gateway must say so to the inbound side; it costs one insert and shows loops.
        let via = if self.head.version == Version::HTTP_2 { "2 scopegate" } else { "1.1 scopegate" };
        fields.append(header::VIA, HeaderValue::from_static(via));
        if let Some(handshake) = self.handshake {
            handshake.write(&mut fields);
        }
        if self.links_are_read {
            links::ask_for_the_whole(&mut fields);
        }
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
        let path = head.uri.path_and_query().expect("a path").clone();
        let (links_are_read, handshake) = (false, None);
        let called = HeaderValue::from_static("jira.gate.example.com");
        let called = head.headers.contains_key("x-test-is-called").then_some(&called);
        let outbound =
            Outbound { head: &head, peer: &peer, path: &path, host: &host, called, replace, links_are_read, handshake };
        outbound.to_head().headers
    }

    #[test]
    fn forwarded_fields_are_rebuilt_from_the_connection() {
        let fields = sent(
            &[
                ("host", "gate:8080"),
                ("x-forwarded-for", "10.0.0.1"),
                ("X_Forwarded_Proto", "https"),
                ("x-forwarded-host", "evil.example"),
                ("forwarded", "for=1"),
            ],
            &[],
        );
        assert_eq!(fields["host"], "acme.atlassian.net");
        assert_eq!(fields["x-forwarded-for"], "192.0.2.1");
        assert_eq!(fields["x-forwarded-proto"], "http");
        assert!(!fields.contains_key("x-forwarded-host"), "what the caller calls the gate is only what it says");
        assert_eq!(fields["via"], "1.1 scopegate");
        assert_eq!(fields.len(), 4);
        let fields = sent(&[("host", "evil.example"), ("x-test-is-called", "1")], &[]);
        assert_eq!(fields["x-forwarded-host"], "jira.gate.example.com");
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
