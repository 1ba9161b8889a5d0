//! Who may use the admin API: no browser, no stranger's host name, and nobody who is not known.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::failures::Failures;
use super::fault::{AdminError, Code};
use super::peer::{Certificate, End, Peer};
use super::right::{Caller, Principal};
use super::tokens::TokenFile;
use crate::clock::unix_ms;
use crate::config::model::admin::{CertificateName, PeerName, Role};
use crate::metrics::{AdminOutcome, Metrics};

/// Headers that browsers alone send. No page has business here.
const OF_BROWSERS: [&str; 4] = ["origin", "sec-fetch-site", "sec-fetch-mode", "access-control-request-method"];

/// What guards the listener, and who counts what it refuses. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    guard: Guard,
    metrics: Arc<Metrics>,
    failures: Failures,
}

/// The number of the authorities that clients' certificates are believed under now.
pub type TrustNow = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What tells who asks.
pub enum Guard {
    /// A Unix socket. `None`: whoever may open the file is an admin.
    Socket(Option<Vec<(PeerName, Role)>>),
    Tcp(TcpGuard),
}

/// TCP: a token or a certificate, under a name that is this listener's.
pub struct TcpGuard {
    pub token: Option<TokenFile>,
    pub clients: Vec<(CertificateName, Role)>,
    pub trust: TrustNow,
    pub hosts: Vec<String>,
    pub listen: IpAddr,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard(…)")
    }
}

impl Access {
    pub fn new(guard: Guard, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner { guard, metrics, failures: Failures::default() }))
    }

    fn admit(&self, peer: &Peer, headers: &HeaderMap, uri: &Uri) -> Result<Caller, AdminError> {
        if OF_BROWSERS.iter().any(|name| headers.contains_key(*name)) {
            return Err(AdminError::plain(Code::Browser, "requests from a browser are refused"));
        }
        match (&self.0.guard, &peer.end) {
            (Guard::Socket(peers), End::Unix { uid, gid }) => by_kernel(peers.as_deref(), *uid, *gid),
            (Guard::Tcp(guard), End::Tcp { local, certificate }) => {
                // A name that a stranger's DNS points at this address would make a stranger's page same-origin with it.
                if !guard.is_local(headers, uri, *local) {
                    let text = "the host name is not this listener's: `hosts` lists those that are";
                    return Err(AdminError::plain(Code::Host, text));
                }
                guard.caller(headers, certificate.as_deref())
            }
            // A listener hands over ends of its own kind.
            (Guard::Socket(_), End::Tcp { .. }) | (Guard::Tcp(_), End::Unix { .. }) => Err(nobody()),
        }
    }

    /// Whoever fails often is answered shortly and without a line in the log; who succeeds is never held up by it.
    fn refused(&self, error: AdminError) -> AdminError {
        let code = match &error {
            AdminError::Plain(code, _) => *code,
            _ => Code::Unauthenticated,
        };
        match self.0.failures.one_more() {
            Some(unsaid) => {
                self.0.metrics.admin(AdminOutcome::of_refused(code == Code::Unauthenticated));
                tracing::warn!(code = code.as_str(), unsaid, "admin: a request is refused");
                error
            }
            None => {
                self.0.metrics.admin(AdminOutcome::Throttled);
                AdminError::plain(Code::Failures, "too many requests were refused: try again later")
            }
        }
    }
}

/// Stands before every route, and before what is none.
pub(super) async fn check(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    let admitted = peer.ok_or_else(nobody).and_then(|peer| {
        let caller = access.admit(&peer, request.headers(), request.uri())?;
        peer.known.store(true, Ordering::Relaxed);
        Ok(caller)
    });
    let mut response = match admitted {
        Ok(caller) => {
            access.0.metrics.admin(AdminOutcome::Admitted);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => access.refused(error).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn nobody() -> AdminError {
    AdminError::plain(Code::Unauthenticated, "a bearer token or a certificate that is known here is needed")
}

fn unknown(principal: &Principal) -> AdminError {
    AdminError::plain(Code::Unknown, format!("{principal} has no role here"))
}

fn by_kernel(peers: Option<&[(PeerName, Role)]>, uid: u32, gid: u32) -> Result<Caller, AdminError> {
    let principal = Principal::Uid(uid);
    let Some(peers) = peers else { return Ok(Caller { principal, role: Role::Admin }) };
    let found = peers.iter().find(|(name, _)| match name {
        PeerName::Uid(known) => *known == uid,
        PeerName::Gid(known) => *known == gid,
    });
    match found {
        Some((_, role)) => Ok(Caller { principal, role: *role }),
        None => Err(unknown(&principal)),
    }
}

impl TcpGuard {
    /// A token that is shown counts alone: two proofs could be of two people.
    fn caller(&self, headers: &HeaderMap, certificate: Option<&Certificate>) -> Result<Caller, AdminError> {
        if headers.contains_key(header::AUTHORIZATION) {
            let holder = self.token.as_ref().zip(bearer(headers)).and_then(|(file, shown)| file.holder(shown));
            return holder.ok_or_else(nobody);
        }
        let certificate = certificate.ok_or_else(nobody)?;
        // A connection outlives a certificate's end, and the authorities that it was believed under.
        let ended = certificate.ends_unix_s < unix_ms().div_euclid(1000);
        if ended || certificate.generation != (self.trust)() {
            return Err(AdminError::plain(Code::Unauthenticated, "the certificate does not count any more"));
        }
        let found = self.clients.iter().find(|(name, _)| certificate.names.contains(name));
        match found {
            Some((name, role)) => Ok(Caller { principal: Principal::Certificate(shown(name)), role: *role }),
            None => Err(AdminError::plain(Code::Unknown, "no name in the certificate has a role here")),
        }
    }

    /// Whether everything that names a host names this listener.
    fn is_local(&self, headers: &HeaderMap, uri: &Uri, local: IpAddr) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
            return false;
        };
        let Ok(authority) = host.parse::<http::uri::Authority>() else {
            return false;
        };
        self.is_ours(authority.host(), local) && uri.authority().is_none_or(|other| self.is_ours(other.host(), local))
    }

    fn is_ours(&self, name: &str, local: IpAddr) -> bool {
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        match address.parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || address == self.listen || address == local,
            Err(_) => {
                name.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
            }
        }
    }
}

fn shown(name: &CertificateName) -> String {
    match name {
        CertificateName::Uri(text) | CertificateName::Dns(text) | CertificateName::CommonName(text) => text.clone(),
    }
}

/// The token of the one `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?.as_bytes(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn guard(token: Option<TokenFile>) -> TcpGuard {
        let clients = vec![
            (CertificateName::Uri("spiffe://corp/oncall".into()), Role::Approver),
            (CertificateName::CommonName("dana".into()), Role::Admin),
            (CertificateName::Dns("grafana.corp".into()), Role::Viewer),
        ];
        TcpGuard {
            token,
            clients,
            trust: Arc::new(|| 7),
            hosts: vec!["gate.internal".into()],
            listen: [10, 0, 0, 7].into(),
        }
    }

    #[test]
    fn only_this_listeners_names_are_local() {
        let local = |pairs: &[(&'static str, &str)], uri: &str| {
            guard(None).is_local(&headers(pairs), &uri.parse().unwrap(), [10, 0, 0, 9].into())
        };
        for host in [
            "localhost",
            "LOCALHOST:9901",
            "127.0.0.1:9901",
            "[::1]:9901",
            "10.0.0.7:9901",
            "10.0.0.9",
            "gate.internal",
            "Gate.Internal:443",
        ] {
            assert!(local(&[("host", host)], "/"), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "gate.internal.evil.example",
            "evil.example:9901",
            "10.0.0.8",
            "",
            "a@localhost:1:2",
            "localhost,evil.example",
        ] {
            assert!(!local(&[("host", host)], "/"), "{host}");
        }
        assert!(!local(&[], "/"));
        assert!(!local(&[("host", "localhost"), ("host", "localhost")], "/"));
        assert!(!local(&[("host", "localhost")], "http://evil.example/"));
        assert!(local(&[("host", "localhost")], "http://gate.internal/"));
    }

    #[test]
    fn a_token_is_needed_also_on_loopback_and_must_be_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
        let guard = guard(Some(TokenFile::open(&path).unwrap()));
        let ask = |pairs: &[(&'static str, &str)]| guard.caller(&headers(pairs), None).ok();
        let holder = Caller { principal: Principal::OnlyToken, role: Role::Admin };
        for right in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(ask(&[("authorization", &format!("{right} {TOKEN}"))]), Some(holder.clone()));
        }
        for wrong in ["Bearer 0123456789abcdef012", "Bearer ", "Basic 0123456789abcdef0123", "", TOKEN] {
            assert_eq!(ask(&[("authorization", wrong)]), None, "{wrong}");
        }
        assert_eq!(ask(&[]), None);
        let twice = ("authorization", "Bearer 0123456789abcdef0123");
        assert_eq!(ask(&[twice, twice]), None);
        std::fs::write(&path, "").unwrap();
        assert_eq!(ask(&[("authorization", "Bearer ")]), None, "an empty file lets nobody in");
    }

    #[test]
    fn a_certificate_counts_by_one_of_its_names_for_as_long_as_it_and_its_authority_do() {
        let guard = guard(None);
        let of = |names: Vec<CertificateName>, ends_unix_s, generation| Certificate { names, ends_unix_s, generation };
        let ask = |certificate: &Certificate| guard.caller(&HeaderMap::new(), Some(certificate));
        let uri = || vec![CertificateName::Uri("spiffe://corp/oncall".into())];
        let caller = ask(&of(uri(), i64::MAX, 7)).unwrap();
        assert_eq!(
            (caller.principal.to_string().as_str(), caller.role),
            ("certificate:spiffe://corp/oncall", Role::Approver)
        );
        // The first line that matches counts, whatever the certificate names first.
        let both = vec![CertificateName::CommonName("dana".into()), uri().remove(0)];
        assert_eq!(ask(&of(both, i64::MAX, 7)).unwrap().role, Role::Approver);
        for (names, ends, generation) in [
            (uri(), 1, 7),
            (uri(), i64::MAX, 6),
            (vec![], i64::MAX, 7),
            (vec![CertificateName::Dns("dana".into())], i64::MAX, 7),
            (vec![CertificateName::Uri("spiffe://corp/oncall/x".into())], i64::MAX, 7),
            (vec![CertificateName::CommonName("spiffe://corp/oncall".into())], i64::MAX, 7),
        ] {
            assert!(ask(&of(names, ends, generation)).is_err());
        }
        // A token beside a good certificate is judged alone.
        assert!(guard.caller(&headers(&[("authorization", "Bearer x")]), Some(&of(uri(), i64::MAX, 7))).is_err());
        assert!(guard.caller(&HeaderMap::new(), None).is_err());
    }

    #[test]
    fn the_first_line_that_names_a_user_or_its_group_counts_and_none_is_nobody() {
        let peers =
            [(PeerName::Uid(1000), Role::Viewer), (PeerName::Gid(50), Role::Admin), (PeerName::Uid(7), Role::Approver)];
        let role = |uid, gid| by_kernel(Some(&peers), uid, gid).ok().map(|caller| caller.role);
        assert_eq!(role(1000, 50), Some(Role::Viewer));
        assert_eq!(role(7, 50), Some(Role::Admin));
        assert_eq!(role(7, 7), Some(Role::Approver));
        assert_eq!(role(0, 0), None, "root is nobody either unless it is listed");
        assert_eq!(by_kernel(None, 5, 5).unwrap().role, Role::Admin);
    }
}
