//! How a gate says who it is, and whom it believes.

use rcgen::{CertificateParams, SanType};

use super::*;
use crate::support::tls::Authority;

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn tls_and_a_password_from_a_file() {
    let authority = Authority::new("the servers' own");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    let issued = authority.issue_as(params);
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (chain, key) = (file("chain.pem", &issued.chain), file("key.pem", &issued.key));
    let more = format!(
        "tls {{ cert_file: {chain:?}, key_file: {key:?} }}\nauthorization {{ user: gate, password: secret }}\n"
    );
    let cluster = Cluster::of(1, &more);
    let (ca, other) = (file("ca.pem", &authority.pem), file("other.pem", &Authority::new("another").pem));
    let (right, wrong) = (file("right", "secret\n"), file("wrong", "guess"));
    let started_with = |ca: &str, password: &str| {
        let more = format!(", tls: {{ca: '{ca}'}}, user: gate, password: {{file: '{password}'}}");
        let mut gate = setup(&cluster.servers(), "gw-1", &more).laid(StubUpstream::ok());
        gate.run();
        gate
    };
    for (ca, password) in [(&other, &right), (&ca, &wrong), (&"/nowhere".to_owned(), &right)] {
        let gate = started_with(ca, password);
        wait("it to be told", || standing(&gate)["problem"].is_string());
        assert_eq!(gate.health("/readyz").status, 503);
        assert!(!standing(&gate).to_string().contains("secret"));
    }
    let gate = started_with(&ca, &wrong);
    wait("it to be told", || standing(&gate)["problem"].is_string());
    // Read again for each connection.
    std::fs::write(&wrong, "secret").expect("a file");
    is_ready(&gate);
    says(revoke(&gate, "SEC"), 0, &["in force on 1 of 1 gate"]);
}
