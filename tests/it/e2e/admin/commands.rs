//! Commands ask a gate on TCP with a token or a certificate, and say what is missing where they cannot.

use std::process::{Command, Stdio};

use super::*;
use crate::support::command::says;
use crate::support::tls::Authority;

/// A port that was free a moment ago: a command reads it from the configuration.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn run(gate: &Gate, words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command.args(words).args(["--config", "scopegate.yaml"]).current_dir(gate.folder.path()).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).concat();
    (output.status.code().expect("it ended by itself"), text)
}

const REVOKE: [&str; 7] = ["revoke", "--app", "jira/tracker", "--scope", "write:jira-work", "--reason", "SEC-1142"];

fn with<'w>(words: &[&'w str], more: &[&'w str]) -> Vec<&'w str> {
    [words, more].concat()
}

#[test]
fn over_tcp_a_command_shows_its_own_token_and_may_what_that_may() {
    let admin = format!("{{listen: '127.0.0.1:{}', token: {{file: tokens}}}}", free_port());
    let gate = guarded(&admin).file("dana", ADMIN).file("grafana", &format!("{VIEWER}\n")).file("none", "\n").start();
    says(run(&gate, &REVOKE), 1, &["tokens of several people", "--token-file"]);
    says(run(&gate, &with(&REVOKE, &["--token-file", "none"])), 1, &["there is no token in it"]);
    says(run(&gate, &with(&REVOKE, &["--token-file", "missing"])), 1, &["missing"]);
    says(run(&gate, &with(&REVOKE, &["--token-file", "grafana"])), 1, &["token:grafana is viewer, who may not take"]);
    says(run(&gate, &with(&REVOKE, &["--client-certificate", "a", "--client-key", "b"])), 2, &["speaks no TLS"]);
    says(run(&gate, &with(&REVOKE, &["--gate-ca", "a"])), 2, &["speaks no TLS"]);
    assert_eq!(acts(&gate), 0);
    says(run(&gate, &with(&REVOKE, &["--token-file", "dana"])), 0, &["in force on 1 of 1 gate"]);
    says(run(&gate, &["overrides", "--token-file", "grafana"]), 0, &["SEC-1142", "token:dana"]);
    assert_eq!(acts(&gate), 1);
}

#[test]
fn a_file_with_one_token_is_shown_without_being_named() {
    let admin = format!("{{listen: '127.0.0.1:{}', token: {{file: tokens}}}}", free_port());
    let gate = guarded(&admin).file("tokens", "0123456789abcdef0123\n").start();
    says(run(&gate, &REVOKE), 0, &["in force on 1 of 1 gate"]);
}

#[test]
fn over_tls_a_command_shows_its_certificate_to_a_gate_that_it_believes() {
    let (server, clients) = (Authority::new("server"), Authority::new("clients"));
    let (own, mut params) = (server.issue("gate.internal"), rcgen::CertificateParams::new(Vec::new()).expect("none"));
    params.distinguished_name.push(rcgen::DnType::CommonName, "dana");
    let dana = clients.issue_as(params);
    let admin = format!(
        "{{listen: '127.0.0.1:{}', hosts: [gate.internal], tls: {{certificate: tls.crt, key: tls.key, \
         client_ca: clients.pem, clients: [{{common_name: dana, role: admin}}]}}}}",
        free_port()
    );
    let setup = guarded(&admin).file("tls.crt", &own.chain).file("tls.key", &own.key).file("server.pem", &server.pem);
    let setup = setup.file("clients.pem", &clients.pem).file("dana.crt", &dana.chain).file("dana.key", &dana.key);
    let gate = setup.start();
    let shown = ["--client-certificate", "dana.crt", "--client-key", "dana.key"];
    let believed = with(&shown, &["--gate-ca", "server.pem"]);
    says(run(&gate, &REVOKE), 2, &["takes certificates alone", "--client-certificate"]);
    says(run(&gate, &with(&REVOKE, &["--token-file", "tokens"])), 2, &["takes certificates alone"]);
    says(run(&gate, &with(&REVOKE, &shown)), 1, &["does not answer", "--gate-ca"]);
    says(run(&gate, &with(&REVOKE, &["--client-certificate", "dana.crt"])), 2, &["--client-key"]);
    let wrong = ["--client-certificate", "dana.crt", "--client-key", "tls.key", "--gate-ca", "server.pem"];
    says(run(&gate, &with(&REVOKE, &wrong)), 1, &["not that of the certificate"]);
    assert_eq!(acts(&gate), 0);
    says(run(&gate, &with(&REVOKE, &believed)), 0, &["in force on 1 of 1 gate"]);
    says(run(&gate, &with(&["overrides"], &believed)), 0, &["certificate:dana"]);
}

#[test]
fn over_the_socket_nothing_is_shown() {
    let gate = guarded("{listen: 'unix:admin.sock'}").start();
    says(run(&gate, &with(&REVOKE, &["--token-file", "tokens"])), 2, &["--token-file has no use", "Unix socket"]);
    says(run(&gate, &REVOKE), 0, &["in force on 1 of 1 gate"]);
}
