//! Who may use the admin API.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error;

/// The shortest token taken: 16 bytes of hex is 64 bits, the least that cannot be tried out over a network.
pub const TOKEN_MIN_BYTES: usize = 16;
/// The most that is read of a token file.
const TOKEN_MAX_BYTES: u64 = 4 * 1024;

/// What guards the listener.
#[derive(Debug, Clone)]
pub enum Access {
    /// A Unix socket: whoever may open the file.
    Socket,
    /// TCP: whoever has the token, under a host name that is this machine's.
    Tcp { token: TokenFile, listen: IpAddr },
}

/// A file with the bearer token. It is read for each request: they are few, and a new token counts at once.
#[derive(Debug, Clone)]
pub struct TokenFile(Arc<Path>);

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("{file}: {error}", file = file.display())]
    Unreadable { file: PathBuf, error: std::io::Error },
    #[error("{file}: the token is shorter than {TOKEN_MIN_BYTES} bytes", file = .0.display())]
    Short(PathBuf),
}

impl TokenFile {
    /// Checks at start that there is a token.
    ///
    /// # Errors
    /// The file cannot be read, or holds less than [`TOKEN_MIN_BYTES`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TokenFileError> {
        let file = Self(Arc::from(path.as_ref()));
        file.digest().map(|_| file)
    }

    /// Digests are compared, so that neither length nor place of a difference shows in the time.
    fn digest(&self) -> Result<[u8; 32], TokenFileError> {
        use std::io::Read as _;
        let unreadable = |error| TokenFileError::Unreadable { file: self.0.to_path_buf(), error };
        let file = std::fs::File::open(&self.0).map_err(unreadable)?;
        let mut text = Vec::new();
        file.take(TOKEN_MAX_BYTES).read_to_end(&mut text).map_err(unreadable)?;
        let token = text.trim_ascii();
        if token.len() < TOKEN_MIN_BYTES {
            return Err(TokenFileError::Short(self.0.to_path_buf()));
        }
        Ok(Sha256::digest(token).into())
    }

    fn matches(&self, shown: &[u8]) -> bool {
        match self.digest() {
            Ok(expected) => {
                let shown: [u8; 32] = Sha256::digest(shown).into();
                bool::from(expected.ct_eq(&shown))
            }
            Err(error) => {
                tracing::error!(%error, "admin: nobody is let in");
                false
            }
        }
    }
}

/// Stands before every route.
pub(super) async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    match refused(&access, request.headers()) {
        Some((status, text)) => error(status, text),
        None => next.run(request).await,
    }
}

fn refused(access: &Access, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    // Only browsers send it, and no page has business here.
    if headers.contains_key(header::ORIGIN) {
        return Some((StatusCode::FORBIDDEN, "requests from a browser are refused"));
    }
    let Access::Tcp { token, listen } = access else {
        return None;
    };
    // A name that a stranger's DNS points at this address would make a stranger's page same-origin with it.
    if !is_local(headers, *listen) {
        return Some((StatusCode::FORBIDDEN, "the host name is not this machine's"));
    }
    match bearer(headers) {
        Some(shown) if token.matches(shown) => None,
        Some(_) | None => Some((StatusCode::UNAUTHORIZED, "a bearer token is needed")),
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

/// Whether `Host` is loopback, or the address that is listened on.
fn is_local(headers: &HeaderMap, listen: IpAddr) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
        return false;
    };
    let Ok(authority) = host.parse::<http::uri::Authority>() else {
        return false;
    };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address == listen,
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_this_machines_names_are_local() {
        let listen = "10.0.0.7".parse().unwrap();
        for host in ["localhost", "LOCALHOST:9901", "127.0.0.1:9901", "[::1]:9901", "10.0.0.7:9901"] {
            assert!(is_local(&headers(&[("host", host)]), listen), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.8", "", "a@localhost:1:2"]
        {
            assert!(!is_local(&headers(&[("host", host)]), listen), "{host}");
        }
        assert!(!is_local(&headers(&[]), listen));
    }

    #[test]
    fn a_token_is_needed_also_on_loopback_and_must_be_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "0123456789abcdef0123\n").unwrap();
        let access = Access::Tcp { token: TokenFile::open(&path).unwrap(), listen: [127, 0, 0, 1].into() };
        let ask = |authorization: &str| {
            refused(&access, &headers(&[("host", "localhost"), ("authorization", authorization)]))
        };
        assert_eq!(ask("Bearer 0123456789abcdef0123"), None);
        assert_eq!(ask("bearer 0123456789abcdef0123"), None);
        for wrong in ["Bearer 0123456789abcdef012", "Bearer ", "Basic 0123456789abcdef0123", ""] {
            assert!(ask(wrong).is_some(), "{wrong}");
        }
        assert!(refused(&access, &headers(&[("host", "localhost")])).is_some());
        std::fs::write(&path, "").unwrap();
        assert!(ask("Bearer ").is_some(), "an empty file lets nobody in");
        assert!(matches!(TokenFile::open(&path), Err(TokenFileError::Short(_))));
    }
}
