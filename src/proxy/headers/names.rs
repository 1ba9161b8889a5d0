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
pub const NEVER_FROM_A_CLIENT: [&str; 47] = [
    "api-key",
    "cf-connecting-ip",
    "client-ip",
    // A second credential, which nothing here evaluates: the product might believe it more than the judged one.
    "cookie",
    "cookie2",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "private-token",
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
    "x-access-token",
    "x-api-key",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-roles",
    "x-auth-token",
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

/// Fields of an answer that are not passed on.
pub(super) const NEVER_TO_A_CLIENT: [&str; 7] =
    ["alt-svc", "connection", "keep-alive", "proxy-connection", "set-cookie", "te", "upgrade"];

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

/// The bit for names of this many letters and more.
const LONG: usize = 63;

/// By first letter, the lengths that a listed name may have: bit 5 of `c` is set for some name of 5 letters that begins
/// with `c`. A family may have any length from its prefix on. Most names that clients send are told by this alone.
const LENGTHS: [u64; 26] = {
    let mut lengths = [0; 26];
    note(&mut lengths, &HOP_BY_HOP, false);
    note(&mut lengths, &NEVER_FROM_A_CLIENT, false);
    note(&mut lengths, &NEVER_FROM_A_CLIENT_PREFIXES, true);
    lengths
};

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse an index out of bounds")]
const fn note(lengths: &mut [u64; 26], names: &[&str], and_longer: bool) {
    let mut index = 0;
    while index < names.len() {
        let name = names[index].as_bytes();
        assert!(name.len() < LONG, "a listed name has its own bit");
        let bit = 1 << name.len();
        lengths[(name[0] - b'a') as usize] |= if and_longer { !(bit - 1) } else { bit };
        index += 1;
    }
}

/// False for a name that is in none of the lists of what is stripped, in whatever spelling.
pub(super) fn may_be_listed(name: &str) -> bool {
    let first = name.as_bytes().first().map(u8::to_ascii_lowercase);
    let index = first.and_then(|byte| byte.checked_sub(b'a'));
    let lengths = index.and_then(|index| LENGTHS.get(usize::from(index)).copied()).unwrap_or(0);
    lengths >> name.len().min(LONG) & 1 == 1
}
