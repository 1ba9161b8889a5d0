//! `names fetch`: the product tells what its containers are called, and nothing that it says can do harm.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cli::{Ran, run_in};
use crate::support::gate::{Gate, Setup};
use crate::support::proxy::{Lead, StubProxy};
use crate::support::tls::Authority;
use crate::support::upstream::{Received, Reply, StubUpstream};

const LOOKUPS: &str = "{credential: {file: secrets/own}, per_second: 1000}";

/// A gate that does not run: its folder and its configuration.
fn laid(setup: Setup, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Gate {
    with_own(setup).laid(StubUpstream::start(answer))
}

fn with_own(setup: Setup) -> Setup {
    setup.gate("lookups", LOOKUPS).file("secrets/own", "xoxb-own\n")
}

fn fetch(gate: &Gate, more: &[&str]) -> Ran {
    run_in(gate.folder.path(), &[&["names", "fetch", "--config", "scopegate.yaml"], more].concat())
}

fn target(received: &Received) -> String {
    received.line().split(' ').nth(1).unwrap().to_owned()
}

fn read(gate: &Gate, name: &str) -> String {
    std::fs::read_to_string(gate.path(name)).unwrap()
}

/// A workspace whose channels take two pages.
fn slack(received: &Received) -> Reply {
    assert_eq!(received.field("authorization"), Some("Bearer xoxb-own"));
    let page = match target(received).split("cursor=").nth(1) {
        None => {
            r#"{"ok": true, "channels": [{"id": "C0EXEC", "name": "exec"}, {"id": "C0HELP", "name": "help"}], "response_metadata": {"next_cursor": "cGFnZTI="}}"#
        }
        Some("cGFnZTI%3D") => {
            r#"{"ok": true, "channels": [{"id": "C0NEWS", "name": "news"}], "response_metadata": {"next_cursor": ""}}"#
        }
        Some(other) => panic!("{other}"),
    };
    Reply::ok(page)
}

const OUT: [&str; 2] = ["-o", "policies/names.yaml"];

#[test]
fn channels_are_fetched_page_by_page_and_people_read_their_names() {
    let gate = laid(Setup::slack(), slack);
    fetch(&gate, &OUT).says(0, &["3 names written to policies/names.yaml; the product listed 3 channels on 2 pages"]);
    let written = read(&gate, "policies/names.yaml");
    for line in ["names: slack", "tenant: T024BE7LD", "  C0EXEC: \"#exec\"", "  C0NEWS: \"#news\""] {
        assert!(written.lines().any(|one| one == line), "{line}: {written}");
    }
    let asked: Vec<String> = gate.upstream.requests().iter().map(target).collect();
    let first = "/api/conversations.list?limit=200&types=public_channel,private_channel";
    assert_eq!(asked, [first.to_owned(), format!("{first}&cursor=cGFnZTI%3D")]);
    run_in(gate.folder.path(), &["check", "policies/names.yaml"]).says(0, &["0 errors"]);
    // Its own file is written anew; nothing of it is taken for somebody's own words.
    fetch(&gate, &OUT).says(0, &["3 names written"]);
    let json = fetch(&gate, &["--format", "json"]);
    json.says(0, &[]);
    assert_eq!(json.json()["names"], 3);
    assert_eq!(json.json()["listed"]["channel"], 3);
}

#[test]
fn what_a_person_named_stays_and_a_file_of_theirs_is_not_written_over() {
    let by_hand = "version: 1\nnames: slack\ntenant: T024BE7LD\nentries: {C0EXEC: the board, U0DANA: Dana}\n";
    let gate = laid(Setup::slack().policy("hand.yaml", by_hand), slack);
    let kept = fetch(&gate, &OUT);
    kept.says(0, &["2 names written", "1 id named by another document already"]);
    assert!(!read(&gate, "policies/names.yaml").contains("C0EXEC"));
    let before = gate.upstream.requests().len();
    let refused = fetch(&gate, &["-o", "policies/hand.yaml"]);
    refused.says(1, &["was not written by this command and stays as it is", "--force"]);
    assert_eq!(gate.upstream.requests().len(), before, "nothing was asked");
    assert_eq!(read(&gate, "policies/hand.yaml"), by_hand);
    std::os::unix::fs::symlink("hand.yaml", gate.path("policies/link.yaml")).unwrap();
    fetch(&gate, &["-o", "policies/link.yaml", "--force"]).says(1, &["is no regular file"]);
    fetch(&gate, &["-o", "policies/hand.yaml", "--force"]).says(0, &["3 names written"]);
    assert!(read(&gate, "policies/hand.yaml").contains("C0EXEC: \"#exec\""));
    let left: Vec<_> =
        std::fs::read_dir(gate.path("policies")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn jiras_projects_confluences_spaces_and_bitbuckets_repositories_are_listed_as_each_pages() {
    let jira = laid(Setup::jira(), |received| {
        let target = target(received);
        let at: usize = target.split("startAt=").nth(1).map_or(0, |at| at.parse().unwrap());
        assert!(target.starts_with("/rest/api/3/project/search?"), "{target}");
        let project = [
            r#"{"id": "10001", "key": "PROJ", "name": "Product"}"#,
            r#"{"id": "10002", "key": "SEC", "name": "Security"}"#,
        ][at];
        Reply::ok(&format!(r#"{{"isLast": {}, "values": [{project}]}}"#, at == 1))
    });
    let ran = fetch(&jira, &[]);
    ran.says(0, &["PROJ: Product", "\"10001\": PROJ", "SEC: Security", "listed 2 projects on 2 pages"]);
    let confluence = laid(Setup::confluence(), |received| match target(received).as_str() {
        "/wiki/api/v2/spaces?limit=250" => Reply::ok(
            // Of the link nothing but its cursor is taken.
            r#"{"results": [{"id": "65538", "key": "ENG", "name": "Engineering"}], "_links": {"next": "https://evil.example/elsewhere?cursor=n2"}}"#,
        ),
        "/wiki/api/v2/spaces?limit=250&cursor=n2" => {
            Reply::ok(r#"{"results": [{"id": "65539", "key": "~dana", "name": "Dana"}], "_links": {}}"#)
        }
        other => panic!("{other}"),
    });
    fetch(&confluence, &[]).says(0, &["ENG: Engineering", "\"65538\": ENG", "\"~dana\": Dana"]);
    let bitbucket = laid(Setup::bitbucket(), |received| match target(received).as_str() {
        "/2.0/workspaces/acme/projects?pagelen=100" => {
            Reply::ok(r#"{"values": [{"uuid": "{0a}", "key": "WEB", "name": "Web"}]}"#)
        }
        "/2.0/repositories/acme?pagelen=100" => Reply::ok(
            r#"{"values": [{"uuid": "{1b}", "slug": "site", "name": "Site", "full_name": "acme/site"}], "next": "http://x/2.0/repositories/acme?pagelen=100&page=2"}"#,
        ),
        "/2.0/repositories/acme?pagelen=100&page=2" => Reply::ok(r#"{"values": []}"#),
        other => panic!("{other}"),
    });
    let ran = fetch(&bitbucket, &OUT);
    ran.says(0, &["4 names written", "1 project, 1 repository"]);
    let written = read(&bitbucket, "policies/names.yaml");
    assert!(written.contains("site: Site") && written.contains("\"{1b}\": acme/site"), "{written}");
    run_in(bitbucket.folder.path(), &["check", "policies/names.yaml"]).says(0, &["0 errors"]);
}

#[test]
fn hostile_names_are_one_short_line_each_and_hostile_ids_are_none() {
    let names = [
        ("C0A1", "x\\ny: z\\n---\\nguardrail: all"),
        ("C0A2", "\\u001b[31mred\\u0007\\u202egnp"),
        ("C0A3", "*alias"),
        ("C0A4", "\\u200b\\u0000"),
        ("C0A5", "a: {b: [c]} # \\\"d\\\""),
        ("C0A6", "no"),
        ("C0A7\\n  C0EVIL", "two"),
        ("../etc", "up"),
        ("", "none"),
    ];
    let mut channels = String::new();
    for (id, name) in names {
        let _ = write!(channels, r#"{{"id": "{id}", "name": "{name}"}},"#);
    }
    let _ = write!(
        channels,
        r#"{{"id": "C0LONG", "name": "{}"}}, {{"id": 7, "name": []}}, null, [], "C0TEXT""#,
        "é".repeat(50_000)
    );
    let gate = laid(Setup::slack(), move |_| Reply::ok(&format!(r#"{{"ok": true, "channels": [{channels}]}}"#)));
    let ran = fetch(&gate, &OUT);
    ran.says(0, &["passed over"]);
    let written = read(&gate, "policies/names.yaml");
    run_in(gate.folder.path(), &["check", "policies/names.yaml"]).says(0, &["0 errors"]);
    assert!(!written.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{200b}']), "{written}");
    let entries: Vec<&str> = written.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(entries[0], "  C0A1: \"#x y: z --- guardrail: all\"");
    assert_eq!(entries[1], "  C0A2: \"#[31mred gnp\"");
    assert!(entries.iter().all(|line| line.chars().count() < 120), "{written}");
    assert!(!written.contains("EVIL") && !written.contains("../"), "{written}");
    assert_eq!(written.matches("guardrail").count(), 1);
}

#[test]
fn what_is_less_than_the_whole_list_is_not_written() {
    let page = |more: &str| format!(r#"{{"ok": true, "channels": [{{"id": "C0A1", "name": "a"}}]{more}}}"#);
    let cursor = r#", "response_metadata": {"next_cursor": "again"}"#;
    let cases: [(Reply, &str); 9] = [
        (Reply::ok(&page(cursor)), "the same next page twice"),
        (
            Reply::ok(r#"{"ok": false, "error": "missing_scope\u001b[2J"}"#),
            "the product answers with an error: missing_scope",
        ),
        (Reply::ok("<html>"), "page 1 of the channels"),
        (Reply::ok(r#"{"ok": true, "channels": {}}"#), "has no list at /channels"),
        (
            Reply::raw("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"),
            "answers with 302",
        ),
        (Reply::raw("HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n"), "refuses the credential of `lookups`"),
        (Reply::raw("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"), "answers with 500"),
        (Reply::raw("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}"), "it is packed"),
        (Reply::ok(&" ".repeat(5 << 20)), "too large"),
    ];
    for (reply, said) in cases {
        let gate = laid(Setup::slack(), move |_| reply.clone());
        let ran = fetch(&gate, &OUT);
        ran.says(1, &[said]);
        assert!(!ran.err.contains('\u{1b}'), "{}", ran.err);
        assert!(!gate.path("policies/names.yaml").exists(), "{said}");
    }
}

#[test]
fn too_many_requests_are_waited_out_and_the_time_is_bounded() {
    let asked = AtomicUsize::new(0);
    let gate = laid(Setup::slack(), move |received| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::raw("HTTP/1.1 429 X\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"),
        _ => slack(received),
    });
    fetch(&gate, &OUT).says(0, &["3 names written"]);
    assert_eq!(gate.upstream.requests().len(), 3);
    let long = laid(Setup::slack(), |_| Reply::raw("HTTP/1.1 429 X\r\nretry-after: 200\r\ncontent-length: 0\r\n\r\n"));
    fetch(&long, &["--timeout", "30s"]).says(1, &["it takes longer than 30 s"]);
    assert_eq!(long.upstream.requests().len(), 1, "it is not asked again before that");
    let silent = laid(Setup::slack(), |_| Reply::Hang);
    fetch(&silent, &["--timeout", "300ms"]).says(1, &["nothing was written"]);
}

#[test]
fn names_are_bounded_and_the_rest_is_said() {
    let page = |from: usize| {
        let channels: Vec<String> =
            (from..from + 100).map(|number| format!(r#"{{"id": "C0{number:04}", "name": "n{number}"}}"#)).collect();
        format!(
            r#"{{"ok": true, "channels": [{}], "response_metadata": {{"next_cursor": "{}"}}}}"#,
            channels.join(","),
            from + 100
        )
    };
    let gate = laid(Setup::slack(), move |received| {
        Reply::ok(&page(target(received).split("cursor=").nth(1).map_or(0, |at| at.parse().unwrap())))
    });
    fetch(&gate, &["--limit", "250", "-o", "policies/names.yaml"]).says(0, &["250 names", "--limit 250 was reached"]);
    assert_eq!(gate.upstream.requests().len(), 3, "no more is asked for");
    fetch(&gate, &["--limit", "0"]).says(2, &["--limit"]);
    fetch(&gate, &["--limit", "9999999"]).says(2, &["--limit"]);
}

#[test]
fn it_is_asked_with_the_tenants_own_credential_or_not_at_all() {
    let gate = Setup::slack().gate("lookups", "{per_second: 5}").laid(StubUpstream::start(slack));
    fetch(&gate, &OUT).says(1, &["has no credential of its own", "lookups: {credential: {file: …}}"]);
    let off = Setup::slack().laid(StubUpstream::start(slack));
    fetch(&off, &OUT).says(1, &["has no credential of its own"]);
    let empty = with_own(Setup::slack()).file("secrets/own", "").laid(StubUpstream::start(slack));
    let ran = fetch(&empty, &OUT);
    ran.says(1, &["secrets/own"]);
    let buddy = with_own(Setup::buddy()).laid(StubUpstream::ok());
    fetch(&buddy, &[]).says(1, &["does not say how its containers are listed"]);
    let all = [&gate, &off, &empty, &buddy];
    assert!(all.iter().all(|gate| gate.upstream.requests().is_empty()), "nobody was asked");
    fetch(&gate, &["--gate", "jira"]).says(2, &["there is no gate `jira`: --gate is one of slack"]);
    fetch(&gate, &["--tenant", "T0OTHER"]).says(2, &["has no tenant `T0OTHER`"]);
}

#[test]
fn the_upstreams_own_roots_and_its_proxy_are_its_way() {
    const NAME: &str = "slack.invalid";
    let authority = Authority::new("the upstream's");
    let upstream = StubUpstream::start_tls(authority.issue(NAME).server(), slack);
    let address = upstream.address;
    let proxy = StubProxy::start(move |_| Lead::To(address));
    let setup = |ca: &str| {
        with_own(Setup::slack())
            .gate("upstream", &format!("https://{NAME}"))
            .gate("via", &format!("http://{}", proxy.address))
            .gate("upstream_tls", "{ca: ca.pem}")
            .file("ca.pem", ca)
            .laid(StubUpstream::ok())
    };
    let gate = setup(&authority.pem);
    fetch(&gate, &OUT).says(0, &["3 names written"]);
    assert!(proxy.heads()[0].starts_with("CONNECT slack.invalid:443 "), "{:?}", proxy.heads());
    let stranger = setup(&Authority::new("a stranger's").pem);
    fetch(&stranger, &OUT).says(1, &["cannot be reached"]);
    assert_eq!(upstream.requests().len(), 2, "nobody who is not believed is asked");
}
