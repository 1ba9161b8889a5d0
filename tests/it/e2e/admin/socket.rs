//! The Unix socket: its file says who may connect, and the kernel says who did.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

/// This process, as the kernel names it: a file of its own has both.
fn own() -> (u32, u32) {
    let folder = tempfile::tempdir().expect("a folder");
    let metadata = std::fs::metadata(folder.path()).expect("it is there");
    (metadata.uid(), metadata.gid())
}

fn whoami(admin: &str) -> (u16, Value) {
    let gate = guarded(admin).start();
    ask(&gate, "GET /api/v1/whoami", &Value::Null)
}

#[test]
fn without_a_list_whoever_may_open_the_file_is_an_admin_and_only_they_may() {
    let gate = guarded("{listen: 'unix:admin.sock'}").start();
    let (status, who) = ask(&gate, "GET /api/v1/whoami", &Value::Null);
    assert_eq!((status, &who["role"], &who["principal"]), (200, &json!("admin"), &json!(format!("uid:{}", own().0))));
    let mode = std::fs::metadata(gate.path("admin.sock")).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn the_kernel_says_who_asks_and_who_is_not_listed_is_nobody() {
    let (uid, gid) = own();
    let role = |peers: &str| {
        let (status, answer) = whoami(&format!("{{listen: 'unix:admin.sock', peers: [{peers}]}}"));
        (status, answer["role"].as_str().map(str::to_owned).unwrap_or_default(), answer["code"].clone())
    };
    assert_eq!(role(&format!("{{uid: {uid}, role: viewer}}")).1, "viewer");
    assert_eq!(role(&format!("{{gid: {gid}, role: approver}}")).1, "approver");
    // The first that matches counts.
    assert_eq!(role(&format!("{{gid: {gid}, role: viewer}}, {{uid: {uid}, role: admin}}")).1, "viewer");
    let stranger = uid + 1;
    assert_eq!(role(&format!("{{uid: {stranger}, role: admin}}")), (403, String::new(), json!("unknown")));
}

#[test]
fn a_viewer_by_the_kernels_word_writes_nothing() {
    let gate = guarded(&format!("{{listen: 'unix:admin.sock', peers: [{{uid: {}, role: viewer}}]}}", own().0)).start();
    let (status, answer) = ask(&gate, "POST /api/v1/acts", &revoke());
    assert_eq!((status, &answer["code"], acts(&gate)), (403, &json!("role"), 0));
    // Nobody is made somebody else by a header.
    let claim = "POST /api/v1/acts HTTP/1.1\r\nauthorization: Bearer 0123456789abcdef-admin\r\nx-forwarded-user: root";
    assert_eq!((ask(&gate, claim, &revoke()).0, acts(&gate)), (403, 0));
    assert_eq!(ask(&gate, "GET /api/v1/snapshot", &Value::Null).0, 200);
}

#[test]
fn mode_and_group_are_those_that_are_written() {
    let (_, gid) = own();
    let gate = guarded(&format!("{{listen: 'unix:admin.sock', socket: {{mode: '0600', gid: {gid}}}}}")).start();
    let metadata = std::fs::metadata(gate.path("admin.sock")).expect("a socket");
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.gid()), (0o600, gid));
}

/// The problems of a configuration with this admin listener.
fn problems(admin: &str) -> String {
    let text = guarded(admin).config("http://127.0.0.1:1");
    let known = |name: &str| scopegate::authz::catalog::builtin::catalog(name).is_some();
    match scopegate::config::parse(&std::path::Path::new("scopegate.yaml").into(), &text, &known) {
        Ok(_) => String::new(),
        Err(problems) => problems.iter().map(|problem| format!("{}\n", problem.message)).collect(),
    }
}

#[test]
fn what_guards_nothing_or_everybody_does_not_load() {
    assert_eq!(problems("{listen: 'unix:a.sock', socket: {mode: '0666'}, peers: [{uid: 1, role: viewer}]}"), "");
    assert_eq!(
        problems(
            "{listen: '127.0.0.1:0', tls: {certificate: c, key: k, client_ca: a, clients: [{uri: 'x:y', role: admin}]}}"
        ),
        ""
    );
    for (admin, says) in [
        ("{listen: '127.0.0.1:0'}", "lacks `token`"),
        ("{listen: '127.0.0.1:0', tls: {certificate: c, key: k}}", "lacks `token`"),
        ("{listen: 'unix:a.sock', token: {file: t}}", "`token` guards TCP"),
        ("{listen: 'unix:a.sock', tls: {certificate: c, key: k}}", "`tls` guards TCP"),
        ("{listen: 'unix:a.sock', hosts: [a]}", "`hosts` guards TCP"),
        ("{listen: '127.0.0.1:0', token: {file: t}, peers: [{uid: 1, role: admin}]}", "`peers` guards a Unix socket"),
        ("{listen: '127.0.0.1:0', token: {file: t}, socket: {mode: '0600'}}", "`socket` guards a Unix socket"),
        ("{listen: 'unix:a.sock', socket: {mode: '0666'}}", "every user of this machine"),
        ("{listen: 'unix:a.sock', socket: {mode: '0777'}, peers: [{uid: 1, role: admin}]}", "no mode"),
        ("{listen: 'unix:a.sock', socket: {mode: 'rw'}}", "no mode"),
        ("{listen: 'unix:a.sock', peers: []}", "lets nobody in"),
        ("{listen: 'unix:a.sock', peers: [{role: admin}]}", "one `uid` or one `gid`"),
        ("{listen: 'unix:a.sock', peers: [{uid: 1, gid: 1, role: admin}]}", "one `uid` or one `gid`"),
        ("{listen: 'unix:a.sock', peers: [{uid: 1}]}", "the role is missing"),
        ("{listen: 'unix:a.sock', peers: [{uid: 1, role: root}]}", "root"),
        ("{listen: '127.0.0.1:0', tls: {certificate: c, key: k, client_ca: a}}", "without `clients`"),
        (
            "{listen: '127.0.0.1:0', tls: {certificate: c, key: k, clients: [{uri: x, role: admin}]}}",
            "without `client_ca`",
        ),
        ("{listen: '127.0.0.1:0', tls: {certificate: c, key: k, client_ca: a, clients: []}}", "lets nobody in"),
        (
            "{listen: '127.0.0.1:0', tls: {certificate: c, key: k, client_ca: a, clients: [{uri: x, dns: y, role: admin}]}}",
            "one name",
        ),
        ("{listen: '127.0.0.1:0', tls: {certificate: c, key: k, client_ca: a, clients: [{role: admin}]}}", "one name"),
        ("{listen: '127.0.0.1:0', token: {file: t}, hosts: ['http://a']}", "no host"),
    ] {
        let told = problems(admin);
        assert!(told.contains(says), "{admin}: {told:?}");
    }
}
