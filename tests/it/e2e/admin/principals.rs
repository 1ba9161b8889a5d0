//! The journal and the act say who did it: what they said, and who they are.

use super::*;

/// The entries of the journal, the newest first.
fn history(gate: &Gate, query: &str) -> Vec<Value> {
    let (status, page) = tell(gate, VIEWER, &Ask::get(&format!("/api/v1/history{query}")));
    assert_eq!(status, 200, "{page}");
    page["entries"].as_array().expect("entries").clone()
}

#[test]
fn an_act_over_the_api_is_journaled_as_one_by_whom_it_was_made() {
    let gate = on_tcp().start();
    let mut forged = revoke();
    forged["by"] = json!("token:dana");
    let (status, done) = tell(&gate, APPROVER, &order(&gate, &forged));
    assert_eq!(status, 200, "{done}");
    let entry = &history(&gate, "?limit=1")[0];
    assert_eq!(
        (&entry["source"], &entry["principals"], &entry["by"], &entry["reason"]),
        (&json!("api"), &json!(["token:oncall"]), &json!(["token:dana"]), &json!(["SEC-1142"])),
        "{entry}"
    );
    let text = done["text"].as_str().expect("a text");
    assert!(text.starts_with("# made over the admin API by \"token:oncall\"\n"), "{text}");
    let id = done["id"].as_str().expect("an id").to_owned();
    let why = json!({"reason": "false alarm"}).to_string();
    let tag = format!("\"{}\"", generation(&gate));
    let restore = Ask::post(&format!("/api/v1/acts/{id}/restore")).with("if-match", &tag).json(&why);
    assert_eq!(tell(&gate, ADMIN, &restore).0, 200);
    let entry = &history(&gate, "?limit=1")[0];
    assert_eq!(
        (&entry["source"], &entry["principals"], &entry["by"], &entry["reason"]),
        (&json!("api"), &json!(["token:dana"]), &json!(["token:dana"]), &json!(["false alarm"])),
        "who took it back, and why: {entry}"
    );
}

#[test]
fn whoever_does_not_say_who_they_are_is_named_as_they_are_known() {
    let gate = on_tcp().start();
    for by in [json!(null), json!(""), json!("  ")] {
        let mut order = revoke();
        order["by"] = by;
        let (status, done) = tell(&gate, APPROVER, &super::order(&gate, &order));
        assert_eq!(status, 200, "{done}");
        assert!(done["text"].as_str().expect("a text").contains("by: \"token:oncall\""), "{done}");
    }
    let mut long = revoke();
    long["by"] = json!("x".repeat(201));
    assert_eq!(tell(&gate, APPROVER, &order(&gate, &long)).0, 422);
}

#[test]
fn a_promotion_says_who_promoted_and_keeps_who_ordered() {
    let gate = on_tcp().start();
    let mut shadow = revoke();
    shadow["shadow"] = json!(true);
    let (_, done) = tell(&gate, APPROVER, &order(&gate, &shadow));
    let promote = sound(&gate, Endpoint::Promote, done["id"].as_str().expect("an id"));
    let (status, done) = tell(&gate, ADMIN, &promote);
    assert_eq!(status, 200, "{done}");
    let text = done["text"].as_str().expect("a text");
    assert!(
        text.contains("promoted over the admin API by \"token:dana\"") && text.contains("\"token:oncall\""),
        "{text}"
    );
    let entry = &history(&gate, "?limit=1")[0];
    assert_eq!((&entry["source"], &entry["principals"]), (&json!("api"), &json!(["token:dana"])), "{entry}");
    assert_eq!(entry["reason"], json!(["over"]));
}

/// A file that somebody writes may say what it likes: it is no act over the API.
#[test]
fn a_written_file_is_nobodys_act_over_the_api() {
    let gate = on_tcp().start();
    let act = "# made over the admin API by \"token:dana\"\nversion: 1\napp: jira/tracker\n\
               suspensions: [{tenants: [acme], reason: SEC-9, by: \"token:dana\"}]\n";
    std::fs::create_dir_all(gate.path("state/overrides")).expect("a folder");
    std::fs::write(gate.path("new"), act).expect("a file");
    std::fs::rename(gate.path("new"), gate.path("state/overrides/act.yaml")).expect("a rename");
    let edit = Ask::put("/rest/api/3/issue/PROJ-1").bearer("tracker").json("{}");
    crate::support::upstream::wait_until("the suspension", || gate.ask(&edit).reason() == Some("app_suspended"));
    crate::support::upstream::wait_until("the entry", || {
        history(&gate, "?limit=1").first().is_some_and(|entry| entry["source"] == "override")
    });
    assert_eq!(history(&gate, "?limit=1")[0]["principals"], json!([]));
    assert!(history(&gate, "?source=api").is_empty());
}

#[test]
fn an_entry_is_found_by_its_source_and_by_whom() {
    let gate = on_tcp().start();
    assert_eq!(tell(&gate, APPROVER, &order(&gate, &revoke())).0, 200);
    assert_eq!(tell(&gate, ADMIN, &order(&gate, &grant())).0, 200);
    let found = |query: &str| history(&gate, query).len();
    assert_eq!((found("?source=api"), found("?source=start"), found("?source=file")), (2, 1, 0));
    assert_eq!((found("?principal=token:oncall"), found("?principal=token:dana")), (1, 1));
    assert_eq!((found("?principal=token:on"), found("?principal=token:grafana")), (0, 0));
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_scopegate"))
        .args(["log", "--config", "scopegate.yaml"])
        .current_dir(gate.folder.path())
        .output()
        .expect("it runs");
    let told = String::from_utf8(out.stdout).expect("UTF-8");
    assert!(told.contains("api  by token:oncall  SEC-1142"), "{told}");
}
