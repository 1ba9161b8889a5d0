//! Every dialect × reason is a golden file. `UPDATE_GOLDEN=1 cargo test --test it refusals` writes them anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use scopegate::authz::Reason;
use scopegate::authz::catalog::DialectName;
use scopegate::authz::dialect::{Container, CredentialFamily, Named, Refusal, Rendered, render};

const DIALECTS: [(&str, DialectName, CredentialFamily); 7] = [
    ("problem", DialectName::Problem, CredentialFamily::OAuth),
    ("slack", DialectName::Slack, CredentialFamily::OAuth),
    ("atlassian-oauth", DialectName::Atlassian, CredentialFamily::OAuth),
    ("atlassian-connect", DialectName::Atlassian, CredentialFamily::Connect),
    ("bitbucket", DialectName::Bitbucket, CredentialFamily::OAuth),
    ("github", DialectName::Github, CredentialFamily::OAuth),
    ("buddy", DialectName::Buddy, CredentialFamily::OAuth),
];

#[test]
fn every_dialect_and_reason_answers_as_its_golden_file_says() {
    let mut wrong = Vec::new();
    for (folder, dialect, family) in DIALECTS {
        for reason in Reason::ALL {
            check(folder, reason.as_str(), &render(dialect, &sample(dialect, family, reason)), &mut wrong);
        }
        let hidden = Refusal { hidden: true, ..sample(dialect, family, Reason::ContainerRevoked) };
        check(folder, "not_found", &render(dialect, &hidden), &mut wrong);
    }
    assert!(wrong.is_empty(), "differ (UPDATE_GOLDEN=1 writes them anew):\n{}", wrong.join("\n"));
}

#[test]
fn no_golden_file_is_left_over() {
    let known: BTreeSet<String> =
        Reason::ALL.iter().map(|reason| format!("{reason}.txt")).chain(["not_found.txt".to_owned()]).collect();
    for (folder, ..) in DIALECTS {
        let found: BTreeSet<String> = std::fs::read_dir(golden_folder().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(found, known, "{folder}");
    }
}

/// A refusal in which everything is known, so that each golden file shows what of it is told.
fn sample(dialect: DialectName, family: CredentialFamily, reason: Reason) -> Refusal {
    let (app, tenant, name, operation, kind, container, needed, held): (_, _, _, _, _, _, &[&str], &[&str]) =
        match (dialect, family) {
            (DialectName::Slack, _) => (
                "slack/assist",
                "T024BE7LD",
                "Acme Corp",
                "chat.postMessage",
                "channel",
                "C0EXEC",
                &["chat:write"],
                &["channels:history", "files:read"],
            ),
            (DialectName::Bitbucket, _) => (
                "bitbucket/mirror",
                "acme",
                "Acme",
                "putRepository",
                "repository",
                "payments",
                &["repository:write"],
                &["repository", "project"],
            ),
            (DialectName::Github, _) => (
                "github/triage",
                "acme",
                "Acme",
                "issues/create",
                "repository",
                "acme/payments",
                &["issues=write", "metadata=read"],
                &["metadata=read"],
            ),
            (DialectName::Buddy, _) => (
                "buddy/deployer",
                "acme",
                "Acme",
                "executions.run",
                "project",
                "payments",
                &["EXECUTION_RUN"],
                &["EXECUTION_INFO"],
            ),
            (_, CredentialFamily::Connect) => {
                ("jira/timetracker", "acme", "Acme", "editIssue", "project", "SEC", &["WRITE"], &["READ"])
            }
            (_, CredentialFamily::OAuth) => (
                "jira/timetracker",
                "acme",
                "Acme",
                "editIssue",
                "project",
                "SEC",
                &["write:jira-work"],
                &["read:jira-work", "read:jira-user"],
            ),
        };
    Refusal {
        family,
        app: Some(app.into()),
        tenant: Some(Named { id: tenant.into(), name: Some(name.into()) }),
        operation: Some(operation.into()),
        container: Some(Container { kind: kind.into(), name: container.into() }),
        needed: needed.iter().map(ToString::to_string).collect(),
        held: held.iter().map(ToString::to_string).collect(),
        contact: Some("it-platform@example.com".into()),
        ..Refusal::new(reason, "00112233445566778899aabbccddeeff")
    }
}

fn check(folder: &str, name: &str, rendered: &Rendered, wrong: &mut Vec<String>) {
    let path = golden_folder().join(folder).join(format!("{name}.txt"));
    let actual = as_text(rendered);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected != actual {
        wrong.push(format!("--- {}\n{expected}+++ now\n{actual}", path.display()));
    }
}

/// Status line, sorted headers, an empty line, the body as it is sent.
fn as_text(rendered: &Rendered) -> String {
    let mut headers: Vec<String> =
        rendered.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    headers.push(format!("content-type: {}", rendered.content_type));
    headers.sort();
    let reason = rendered.status.canonical_reason().unwrap_or_default();
    let body = std::str::from_utf8(&rendered.body).unwrap();
    serde_json::from_str::<serde_json::Value>(body).expect("the body is JSON");
    format!("HTTP/1.1 {} {reason}\n{}\n\n{body}\n", rendered.status.as_u16(), headers.join("\n"))
}

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/refusals")
}
