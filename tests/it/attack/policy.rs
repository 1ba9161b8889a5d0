//! Somebody who may write one app's policy file.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use scopegate::authz::catalog::builtin;
use scopegate::authz::policy::compile::Catalogs;
use scopegate::authz::policy::file::Origin;
use scopegate::authz::policy::store::{Change, Content, Store};

use crate::reload::world::{World, app, grants, sha256};
use crate::support::effort;

const READ: &str = "team.info";
const WRITE: &str = "chat.postMessage?channel=C0HELP";

#[test]
fn a_file_that_claims_another_apps_credential_delays_no_revocation_of_that_app() {
    let world = World::new();
    world.put("policies/victim.yaml", &app("victim", &grants(&["team:read", "chat:write"])));
    let world = world.ready();
    assert!(world.permits("victim", WRITE));

    let claim = app("attacker", &grants(&["team:read"])).replace(&sha256("attacker"), &sha256("victim"));
    world.put("policies/attacker.yaml", &claim);
    world.until("the problem is told", |world| world.readiness.report().problems > 0);
    assert!(world.permits("victim", WRITE));

    world.put("policies/victim.yaml", &app("victim", &grants(&["team:read"])));
    world.until("the revocation", |world| !world.permits("victim", WRITE));
    assert!(world.permits("victim", READ));
}

#[test]
fn a_file_that_claims_a_set_delays_no_growth_of_that_set() {
    let set = |channels: &str| format!("version: 1\nset: quiet\ntenant: T1\nchannel: [{channels}]\n");
    let guardrail = "version: 1\nguardrail: quiet\napps: all\ntenants: all\nrevocations:\n  \
                     - {scopes: all, in: {channel: ['set:quiet']}, reason: test}\n";
    let world = World::new();
    world.put("policies/victim.yaml", &app("victim", &grants(&["chat:write"])));
    world.put("policies/sets.yaml", &set("C0EXEC"));
    world.put("policies/guardrail.yaml", guardrail);
    let world = world.ready();
    assert!(world.permits("victim", WRITE));

    world.put("policies/attacker.yaml", &format!("{}---\n{}", app("attacker", ""), set("C0OWN")));
    world.until("the problem is told", |world| world.readiness.report().problems > 0);
    world.put("policies/sets.yaml", &set("C0EXEC, C0HELP"));
    world.until("the revocation", |world| !world.permits("victim", WRITE));
}

/// Both files change in one look: only the one that brings the conflict is to blame.
#[test]
fn a_claim_that_comes_together_with_the_revocation_does_not_delay_it() {
    let mut store = store();
    let put = |store: &mut Store, name: &str, text: &str| store.apply(vec![change(name, text)], 1_800_000_000_000);
    put(&mut store, "victim.yaml", &app("victim", &grants(&["chat:write"])));
    put(&mut store, "attacker.yaml", &app("attacker", ""));
    store.settle();
    let claim = app("attacker", "").replace(&sha256("attacker"), &sha256("victim"));
    let both = vec![change("attacker.yaml", &claim), change("victim.yaml", &app("victim", ""))];
    store.apply(both, 1_800_000_000_000);
    let states = store.snapshot(&Default::default()).states.expect("settled");
    let (_, victim) = states.newest.app("slack/victim").expect("described");
    assert_eq!(victim.parts[0].part.grants.len(), 0, "the grant is gone at once");
}

fn store() -> Store {
    Store::new(Arc::new(Catalogs::new([builtin::catalog("slack").expect("built in")])))
}

fn change(name: &str, text: &str) -> Change {
    Change { file: Arc::from(Path::new(name)), origin: Origin::Policy, content: Content::Text(text.into()) }
}

/// How long one file keeps the writer busy. Generous: this is an unoptimized build.
fn check_takes(what: &str, text: &str, at_most: Duration) {
    let mut store = store();
    let ((), took) = effort::of(|| store.apply(vec![change("attacker.yaml", text)], 1_800_000_000_000));
    assert!(took < at_most, "{what}: {took:?}");
}

#[test]
fn more_installations_than_can_be_numbered_are_a_problem_and_no_panic() {
    let mut text = "version: 1\napp: slack/attacker\nname: A\ncontact: a@example.com\ninstallations:\n".to_owned();
    for number in 0..66_000 {
        writeln!(text, "- {{tenant: T{number}}}").unwrap();
    }
    check_takes("installations", &text, Duration::from_secs(20));
}

#[test]
fn a_million_misspelt_scopes_do_not_keep_the_writer_busy() {
    let words: String = (0..60_000).map(|number| format!("channels:histo{number}, ")).collect();
    let rules = format!("grants:\n  - {{scopes: [{words}], actors: [app], in: all}}\n");
    check_takes("scopes", &app("attacker", &rules), Duration::from_secs(10));
}

#[test]
fn a_long_misspelt_word_does_not_keep_the_writer_busy() {
    let word = "x".repeat(1_000_000);
    let rules = format!("grants:\n  - {{scopes: [{word}], actors: [app], in: all}}\n");
    check_takes("a word", &app("attacker", &rules), Duration::from_secs(5));
}

#[test]
fn rules_for_tenants_without_installation_do_not_keep_the_writer_busy() {
    let mut text = "version: 1\napp: slack/attacker\nname: A\ncontact: a@example.com\ninstallations:\n".to_owned();
    for number in 0..1_000 {
        writeln!(text, "- {{tenant: T{number:06}}}").unwrap();
    }
    text.push_str("grants:\n");
    for number in 0..2_000 {
        writeln!(text, "- {{scopes: [team:read], actors: [app], in: all, tenants: [X{number:06}]}}").unwrap();
    }
    check_takes("tenants", &text, Duration::from_secs(10));
}

#[test]
fn exceptions_for_apps_that_nobody_describes_do_not_keep_the_writer_busy() {
    let names: String = (0..20_000).map(|number| format!("slack/b{number}, ")).collect();
    let mut text = format!(
        "version: 1\nguardrail: g\napps: {{product: slack, except: [{names}]}}\ntenants: all\nrevocations:\n  \
         - {{scopes: [chat:write], in: all, reason: r}}\n"
    );
    for number in 0..200 {
        write!(text, "---\nversion: 1\napp: slack/a{number}\nname: a\ncontact: a@example.com\n").unwrap();
    }
    check_takes("exceptions", &text, Duration::from_secs(10));
}

#[test]
fn digests_that_begin_alike_do_not_keep_the_writer_busy() {
    let mut text = "version: 1\napp: slack/attacker\nname: A\ncontact: a@example.com\ninstallations:\n- tenant: T1\n  credentials:\n"
        .to_owned();
    for number in 0..20_000 {
        writeln!(text, "  - {{method: token, kind: bot, sha256: '{:016x}{number:048x}'}}", 7).unwrap();
    }
    check_takes("digests", &text, Duration::from_secs(10));
}

#[test]
fn a_file_that_waits_costs_nothing_while_nothing_changes() {
    let mut store = store();
    let apps =
        (0..200).map(|number| change(&format!("{number}.yaml"), &app(&format!("a{number}"), &grants(&["chat:write"]))));
    store.apply(apps.collect(), 1_800_000_000_000);
    let claim = app("attacker", "").replace(&sha256("attacker"), &sha256("a1"));
    store.apply(vec![change("attacker.yaml", &claim)], 1_800_000_000_000);
    let problems = store.problems();
    assert!(problems.iter().any(|problem| problem.is_error()), "{problems:?}");
    let ((), took) = effort::of(|| (0..2_000).for_each(|_| store.fit()));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(store.problems(), problems, "and it is still told");
}

/// A policy names secret files by their path, any that the gate can read: one app's file can have another app's real
/// credential put into its requests, and the product then takes it for the other app. Whose file it is, is written nowhere,
/// and sharing may be meant: so it is said wherever problems are said.
#[test]
fn an_app_that_names_the_secret_of_another_is_told_of() {
    let keyed = |name: &str| {
        let key = "method: gate_key, upstream: {file: /run/secrets/victim},";
        app(name, &grants(&["chat:write"])).replace("method: token,", key)
    };
    let mut store = store();
    store.apply(vec![change("victim.yaml", &keyed("victim"))], 1_800_000_000_000);
    store.apply(vec![change("attacker.yaml", &keyed("attacker"))], 1_800_000_000_000);
    let problems = store.problems();
    let told = |problem: &scopegate::problem::Problem| problem.message.contains("same credential as `slack/attacker`");
    assert!(problems.iter().any(told), "{problems:?}");
}
