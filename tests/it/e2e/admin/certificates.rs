//! Clients' certificates: by an authority that counts now, by a name that is listed, and nobody else's.

use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::support::client::Client;
use crate::support::tls::{Authority, Issued, over};
use crate::support::upstream::wait_until;

const CLIENTS: &str = "[{uri: 'spiffe://corp/oncall', role: approver}, {dns: grafana.corp, role: viewer}, \
                       {common_name: dana, role: admin}]";

/// Certificates, and a gate that asks for them. `more`: further keys of its admin listener.
struct Mutual {
    gate: Gate,
    server: Authority,
    clients: Authority,
}

impl Mutual {
    fn new(more: &str) -> Self {
        let (server, clients) = (Authority::new("server"), Authority::new("clients"));
        let own = server.issue("gate.internal");
        let admin = format!(
            "{{listen: '127.0.0.1:0', hosts: [gate.internal], tls: {{certificate: tls.crt, key: tls.key, \
             client_ca: clients.pem, clients: {CLIENTS}}}{more}}}"
        );
        let setup = guarded(&admin).file("tls.crt", &own.chain).file("tls.key", &own.key);
        Self { gate: setup.file("clients.pem", &clients.pem).start(), server, clients }
    }

    fn ask(&self, shown: Option<&Issued>, ask: &Ask) -> Option<Answer> {
        let mut client = self.connect(shown);
        let text = ask.text().replace("host: gate.test", "host: gate.internal");
        client.send_if_open(&text);
        // A handshake that the gate ended is no answer.
        let head = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.answer()));
        head.ok()
    }

    fn connect(&self, shown: Option<&Issued>) -> Client<impl std::io::Read + std::io::Write> {
        let stream = TcpStream::connect(address(&self.gate)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        Client::new(over(stream, config(&self.server, shown), "gate.internal"))
    }

    /// Status, role and principal of whoever shows this.
    fn who(&self, shown: Option<&Issued>) -> Option<(u16, Value, Value)> {
        let answer = self.ask(shown, &Ask::get("/api/v1/whoami"))?;
        let who = answer.json();
        Some((answer.status, who["role"].clone(), who["principal"].clone()))
    }
}

fn config(server: &Authority, shown: Option<&Issued>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.pem.as_bytes()).expect("a root")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_root_certificates(roots);
    match shown {
        None => config.with_no_client_auth(),
        Some(shown) => {
            let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).expect("a key");
            config.with_client_auth_cert(vec![shown.leaf()], key).expect("a pair")
        }
    }
}

/// A client's certificate with these names.
fn client(authority: &Authority, common_name: &str, names: Vec<SanType>) -> Issued {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = names;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    authority.issue_as(params)
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("a URI"))
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("a name"))
}

#[test]
fn a_certificate_is_somebody_by_a_name_that_is_listed() {
    let mutual = Mutual::new("");
    let shown = |common_name: &str, names| mutual.who(Some(&client(&mutual.clients, common_name, names)));
    let is = |role: &str, name: &str| Some((200, json!(role), json!(format!("certificate:{name}"))));
    assert_eq!(shown("x", vec![uri("spiffe://corp/oncall")]), is("approver", "spiffe://corp/oncall"));
    assert_eq!(shown("x", vec![dns("grafana.corp")]), is("viewer", "grafana.corp"));
    assert_eq!(shown("dana", vec![]), is("admin", "dana"));
    for (common_name, names) in [
        ("x", vec![]),
        ("grafana.corp", vec![]),
        ("dana ", vec![]),
        ("x", vec![dns("dana")]),
        ("x", vec![dns("x.grafana.corp")]),
        ("x", vec![uri("spiffe://corp/oncall/x"), uri("spiffe://corp/"), uri("dana")]),
    ] {
        let (status, ..) = shown(common_name, names).expect("the handshake holds");
        assert_eq!(status, 403, "{common_name}");
    }
}

#[test]
fn without_a_certificate_of_that_authority_there_is_no_answer_at_all() {
    let mutual = Mutual::new("");
    let other = Authority::new("clients");
    let names = || vec![uri("spiffe://corp/oncall")];
    assert_eq!(mutual.who(None), None);
    assert_eq!(mutual.who(Some(&client(&other, "dana", names()))), None, "signed by another of the same name");
    assert_eq!(
        mutual.who(Some(&client(&mutual.server, "dana", names()))),
        None,
        "the server's authority is not the clients'"
    );
    let mut ended = CertificateParams::new(Vec::new()).expect("no names");
    ended.subject_alt_names = names();
    ended.not_after = rcgen::date_time_ymd(2020, 1, 1);
    assert_eq!(mutual.who(Some(&mutual.clients.issue_as(ended))), None);
    let mut server = CertificateParams::new(Vec::new()).expect("no names");
    server.subject_alt_names = names();
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert_eq!(mutual.who(Some(&mutual.clients.issue_as(server))), None, "a server's certificate is no client's");
    let mut plain = connect(address(&mutual.gate));
    plain.send_if_open("GET /api/v1/whoami HTTP/1.1\r\nhost: gate.internal\r\n\r\n");
    assert!(!plain.rest().starts_with("HTTP"), "nothing is answered without TLS");
}

#[test]
fn roles_hold_for_certificates_and_a_forged_by_is_no_name() {
    let mutual = Mutual::new("");
    let grafana = client(&mutual.clients, "x", vec![dns("grafana.corp")]);
    let oncall = client(&mutual.clients, "x", vec![uri("spiffe://corp/oncall")]);
    let mut forged = revoke();
    forged["by"] = json!("dana");
    let ask = |shown: &Issued, text: &Value| {
        let answer = mutual.ask(Some(shown), &order(&mutual.gate, text)).expect("an answer");
        (answer.status, answer.json())
    };
    assert_eq!(ask(&grafana, &forged).1["code"], "role");
    assert_eq!(ask(&oncall, &grant()).1["code"], "role");
    assert_eq!(acts(&mutual.gate), 0);
    let (status, done) = ask(&oncall, &forged);
    assert_eq!(status, 200, "{done}");
    let text = done["text"].as_str().expect("a text");
    assert!(text.contains("by \"certificate:spiffe://corp/oncall\"") && text.contains("by: dana"), "{text}");
}

#[test]
fn with_tokens_beside_it_a_certificate_need_not_be_shown_and_a_token_counts_alone() {
    let mutual = Mutual::new(", token: {file: tokens}");
    let dana = client(&mutual.clients, "dana", vec![]);
    let who = |shown: Option<&Issued>, token: Option<&str>| {
        let ask = Ask::get("/api/v1/whoami");
        let ask = token.map_or_else(|| ask.clone(), |token| ask.clone().bearer(token));
        mutual.ask(shown, &ask).map(|answer| (answer.status, answer.json()["role"].clone()))
    };
    assert_eq!(who(None, None), Some((401, Value::Null)));
    assert_eq!(who(None, Some(VIEWER)), Some((200, json!("viewer"))));
    assert_eq!(who(Some(&dana), None), Some((200, json!("admin"))));
    assert_eq!(who(Some(&dana), Some(VIEWER)), Some((200, json!("viewer"))));
    assert_eq!(who(Some(&dana), Some("0123456789abcdef-wrong")), Some((401, Value::Null)));
    let stranger = Authority::new("clients");
    assert_eq!(who(Some(&client(&stranger, "dana", vec![])), Some(ADMIN)), None, "one that does not hold ends it");
}

#[test]
fn what_an_authority_signed_ends_with_it_also_on_connections_that_are_open() {
    let mutual = Mutual::new("");
    let dana = client(&mutual.clients, "dana", vec![]);
    let whoami = Ask::get("/api/v1/whoami").with("host", "gate.internal").text();
    let mut open = mutual.connect(Some(&dana));
    open.send(&whoami);
    assert_eq!(open.answer().status, 200);
    let next = Authority::new("next");
    std::fs::write(mutual.gate.path("clients.pem"), "this is no list").expect("a file");
    wait_until("the problem to be told", || mutual.gate.health("/readyz").body.contains("admin/tls.client_ca"));
    assert_eq!(mutual.who(Some(&dana)).map(|(status, ..)| status), Some(200), "what was believed before still is");
    std::fs::write(mutual.gate.path("clients.pem"), &next.pem).expect("a file");
    wait_until("the next authority", || mutual.who(Some(&client(&next, "dana", vec![]))).is_some());
    assert_eq!(mutual.who(Some(&dana)), None);
    open.send(&whoami);
    assert_eq!(open.answer().status, 401);
}

#[test]
fn a_new_certificate_of_the_gate_is_shown_without_a_restart() {
    let mutual = Mutual::new("");
    let dana = client(&mutual.clients, "dana", vec![]);
    let other = Authority::new("other");
    let own = other.issue("gate.internal");
    std::fs::write(mutual.gate.path("tls.crt"), &own.chain).expect("a file");
    std::fs::write(mutual.gate.path("tls.key"), &own.key).expect("a file");
    let mutual = Mutual { server: other, ..mutual };
    wait_until("the new certificate", || mutual.who(Some(&dana)).is_some());
}
