//! TLS and the way out, from the configuration on: what is read again while the gate runs, and what is never taken.

use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::pki_types::CertificateDer;

use super::*;
use crate::support::gate::Setup;
use crate::support::proxy::{Lead, StubProxy};
use crate::support::tls::{Authority, Issued, client, connect, over};
use crate::support::upstream::{DEADLINE, Reply, StubUpstream, wait_until};

const GRANT: &str = "grants: [{scopes: [read:jira-work], actors: [app], in: all}]\n";

fn read() -> Ask {
    Ask::get("/rest/api/3/issue/PROJ-1").bearer("tracker")
}

fn jira() -> Setup {
    Setup::jira().policy("tracker.yaml", &jira_app("tracker", "oauth", GRANT))
}

/// A gate that shows this certificate.
fn serving(issued: &Issued) -> Setup {
    let setup = jira().gate("tls", "{certificate: tls/crt, key: tls/key}");
    setup.file("tls/crt", &issued.chain).file("tls/key", &issued.key)
}

/// Before an upstream that this authority vouches for, with `upstream_tls` as given.
fn before(authority: &Authority, upstream_tls: &str) -> Gate {
    let upstream = StubUpstream::start_tls(authority.issue("127.0.0.1").server(), |_| Reply::ok("ok"));
    let setup = jira().gate("upstream", "https://{upstream}").gate("upstream_tls", upstream_tls);
    setup.file("ca.pem", &authority.pem).before(upstream)
}

/// Writes a file whole and at once.
fn put(gate: &Gate, path: &str, text: &str) {
    std::fs::write(gate.path("new"), text).expect("a file");
    std::fs::rename(gate.path("new"), gate.path(path)).expect("a rename");
}

/// Shakes hands and goes; what the gate showed.
fn shown(gate: &Gate, authority: &Authority) -> CertificateDer<'static> {
    let stream = TcpStream::connect(gate.address()).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut stream = over(stream, client(&[authority]), "gate.internal");
    stream.conn.complete_io(&mut stream.sock).expect("a handshake");
    stream.conn.peer_certificates().expect("a chain")[0].clone().into_owned()
}

fn problem(gate: &Gate, name: &str) -> f64 {
    gate.metric(&format!(r#"scopegate_certificate_problems{{name="{name}"}}"#))
}

/// Waits until `/readyz` says this of the files, and gives its status.
fn wait_for_word(gate: &Gate, words: &str) -> u16 {
    wait_until(words, || gate.health("/readyz").json()["file_problems"].to_string().contains(words));
    gate.health("/readyz").status
}

#[test]
fn a_pair_replaced_file_by_file_fails_no_handshake_and_is_never_mixed() {
    let authority = Authority::new("a");
    let (old, new) = (authority.issue("gate.internal"), authority.issue("gate.internal"));
    let gate = serving(&old).start();
    let mut open = connect(gate.address(), client(&[&authority]), "gate.internal");
    open.send(&read().text());
    assert_eq!(open.answer().status, 200);

    let (seen, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let seen_more = |count: usize| {
        let before = seen.lock().expect("the list").len();
        wait_until("handshakes", || seen.lock().expect("the list").len() >= before + count);
    };
    std::thread::scope(|scope| {
        let shaking = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let leaf = shown(&gate, &authority);
                seen.lock().expect("the list").push(leaf);
            }
        });
        seen_more(10);
        put(&gate, "tls/crt", &new.chain);
        seen_more(50);
        put(&gate, "tls/key", &new.key);
        wait_until("the new one to be shown", || seen.lock().expect("the list").last() == Some(&new.leaf()));
        seen_more(10);
        over.store(true, Ordering::SeqCst);
        shaking.join().expect("no handshake failed");
    });
    let seen = seen.into_inner().expect("the list");
    let first_new = seen.iter().position(|leaf| *leaf == new.leaf()).expect("it was shown");
    assert!(seen[..first_new].iter().all(|leaf| *leaf == old.leaf()));
    assert!(seen[first_new..].iter().all(|leaf| *leaf == new.leaf()));
    assert_eq!(problem(&gate, "jira"), 0.0);

    open.send(&read().text());
    assert_eq!(open.answer().status, 200, "a connection that was open goes on");
}

#[test]
fn no_half_of_a_pair_is_ever_taken_and_the_operator_is_told() {
    let authority = Authority::new("a");
    let (old, new) = (authority.issue("gate.internal"), authority.issue("gate.internal"));
    let gate = serving(&old).start();
    assert_eq!(problem(&gate, "jira"), 0.0);
    put(&gate, "tls/crt", &new.chain);
    assert_eq!(wait_for_word(&gate, "tls/key: the private key is not that of the certificate in"), 200);
    assert_eq!((problem(&gate, "jira"), shown(&gate, &authority)), (1.0, old.leaf()));

    std::fs::remove_file(gate.path("tls/key")).expect("removed");
    wait_for_word(&gate, "tls/key: the private key cannot be read");
    assert_eq!(shown(&gate, &authority), old.leaf());
    // In place, as an editor or a copy writes: half of it first.
    let (half, rest) = new.key.split_at(new.key.len() / 2);
    std::fs::write(gate.path("tls/key"), half).expect("written");
    wait_for_word(&gate, "tls/key: the private key is not PEM: a section has no end");
    assert_eq!(shown(&gate, &authority), old.leaf());
    assert!(!gate.health("/readyz").body.contains(half.lines().nth(1).expect("base64")), "nothing of the key is told");
    std::fs::write(gate.path("tls/key"), format!("{half}{rest}")).expect("written");
    wait_until("the whole pair to be shown", || shown(&gate, &authority) == new.leaf());
    wait_until("the problem to go", || problem(&gate, "jira") == 0.0);
    assert!(gate.health("/readyz").json()["file_problems"].is_null());

    put(&gate, "tls/crt", "");
    wait_for_word(&gate, "tls/crt: the certificate holds no certificate");
    assert_eq!(shown(&gate, &authority), new.leaf());
}

#[test]
fn a_pair_comes_by_a_swap_of_the_folder_and_its_end_is_shown() {
    let authority = Authority::new("a");
    let old = authority.issue("gate.internal");
    let mut params = rcgen::CertificateParams::new(vec!["gate.internal".to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(2999, 1, 1);
    let new = authority.issue_as(params);
    let gate = serving(&old).start();
    let expiry = || gate.metric(r#"scopegate_certificate_expiry_timestamp_seconds{name="jira"}"#);
    let old_end = expiry();

    // What Kubernetes mounts: links to `..data`, itself a link that is renamed over.
    for (generation, issued) in [("..1", &old), ("..2", &new)] {
        let folder = gate.path("tls").join(generation);
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("crt"), &issued.chain).expect("written");
        std::fs::write(folder.join("key"), &issued.key).expect("written");
    }
    let point = |target: &str, link: &str| {
        symlink(target, gate.path("tls/link")).expect("a link");
        std::fs::rename(gate.path("tls/link"), gate.path("tls").join(link)).expect("a rename");
    };
    point("..1", "..data");
    point("..data/crt", "crt");
    point("..data/key", "key");
    assert_eq!(shown(&gate, &authority), old.leaf());
    point("..2", "..data");
    wait_until("the new one to be shown", || shown(&gate, &authority) == new.leaf());
    wait_until("its end to be shown", || expiry() != old_end);
    // 2999-01-01T00:00:00Z
    assert_eq!(expiry(), 32_472_144_000.0);
}

#[test]
fn an_authority_that_was_taken_away_is_not_believed_and_one_that_cannot_be_read_is() {
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let gate = before(&authority, "{ca: ca.pem}");
    gate.passes(&read());
    for (broken, words) in [
        ("", "ca.pem: the list of roots holds no certificate"),
        (&authority.pem[..authority.pem.len() / 2], "ca.pem: the list of roots is not PEM"),
    ] {
        put(&gate, "ca.pem", broken);
        assert_eq!(wait_for_word(&gate, words), 200);
        gate.passes(&read());
    }
    std::fs::remove_file(gate.path("ca.pem")).expect("removed");
    wait_for_word(&gate, "ca.pem: the list of roots cannot be read");
    gate.passes(&read());
    assert_eq!(problem(&gate, "jira/upstream_tls.ca"), 1.0);

    put(&gate, "ca.pem", &other.pem);
    wait_until("it to be taken away", || gate.ask(&read()).reason() == Some("upstream_unreachable"));
    let seen = gate.upstream.requests().len();
    let answer = gate.ask(&read());
    assert_eq!((answer.status, answer.reason()), (502, Some("upstream_unreachable")));
    assert_eq!(gate.upstream.requests().len(), seen, "nothing was sent, on a kept connection either");
    assert_eq!(problem(&gate, "jira/upstream_tls.ca"), 0.0);
    let last_says = |word: &str| gate.log.text().lines().last().is_some_and(|line| line.contains(word));
    wait_until("the line that says why", || last_says("UnknownIssuer"));

    put(&gate, "ca.pem", &format!("{}{}", other.pem, authority.pem));
    wait_until("it to be believed again", || gate.ask(&read()).reason().is_none());
}

#[test]
fn roots_of_a_file_may_stand_beside_the_public_ones() {
    let authority = Authority::new("a");
    before(&authority, "{ca: ca.pem, roots: both}").passes(&read());
    before(&authority, "{ca: ca.pem, roots: file}").passes(&read());
    let gate = before(&authority, "{roots: public}");
    let answer = gate.ask(&read());
    assert_eq!((answer.reason(), gate.upstream.requests().len()), (Some("upstream_unreachable"), 0));
}

#[test]
fn a_proxy_that_refuses_stands_in_the_log_and_its_credential_is_read_again() {
    let upstream = StubUpstream::ok();
    let address = upstream.address;
    // user:right
    let proxy = StubProxy::start(move |head| match head.contains("proxy-authorization: Basic dXNlcjpyaWdodA==") {
        true => Lead::To(address),
        false => Lead::close("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
    });
    let via = format!("{{proxy: 'http://{}', authorization: {{file: secrets/proxy}}}}", proxy.address);
    let gate = jira().gate("via", &via).file("secrets/proxy", "user:wrong\n").before(upstream);
    let answer = gate.refuses(&read(), "upstream_unreachable");
    assert_eq!(answer.status, 502);
    // A decision id may hold any digits, so it is not the status that is looked for.
    let told = format!("{}{}", answer.head, answer.body).to_lowercase();
    assert!(!told.contains("proxy") && !told.contains("refused with"), "the app is told nothing of the proxy: {told}");
    let line = gate.log.line(1);
    let error = line["upstream_error"].as_str().expect("an error");
    assert!(error.contains("the proxy of `via` refused with status 407"), "{error}");
    assert_eq!((&line["outcome"], &line["status"]), (&"upstream_error".into(), &502.into()));

    put(&gate, "secrets/proxy", "user:right\n");
    wait_until("the credential to be read", || gate.ask(&read()).reason().is_none());
    assert!(gate.upstream.requests().iter().all(|request| request.field("proxy-authorization").is_none()));
    put(&gate, "secrets/proxy", "no colon\n");
    wait_for_word(&gate, "secrets/proxy: the proxy's credential is none of its scheme");
    assert!(!gate.health("/readyz").body.contains("no colon"));
    assert_eq!(problem(&gate, "jira/via.authorization"), 1.0);
}
