//! A whole gate, from its configuration to the bytes that its upstream sees: every refusal asserts that it saw none.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes only functions with #[test] for tests; these are their helpers"
)]

mod acts;
pub mod admin;
mod asked;
mod every_operation;
mod fronts;
mod hostile;
mod identity;
mod jira;
mod jobs;
mod lenient;
mod limits;
mod links;
mod lookups;
mod lookups_of_products;
mod operations;
mod products;
mod protocols;
mod redirects;
mod refusals;
mod reload;
mod slack;
mod stories;
mod streams;
mod tls;
mod tokens;

use crate::support::gate::{Ask, Gate, Setup};

/// A gate before Jira with one app, `jira/tracker`, whose OAuth token is `tracker`. `rules`: its grants and revocations.
fn tracker(rules: &str) -> Gate {
    Setup::jira().policy("tracker.yaml", &jira_app("tracker", "oauth", rules)).start()
}

/// A gate before Jira with one Connect app, `jira/gantt`, whose client key is `gantt` and its secret [`SECRET`].
fn gantt(rules: &str) -> Gate {
    gantt_setup(rules).start()
}

/// The same before another upstream.
fn gantt_before(upstream: std::net::SocketAddr, rules: &str) -> Gate {
    gantt_setup(rules).gate("upstream", &format!("http://{upstream}")).start()
}

fn gantt_setup(rules: &str) -> Setup {
    let credential = "{method: connect_jwt, kind: connect, client_key: gantt, secret: {file: secrets/gantt}}";
    let policy = format!(
        "version: 1\napp: jira/gantt\nname: Gantt\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
         installed_at: 2020-01-01T00:00:00Z\n    credentials: [{credential}]\n{rules}"
    );
    Setup::jira().policy("gantt.yaml", &policy).file("secrets/gantt", jwt::SECRET)
}

/// A Jira app with one token, which is its name.
fn jira_app(name: &str, kind: &str, rules: &str) -> String {
    product_app("jira", name, kind, rules)
}

/// The same of any product.
fn product_app(product: &str, name: &str, kind: &str, rules: &str) -> String {
    format!(
        "version: 1\napp: {product}/{name}\nname: {name}\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
         tenant_name: Acme\n    installed_at: 2020-01-01T00:00:00Z\n    credentials:\n      \
         - {{method: token, kind: {kind}, sha256: sha256({name})}}\n{rules}"
    )
}

/// A gate before Slack with one app, `slack/assist`: bot token `xoxb-assist`, token `xoxp-dana` of the user U0DANA and
/// `xoxp-lee` of the user U0LEE.
fn assist(rules: &str) -> Gate {
    slack(&slack_app(rules)).start()
}

fn slack(policy: &str) -> Setup {
    Setup::slack().policy("assist.yaml", policy)
}

fn slack_app(rules: &str) -> String {
    format!(
        "version: 1\napp: slack/assist\nname: Assist\ncontact: it@example.com\ninstallations:\n  - tenant: T024BE7LD\n    \
         tenant_name: Acme Corp\n    installed_at: 2020-01-01T00:00:00Z\n    credentials:\n      \
         - {{method: token, kind: bot, sha256: sha256(xoxb-assist)}}\n      \
         - {{method: token, kind: user, user: U0DANA, sha256: sha256(xoxp-dana)}}\n      \
         - {{method: token, kind: user, user: U0LEE, sha256: sha256(xoxp-lee)}}\n{rules}"
    )
}

/// Atlassian Connect tokens.
mod jwt {
    use std::time::{SystemTime, UNIX_EPOCH};

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hmac::{Hmac, Mac};
    use sha2::{Digest, Sha256};

    pub const SECRET: &str = "the shared secret of this installation";

    pub fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
    }

    /// `qsh` of a canonical request, as the test writes it: `GET&/rest/api/3/issue/PROJ-1&`.
    pub fn qsh(canonical: &str) -> String {
        Sha256::digest(canonical).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn sign(header: &str, claims: &str, secret: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    pub const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

    /// A valid token of `gantt` for one request.
    pub fn valid(canonical: &str) -> String {
        sign(HEADER, &claims("gantt", 180, canonical), SECRET)
    }

    pub fn claims(issuer: &str, life_s: i64, canonical: &str) -> String {
        let now = now();
        let expires = now.saturating_add_signed(life_s);
        let issued = now.min(expires);
        format!(r#"{{"iss":"{issuer}","iat":{issued},"exp":{expires},"qsh":"{}"}}"#, qsh(canonical))
    }
}

/// A request of the Connect app `gantt`, signed for itself. The target has no query.
fn signed(method: &str, target: &str) -> Ask {
    Ask::new(method, target).with("authorization", &format!("JWT {}", jwt::valid(&format!("{method}&{target}&"))))
}
