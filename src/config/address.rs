//! Where to listen, and where requests go: text to addresses.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::model::{Listen, Protocol, Upstream, UpstreamAddress, UpstreamTls};

/// What the kernel takes as the path of a Unix socket (`sun_path` without its end).
const UNIX_PATH_BYTES_MAX: usize = 107;

/// A message, and how to mend it.
pub type Refusal = (String, &'static str);

pub fn listen(text: &str, folder: &Path) -> Result<Listen, Refusal> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path, folder).map(Listen::Unix);
    }
    let help = "write an IP address and a port such as 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:8080, or unix:path";
    text.parse::<SocketAddr>().map(Listen::Tcp).map_err(|_| (format!("`{text}` is no address to listen on"), help))
}

fn unix_path(path: &str, folder: &Path) -> Result<PathBuf, Refusal> {
    let help = "write unix: and the path of the socket, such as unix:/run/scopegate/jira.sock";
    if path.is_empty() || path.starts_with("//") {
        return Err((format!("`unix:{path}` names no socket"), help));
    }
    let path = folder.join(path);
    if path.as_os_str().len() > UNIX_PATH_BYTES_MAX {
        let message = format!("the path of a Unix socket has at most {UNIX_PATH_BYTES_MAX} bytes");
        return Err((message, "write a shorter one"));
    }
    Ok(path)
}

/// Two listeners cannot both have it. Port 0 is a new port each time.
pub fn collide(left: &Listen, right: &Listen) -> bool {
    match (left, right) {
        (Listen::Unix(left), Listen::Unix(right)) => left == right,
        (Listen::Tcp(left), Listen::Tcp(right)) => {
            let same_host = left.ip() == right.ip() || left.ip().is_unspecified() || right.ip().is_unspecified();
            left.port() != 0 && left.port() == right.port() && same_host
        }
        (Listen::Tcp(_), Listen::Unix(_)) | (Listen::Unix(_), Listen::Tcp(_)) => false,
    }
}

/// What stands beside an `upstream`.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// `upstream_host`.
    pub host: Option<&'a str>,
    /// `upstream_tls`.
    pub tls: Option<&'a TlsBeside>,
    pub protocol: Protocol,
    pub folder: &'a Path,
}

#[derive(Debug, Clone)]
pub struct TlsBeside {
    pub server_name: Option<String>,
    pub roots: super::model::Roots,
}

const UPSTREAM_SAYS: &str = "write https://host, http://host:port or unix:/path/of/socket, and nothing after it";

pub fn upstream(text: &str, beside: Beside<'_>) -> Result<Arc<Upstream>, Refusal> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_upstream(path, beside).map(Arc::new);
    }
    let Origin { https, host, port } = Origin::of(text).map_err(|fault| match fault {
        NoOrigin::Scheme => (format!("`{text}` is no upstream"), UPSTREAM_SAYS),
        NoOrigin::User => {
            let help = "the real credential of an app is written in its policy, as `upstream: {file: ...}`";
            ("an upstream holds no user or password".into(), help)
        }
        NoOrigin::More => {
            let message = "an upstream holds no path, query or fragment: what was judged is what is sent";
            (message.into(), UPSTREAM_SAYS)
        }
        NoOrigin::Host(host) => (format!("`{host}` is no host"), UPSTREAM_SAYS),
    })?;
    let default_port = if https { 443 } else { 80 };
    let port = port.unwrap_or(default_port);
    if beside.host.is_some() {
        let help = "delete it: with http and https, `Host` is the host of `upstream`";
        return Err(("`upstream_host` belongs to a Unix socket".into(), help));
    }
    let tls = match (https, beside.tls) {
        (false, Some(_)) => {
            return Err((
                "`upstream_tls` stands beside an upstream without TLS".into(),
                "write https://, or delete it",
            ));
        }
        (false, None) => None,
        (true, tls) => Some(UpstreamTls {
            server_name: tls.and_then(|tls| tls.server_name.clone()).unwrap_or_else(|| host.clone()),
            roots: tls.map_or(super::model::Roots::Public, |tls| tls.roots.clone()),
        }),
    };
    let written = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let header = if port == default_port { written } else { format!("{written}:{port}") };
    Ok(Arc::new(Upstream {
        address: UpstreamAddress::Tcp { host, port },
        tls,
        protocol: beside.protocol,
        host: header,
    }))
}

const PROXY_SAYS: &str = "write http://host:port, or https://host:port where the proxy itself is spoken to over TLS";

/// A proxy: whether it is spoken to over TLS, its host and its port.
pub fn proxy(text: &str) -> Result<(bool, String, u16), Refusal> {
    let origin = Origin::of(text).map_err(|fault| match fault {
        // Not shown: people write passwords there.
        NoOrigin::Scheme => ("this is no proxy".into(), PROXY_SAYS),
        NoOrigin::User => {
            let help = "write them into a file of their own: `authorization: {file: ...}`";
            ("a proxy is written without user and password".into(), help)
        }
        NoOrigin::More => ("a proxy holds no path, query or fragment".into(), PROXY_SAYS),
        NoOrigin::Host(host) => (format!("`{host}` is no host"), PROXY_SAYS),
    })?;
    // Some programs take 80 then, some 1080, some 3128.
    let port = origin.port.ok_or_else(|| ("the proxy lacks its port".into(), PROXY_SAYS))?;
    Ok((origin.https, origin.host, port))
}

/// A server of NATS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsServer {
    /// Whether it is spoken to over TLS by its scheme.
    pub tls: bool,
    /// A DNS name in lower case, or an IP address without brackets.
    pub host: String,
    pub port: u16,
}

/// What NATS listens on where nothing else is said.
const NATS_PORT: u16 = 4222;

impl NatsServer {
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether a host is this machine.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl std::fmt::Display for NatsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

pub fn nats_server(text: &str) -> Result<NatsServer, Refusal> {
    const SAYS: &str = "write nats://host:4222, or tls://host:4222";
    let (tls, rest) = match text.split_once("://") {
        Some(("nats", rest)) => (false, rest),
        Some(("tls", rest)) => (true, rest),
        // Not shown: people write passwords there.
        _ => return Err(("this is no server of NATS".into(), SAYS)),
    };
    if rest.contains('@') {
        let help = "write `credentials: {file: ...}`, or `user` and `password: {file: ...}`, beside `servers`";
        return Err(("a server of NATS is written without user and password".into(), help));
    }
    let (host, port) = host_and_port(rest).ok_or_else(|| (format!("`{rest}` is no host"), SAYS))?;
    Ok(NatsServer { tls, host, port: port.unwrap_or(NATS_PORT) })
}

/// A scheme, a host, perhaps a port, and nothing else.
struct Origin {
    https: bool,
    host: String,
    port: Option<u16>,
}

enum NoOrigin {
    Scheme,
    User,
    More,
    Host(String),
}

impl Origin {
    fn of(text: &str) -> Result<Self, NoOrigin> {
        let (https, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(NoOrigin::Scheme),
        };
        if rest.contains('@') {
            return Err(NoOrigin::User);
        }
        if rest.contains(['/', '?', '#', '\\']) {
            return Err(NoOrigin::More);
        }
        let (host, port) = host_and_port(rest).ok_or_else(|| NoOrigin::Host(rest.to_owned()))?;
        Ok(Self { https, host, port })
    }
}

fn unix_upstream(path: &str, beside: Beside<'_>) -> Result<Upstream, Refusal> {
    let path = unix_path(path, beside.folder)?;
    let host = beside.host.unwrap_or("localhost").to_ascii_lowercase();
    if host_and_port(&host).is_none() {
        return Err((format!("`{host}` is no host"), "write a name, and a port where it belongs to it"));
    }
    let tls = match beside.tls {
        None => None,
        Some(TlsBeside { server_name: Some(name), roots }) => {
            Some(UpstreamTls { server_name: name.clone(), roots: roots.clone() })
        }
        Some(TlsBeside { server_name: None, .. }) => {
            return Err(("TLS over a Unix socket needs `server_name`".into(), "write the name in its certificate"));
        }
    };
    Ok(Upstream { address: UpstreamAddress::Unix(path), tls, protocol: beside.protocol, host })
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`. The host comes out in lower case, without brackets.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => None,
        // `parse` alone would take `+80`.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
    };
    is_host(host).then(|| (host.to_ascii_lowercase(), port))
}

/// A DNS name or an IP address.
pub fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.parse::<IpAddr>().is_ok() || (host.len() <= 253 && host.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(text: &str) -> Result<String, String> {
        let beside = Beside { host: None, tls: None, protocol: Protocol::Auto, folder: Path::new("/etc/scopegate") };
        upstream(text, beside).map(|upstream| upstream.host.clone()).map_err(|(message, _)| message)
    }

    #[test]
    fn an_upstream_is_a_host_and_nothing_else() {
        assert_eq!(host_of("https://Acme.Atlassian.net").unwrap(), "acme.atlassian.net");
        assert_eq!(host_of("https://a.b:8443").unwrap(), "a.b:8443");
        assert_eq!(host_of("http://[::1]:80").unwrap(), "[::1]");
        assert_eq!(host_of("unix:/run/j.sock").unwrap(), "localhost");
        for wrong in [
            "acme.atlassian.net",
            "ftp://a",
            "https://",
            "https://a/",
            "https://a/x",
            "https://a?x",
            "https://a#x",
            "https://u:p@a",
            "https://a:",
            "https://a:0",
            "https://a:99999",
            "https://a b",
            "https://[::1",
            "https://a..b",
            "https://-a",
            "https://a:+80",
            "unix:",
            "unix://run/x",
            "https://::1",
        ] {
            assert!(host_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_proxy_is_a_host_and_a_port_and_its_password_is_not_shown() {
        assert_eq!(proxy("http://Proxy.corp:3128").unwrap(), (false, "proxy.corp".into(), 3128));
        assert_eq!(proxy("https://[::1]:443").unwrap(), (true, "::1".into(), 443));
        for wrong in
            ["http://proxy.corp", "proxy.corp:3128", "socks5://p:1080", "http://p:3128/", "http://p:0", "http://:1"]
        {
            assert!(proxy(wrong).is_err(), "{wrong}");
        }
        for secret in ["http://user:hunter2@p:3128", "user:hunter2@p:3128"] {
            let (message, help) = proxy(secret).unwrap_err();
            assert!(!message.contains("hunter2") && !help.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn listeners_collide_on_the_same_port_of_the_same_address() {
        let at = |text: &str| listen(text, Path::new("/f")).unwrap();
        assert!(collide(&at("127.0.0.1:80"), &at("0.0.0.0:80")));
        assert!(collide(&at("unix:a"), &at("unix:/f/a")));
        assert!(!collide(&at("127.0.0.1:0"), &at("127.0.0.1:0")));
        assert!(!collide(&at("127.0.0.1:80"), &at("127.0.0.2:80")));
        assert!(listen("localhost:80", Path::new("/f")).is_err());
        assert!(listen(":80", Path::new("/f")).is_err());
        assert!(listen(&format!("unix:/{}", "a".repeat(120)), Path::new("/f")).is_err());
    }
}
