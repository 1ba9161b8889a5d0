//! The names of the fields that are stripped or watched, in lower case with `-`, in alphabetical order.

/// Fields that speak of one connection only (RFC 9110 §7.6.1), or that this proxy writes itself.
pub const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Fields in which a product may read who calls, from where, or what is asked, and which only a proxy may write.
/// They are stripped always, not only where this proxy sets them (Caddy CVE-2026-30851).
pub const NEVER_FROM_A_CLIENT: [&str; 40] = [
    "cf-connecting-ip",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "proxy",
    "remote-addr",
    "remote-email",
    "remote-group",
    "remote-groups",
    "remote-name",
    "remote-user",
    "ssl-client-cert",
    "ssl-client-verify",
    "true-client-ip",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-roles",
    "x-auth-user",
    "x-auth-username",
    "x-client-cert",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-consumer-custom-id",
    "x-consumer-id",
    "x-consumer-username",
    "x-credential-identifier",
    "x-forwarded",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-url-scheme",
];

/// Families of such fields.
pub const NEVER_FROM_A_CLIENT_PREFIXES: [&str; 14] = [
    "ssl-client-",
    "x-accel-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-authenticated-",
    "x-envoy-",
    "x-forwarded-",
    "x-goog-authenticated-user-",
    "x-ms-client-principal",
    "x-pomerium-",
    "x-remote-",
    "x-scopegate-",
    "x-ssl-client-",
    "x-webauth-",
];

/// Fields that fix where a request ends, whose it is, or how its body is read. `Connection` may not take them away,
/// and no other spelling of them may stand beside them.
pub(super) const JUDGED: [&str; 9] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "trailer",
    "transfer-encoding",
];
