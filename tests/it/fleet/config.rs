//! What the configuration may say of a bucket. Needs no server.

use std::path::Path;
use std::sync::Arc;

use scopegate::config::{self, model};

fn parsed(overrides: &str, more: &str) -> Result<model::Config, String> {
    parse(&(text_with(overrides) + more))
}

fn text_with(overrides: &str) -> String {
    format!(
        "version: 1\ngates:\n  - {{name: jira, listen: 127.0.0.1:8080, product: jira, identify: [gate_key], \
         upstream: 'https://acme.atlassian.net', bypass: credential, tenant: {{fixed: acme}}}}\n\
         policies: policies\noverrides: {overrides}\n"
    )
}

fn parse(text: &str) -> Result<model::Config, String> {
    let file: Arc<Path> = Path::new("/etc/scopegate/scopegate.yaml").into();
    config::parse(&file, text, &|_| true)
        .map_err(|problems| problems.iter().map(|problem| format!("{}\n", problem.message)).collect())
}

const STATE: &str = "state: state\n";

#[test]
fn acts_lie_in_the_state_folder_unless_it_is_said_where() {
    let overrides = |text: &str| -> Result<_, String> {
        let text = text_with("").replace("overrides: \n", text);
        Ok(parse(&text)?.overrides)
    };
    assert_eq!(overrides(STATE), Ok(Some("/etc/scopegate/state/overrides".into())));
    assert_eq!(overrides("state: /var/lib/scopegate\n"), Ok(Some("/var/lib/scopegate/overrides".into())));
    assert_eq!(overrides("state: state\noverrides: elsewhere\n"), Ok(Some("/etc/scopegate/elsewhere".into())));
    assert_eq!(overrides(""), Ok(None), "nothing outlives a restart");
    let within = overrides("state: policies/state\n").unwrap_err();
    assert!(within.contains("the overrides lie in the policy folder"), "{within}");
}

#[test]
fn a_url_is_enough() {
    let config = parsed("'nats://nats-1:4222,nats-2,[::1]:4223/acts'", STATE).unwrap();
    let bucket = config.bucket.unwrap();
    let servers: Vec<String> = bucket.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["nats://nats-1:4222", "nats://nats-2:4222", "nats://[::1]:4223"]);
    assert_eq!((bucket.bucket.as_str(), bucket.tls, bucket.replicas), ("acts", None, 3));
    assert_eq!(config.overrides.unwrap(), Path::new("/etc/scopegate/state/fleet/acts"));
    let tls = parsed("'tls://nats/acts'", STATE).unwrap().bucket.unwrap();
    assert!(tls.tls.is_some());
    assert_eq!(tls.replicas, 1);
    assert!(parsed("state/overrides", "").unwrap().bucket.is_none());
}

#[test]
fn a_bucket_in_the_clear_is_warned_of() {
    let warned = |overrides: &str| {
        let config = parsed(overrides, STATE).unwrap();
        scopegate::app::warnings(&config).unsound.iter().any(|text| text.contains("the bucket is reached in the clear"))
    };
    for bare in ["'nats://nats/acts'", "'nats://127.0.0.1,10.0.0.1/acts'", "{servers: ['nats://a'], bucket: acts}"] {
        assert!(warned(bare), "{bare}");
    }
    for sound in ["'nats://127.0.0.1:4222,[::1]:4223/acts'", "'tls://nats/acts'", "state/overrides"] {
        assert!(!warned(sound), "{sound}");
    }
}

#[test]
fn a_map_says_more() {
    let map = "{servers: ['nats://a', 'nats://b'], bucket: acts, tls: {ca: tls/ca.pem, certificate: tls/own.pem, key: tls/own.key}, \
               credentials: {file: gate.creds}, max_override_age: 15m, gate_name: gw-7, replicas: 5, start: fetched}";
    let bucket = parsed(map, STATE).unwrap().bucket.unwrap();
    assert_eq!(bucket.login, model::Login::Credentials("/etc/scopegate/gate.creds".into()));
    assert_eq!((bucket.gate_name.as_deref(), bucket.replicas, bucket.start), (Some("gw-7"), 5, model::Start::Fetched));
    assert_eq!(bucket.max_override_age.as_secs(), 900);
    let tls = bucket.tls.unwrap();
    assert_eq!(tls.roots, model::Roots::File("/etc/scopegate/tls/ca.pem".into()));
    assert!(tls.shown.is_some());
}

#[test]
fn what_cannot_be_meant_is_said() {
    let cases: &[(&str, &str, &str)] = &[
        ("'nats://nats/acts'", "", "need a state folder"),
        ("'nats://nats'", STATE, "names no bucket"),
        ("'nats://nats/'", STATE, "no name of a bucket"),
        ("'nats://nats/a.b'", STATE, "no name of a bucket"),
        ("'nats:/nats/acts'", STATE, "no URL of a bucket"),
        ("'nats://u:p@nats/acts'", STATE, "without user and password"),
        ("'nats://nats:x/acts'", STATE, "no host"),
        ("{servers: [], bucket: acts}", STATE, "from 1 to 32 servers"),
        ("{bucket: acts}", STATE, "lacks `servers`"),
        ("{servers: ['nats://a']}", STATE, "lacks `bucket`"),
        ("{servers: ['http://a'], bucket: acts}", STATE, "no server of NATS"),
        ("{servers: ['nats://a'], bucket: acts, user: u}", STATE, "belong together"),
        ("{servers: ['nats://a'], bucket: acts, user: u, password: {file: p}}", STATE, "in the clear"),
        ("{servers: ['nats://a'], bucket: acts, credentials: {file: c}, user: u}", STATE, "stands beside"),
        ("{servers: ['nats://a'], bucket: acts, credentials: {}}", STATE, "lacks `file`"),
        ("{servers: ['nats://a'], bucket: acts, max_override_age: 1s}", STATE, "from 10s to 7d"),
        ("{servers: ['nats://a'], bucket: acts, gate_name: 'a b'}", STATE, "no name of a gate"),
        ("{servers: ['nats://a'], bucket: acts, replicas: 6}", STATE, "from 1 to 5"),
        ("{servers: ['nats://a'], bucket: acts, tls: {certificate: c}}", STATE, "belong together"),
        ("{servers: ['nats://a'], bucket: acts, ttl: 1h}", STATE, "ttl"),
    ];
    for (overrides, more, expected) in cases {
        let said = parsed(overrides, more).expect_err(overrides);
        assert!(said.contains(expected), "{overrides}: {said}");
        assert!(!said.contains("u:p"), "{said}");
    }
}
