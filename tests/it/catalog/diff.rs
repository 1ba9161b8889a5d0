//! `scopegate catalog diff`: what a newer catalog may permit that the older one refused.

use std::path::Path;

use scopegate::cli::catalog::{CatalogFormat, DiffArgs, diff};
use serde_json::Value;

const OLD: &str = "\
version: 1
product: own
release: '1'
dialect: problem
vocabularies: [classic, granular]
containers: [{name: team, id: '[a-z]+'}]
kinds:
  - {name: oauth, vocabularies: [classic, granular], actor: evidence}
  - {name: bot, vocabularies: [granular], actor: app}
scopes:
  - {name: read, vocabularies: [classic]}
  - {name: write, vocabularies: [classic], implies: [read]}
  - {name: 'r:x', vocabularies: [granular]}
operations:
  - {id: list, request: 'GET /teams', needs: {classic: [[read]]}}
  - {id: get, request: 'GET /teams/{team}', needs: {classic: [[read, write]], granular: [['r:x']]}, guards: ['gate:mint'], touches: {places: [{kind: team, path: team}]}}
  - {id: odd, request: 'GET /odd', needs: unknown}
";

/// Whether nothing widens, and what is said.
fn compared(old: &str, new: &str) -> (bool, Value) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let args = DiffArgs {
        old: write("old.yaml", old),
        new: write("new.yaml", new),
        policies: Vec::new(),
        format: CatalogFormat::Json,
    };
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let same = diff(&args, &mut out, &mut errors).unwrap();
    assert!(errors.is_empty(), "{}", String::from_utf8_lossy(&errors));
    (same, serde_json::from_slice(&out).unwrap())
}

fn said(value: &Value) -> String {
    value.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_catalog_is_as_wide_as_itself() {
    let (same, told) = compared(OLD, OLD);
    assert!(same);
    for list in ["widening", "narrowing", "other"] {
        assert_eq!(told[list], Value::Array(Vec::new()), "{list}");
    }
    assert_eq!(told["old"]["digest"], told["new"]["digest"]);
}

#[test]
fn what_the_new_one_may_permit_and_the_old_one_refused_is_wider() {
    let list = "needs: {classic: [[read]]}}";
    let get = "needs: {classic: [[read, write]], granular: [['r:x']]}";
    for (before, after, expected) in [
        ("needs: unknown", "needs: {classic: [[read]]}", "operation odd: was needs unknown (refused)"),
        ("needs: unknown", "needs: {none: w}", "is needs none"),
        (list, "needs: {classic: [[read], [write]]}}", "operation list: was needs read; is needs read or write"),
        (list, "needs: {classic: [[read]], granular: [['r:x']]}}", "was open to oauth, is to bot, oauth"),
        (list, "needs: {granular: [['r:x']]}}", "was open to oauth"),
        (get, "needs: {classic: [[read]], granular: [['r:x']]}", "operation get"),
        // Gone, the vocabulary's revocations take nothing any more.
        (get, "needs: {classic: [[read, write]]}", "operation get"),
        (", guards: ['gate:mint']", "", "guards were gate:mint, are nobody"),
        ("{id: list, ", "{id: lists, ", "operation lists (GET /teams) is new"),
        ("'GET /teams'", "'POST /teams'", "operation list: GET /teams is now POST /teams"),
        (", implies: [read]", "", "scope write: was Vendor, implies read; is Vendor, implies nothing"),
        ("id: '[a-z]+'", "id: '[a-z0-9]+'", "containers differ"),
        ("[granular], actor: app", "[granular, classic], actor: app", "kind of credential bot"),
        ("[granular], actor: app", "[granular], actor: user", "kind of credential bot"),
        ("dialect: problem", "dialect: problem\ntokens: {query: [token]}", "places of tokens"),
        ("dialect: problem", "dialect: problem\nbases: [/v1]", "base /v1 is new"),
        (
            list,
            "needs: {classic: [[read]]}, touches: {nothing: w}}",
            "operation list: touched \"tenant\", touches \"nothing\"",
        ),
        ("path: team}", "query: team}", "operation get: touched"),
        ("product: own", "product: other", "another product"),
    ] {
        assert!(OLD.contains(before), "{before}");
        let (same, told) = compared(OLD, &OLD.replace(before, after));
        assert!(!same && told["widens"] == true, "{after}");
        assert!(said(&told["widening"]).contains(expected), "{after}: {told}");
    }
}

#[test]
fn what_the_new_one_only_refuses_is_narrower() {
    let operation = "  - {id: list, request: 'GET /teams', needs: {classic: [[read]]}}\n";
    for (before, after, expected) in [
        (operation, "", "operation list (GET /teams) is gone"),
        ("needs: {classic: [[read]]}}", "needs: unknown}", "is needs unknown"),
        ("needs: {classic: [[read]]}}", "needs: {classic: [[read, write]]}}", "operation list"),
        (
            "needs: {classic: [[read]]}}",
            "needs: {classic: [[read]]}, guards: ['gate:admit']}",
            "guards were nobody, are gate:admit",
        ),
        ("touches: {places: [{kind: team, path: team}]}", "touches: {tenant: w}", "touches \"tenant\""),
        ("dialect: problem", "dialect: problem\nevaluators: [{query: show, why: w, plain: [raw]}]", "evaluator show"),
    ] {
        assert!(OLD.contains(before), "{before}");
        let (same, told) = compared(OLD, &OLD.replace(before, after));
        assert!(same, "{after}: {told}");
        assert!(said(&told["narrowing"]).contains(expected), "{after}: {told}");
    }
    let (same, told) = compared(OLD, &format!("{OLD}  - {{id: new, request: 'GET /new', needs: unknown}}\n"));
    assert!(same && said(&told["other"]).contains("operation new (GET /new) is new: needs unknown"), "{told}");
}

#[test]
fn what_is_remembered_of_jobs_widens_but_beside_what_is_named() {
    let operations = "operations:\n  - {id: start, request: 'POST /teams/{team}/runs', needs: {classic: [[read]]}, touches: {places: [{kind: team, path: team}]}}\n";
    let named = "touches: {places: [{kind: team, path: team}]}";
    let with = |touches: &str, jobs: &str| {
        let asks = format!(
            "  - {{id: ask, request: 'GET /teams/{{team}}/runs/{{run}}', needs: {{classic: [[read]]}}, {touches}}}\n"
        );
        format!("{}{jobs}", OLD.replace("operations:\n", &format!("{operations}{asks}")))
    };
    let jobs = |at: &str| {
        format!(
            "jobs: [{{job: run, why: w, started: [{{operations: [start], {at}}}], fetched: [{{operations: [ask], path: run}}]}}]\n"
        )
    };
    let (tenant, by_id) = ("touches: {tenant: w}", jobs("answer: /id"));
    let (same, told) = compared(&with(tenant, ""), &with(tenant, &by_id));
    let widening = said(&told["widening"]);
    assert!(!same && widening.contains("ask: asked about nothing, asks about run in path run"), "{told}");
    assert!(widening.contains("start: started nothing, starts run named by /id"), "{told}");
    let (same, told) = compared(&with(tenant, &by_id), &with(tenant, ""));
    assert!(same && said(&told["narrowing"]).contains("asked about run in path run, asks about nothing"), "{told}");
    let (same, told) = compared(&with(tenant, &by_id), &with(tenant, &jobs("location: true")));
    assert!(!same && said(&told["widening"]).contains("starts run named by Location"), "{told}");
    // Beside a name it adds to that: taken away, the name alone is asked for.
    let (_, told) = compared(&with(named, ""), &with(named, &by_id));
    assert!(said(&told["narrowing"]).contains("operation ask: asked about nothing"), "{told}");
    let (same, told) = compared(&with(named, &by_id), &with(named, ""));
    assert!(!same && said(&told["widening"]).contains("operation ask: asked about run"), "{told}");
}

#[test]
fn built_in_products_are_compared_by_name_and_a_side_that_is_not_there_is_a_no() {
    let run = |old: &str, new: &str, format| {
        let args = DiffArgs { old: old.to_owned(), new: new.to_owned(), policies: Vec::new(), format };
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let same = diff(&args, &mut out, &mut errors).unwrap();
        (same, String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap())
    };
    let (same, out, _) = run("jira", "jira@2025-12", CatalogFormat::Text);
    assert!(same && out == "jira@2025-12 -> jira@2025-12: nothing changes\n", "{out}");
    let (same, out, _) = run("jira", "slack", CatalogFormat::Text);
    assert!(!same && out.contains("+ another product: jira and slack") && out.contains(" wider, "), "{out}");
    let (same, out, errors) = run("jira", "jira@1999", CatalogFormat::Text);
    assert!(!same && out.is_empty() && errors.contains("jira@1999"), "{errors}");
    assert!(!Path::new("jira@1999").exists());
}

#[test]
fn the_verdicts_that_change_are_said_for_each_app_of_a_policy() {
    let policy = "version: 1\napp: own/a\nname: A\ncontact: it@example.com\ninstallations:\n  - tenant: t\n    credentials: \
                  [{method: token, kind: oauth, sha256: \"0000000000000000000000000000000000000000000000000000000000000001\"}]\n\
                  grants: [{scopes: [write], actors: [app], in: all}]\n";
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let new = OLD
        .replace("needs: unknown", "needs: {classic: [[write]]}")
        .replace("needs: {classic: [[read]]}}", "needs: unknown}");
    let (old, new) = (write("old.yaml", OLD), write("new.yaml", &new));
    let run = |policies: std::path::PathBuf| {
        let args = DiffArgs {
            old: old.display().to_string(),
            new: new.display().to_string(),
            policies: vec![policies],
            format: CatalogFormat::Text,
        };
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        assert!(!diff(&args, &mut out, &mut errors).unwrap());
        String::from_utf8(out).unwrap() + &String::from_utf8(errors).unwrap()
    };
    let said = run(write("policy.yaml", policy));
    assert!(said.contains("+ own/a in t, as app: may do odd\n"), "{said}");
    assert!(said.contains("- own/a in t, as app: may not do list any more\n"), "{said}");
    let broken = run(write("broken.yaml", &policy.replace("[write]", "[wirte]")));
    assert!(broken.contains("wirte"), "{broken}");
}
