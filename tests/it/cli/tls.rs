//! What `check` and a start say of certificates, roots and proxies.

use super::*;
use crate::support::tls::Authority;

/// The small product behind TLS on both sides, through a proxy.
fn behind_tls() -> tempfile::TempDir {
    let folder = tracker();
    let text = std::fs::read_to_string(folder.path().join("scopegate.yaml")).unwrap();
    let text = text.replace("listen: 127.0.0.1:8080", "listen: 127.0.0.1:0").replace(
        "    upstream: http://127.0.0.1:9999\n",
        "    tls: {certificate: gate.crt, key: gate.key}\n    upstream: https://127.0.0.1:9999\n    \
         upstream_tls: {ca: ca.pem}\n    via: {proxy: https://proxy.corp:3129, tls: {ca: corp.pem, roots: both}, \
         authorization: {file: proxy.txt}}\n",
    );
    write(folder.path(), "scopegate.yaml", &text);
    let authority = Authority::new("a");
    let issued = authority.issue("gate.internal");
    write(folder.path(), "gate.crt", &issued.chain);
    write(folder.path(), "gate.key", &issued.key);
    write(folder.path(), "ca.pem", &authority.pem);
    write(folder.path(), "corp.pem", &authority.pem);
    write(folder.path(), "proxy.txt", "user:password\n");
    folder
}

#[test]
fn check_names_each_file_that_cannot_be_used_and_says_what_to_do() {
    let folder = behind_tls();
    let check = || run_in(folder.path(), &["check", "--config", "scopegate.yaml"]);
    check().says(0, &["0 errors"]);
    let other = Authority::new("b").issue("gate.internal");
    for (file, text, said, help) in [
        ("gate.key", other.key.as_str(), "the private key is not that of the certificate in gate.crt", "one pair"),
        ("gate.key", "", "the private key holds no private key that can be used without a password", "as PEM"),
        ("gate.crt", "-----BEGIN CERTIFICATE-----\nAA", "the certificate is not PEM: a section has no end", "as PEM"),
        ("ca.pem", "none\n", "the list of roots holds no certificate", "the authorities as PEM"),
        ("corp.pem", "", "the list of roots holds no certificate", "the authorities as PEM"),
        ("proxy.txt", "", "the secret file is empty", "write `user:password` into it"),
        ("proxy.txt", "a:b\nc", "a line break or control character", "on one line"),
        ("proxy.txt", "token", "the proxy's credential is none of its scheme", "write `user:password` into it"),
    ] {
        let before = std::fs::read(folder.path().join(file)).unwrap();
        write(folder.path(), file, text);
        check().says(1, &["1 error", said, help, &format!("--> {file}")]);
        std::fs::write(folder.path().join(file), before).unwrap();
    }
    check().says(0, &["0 errors"]);
}

#[test]
fn check_says_all_of_them_at_once_and_warns_of_those_that_may_lie_elsewhere() {
    let folder = behind_tls();
    for file in ["gate.crt", "gate.key", "ca.pem", "corp.pem", "proxy.txt"] {
        std::fs::remove_file(folder.path().join(file)).unwrap();
    }
    let ran = run_in(folder.path(), &["check", "--config", "scopegate.yaml"]);
    ran.says(0, &["0 errors"]);
    for file in ["gate.crt", "ca.pem", "corp.pem", "proxy.txt"] {
        ran.says(0, &[&format!("--> {file}"), "cannot be read"]);
    }
}

#[test]
fn a_gate_does_not_start_without_them() {
    let other = Authority::new("b").issue("gate.internal");
    for (file, text, said) in [
        ("gate.key", Some(other.key.as_str()), "the private key is not that of the certificate"),
        ("gate.crt", None, "the certificate cannot be read"),
        ("ca.pem", None, "the list of roots cannot be read"),
        ("ca.pem", Some(""), "the list of roots holds no certificate"),
        ("corp.pem", None, "the list of roots cannot be read"),
        ("proxy.txt", None, "the proxy's credential cannot be read"),
    ] {
        let folder = behind_tls();
        match text {
            Some(text) => drop(write(folder.path(), file, text)),
            None => std::fs::remove_file(folder.path().join(file)).unwrap(),
        }
        run_in(folder.path(), &["serve", "--config", "scopegate.yaml"]).says(1, &[said, &format!("--> {file}")]);
    }
}

#[test]
fn a_start_says_that_the_environment_names_a_proxy_which_is_not_used() {
    use std::io::{BufRead as _, BufReader};
    let folder = tracker();
    let text = std::fs::read_to_string(folder.path().join("scopegate.yaml")).unwrap();
    write(folder.path(), "scopegate.yaml", &text.replace("127.0.0.1:8080", "127.0.0.1:0"));
    let mut serve = command(folder.path(), &["serve", "--config", "scopegate.yaml"]);
    serve.env("HTTPS_PROXY", "http://user:hunter2@proxy.corp:3128").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = serve.spawn().unwrap();
    let lines = BufReader::new(running.stderr.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).find(|line| line.contains("HTTPS_PROXY is set and is not read"));
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(!said.expect("it was said").contains("hunter2"));
}

#[test]
fn check_warns_of_a_proxy_that_can_read_along() {
    let folder = tracker();
    let text = std::fs::read_to_string(folder.path().join("scopegate.yaml")).unwrap();
    write(folder.path(), "scopegate.yaml", &text.replace("bypass:", "via: http://proxy.corp:3128\n    bypass:"));
    run_in(folder.path(), &["check", "--config", "scopegate.yaml"]).says(0, &["which can read every credential"]);
}
