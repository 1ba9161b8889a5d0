//! What arguments ask for, and what of them a grant may limit: what is wrong with a declaration, and the built-in ones
//! beside the vendors' descriptions.

use scopegate::authz::catalog::extras::ExtraMask;
use serde_json::Value;

use super::vendors::{BITBUCKET, CONFLUENCE_1, JIRA, SLACK, described, operations};
use super::*;

fn own(needs: &str, source: &str) -> String {
    OWN.replace("needs: {own: [[read]]}, proposed: nothing}", &format!("needs: {needs}, extra_needs: [{source}]}}"))
}

const GOOD: &str = "{query: deep, absent: nothing, other: {own: [write]}}";

/// What a value at the only place of the operation `list` asks for, in words of the model.
fn asked(catalog: &Catalog, value: Option<&str>) -> Vec<String> {
    let list = operation(catalog, "list");
    let source = &list.extra_sources[0];
    let listed = |value: &str| source.values.iter().find(|(known, _)| **known == *value).map(|(_, mask)| *mask);
    let mask = value.map_or(source.absent, |value| listed(value).unwrap_or(source.other));
    if mask.is_unknown() {
        return vec!["unknown".to_owned()];
    }
    let vocabularies = (0..catalog.vocabularies.len()).map(|id| catalog::VocabularyId(u8::try_from(id).unwrap()));
    let scopes = vocabularies.flat_map(|vocabulary| list.extra_scopes(mask, vocabulary).collect::<Vec<_>>());
    scopes.map(|scope| catalog.scope_name(scope).to_owned()).collect()
}

#[test]
fn what_arguments_ask_for_is_declared_by_value() {
    let source = "{query: with, list: true, absent: all, other: unknown, values: \
                  [{values: [a, b], needs: {own: [write]}}, {values: [c], needs: {own: [more, write]}}, \
                  {values: [d], needs: nothing}]}";
    let more = own("{own: [[read]]}", source)
        .replace("scopes:\n  - {name: read,", "scopes:\n  - {name: more, vocabularies: [own]}\n  - {name: read,");
    let catalog = parse(&more, None).unwrap();
    for (value, scopes) in [
        (Some("a"), &["write"][..]),
        (Some("b"), &["write"]),
        (Some("c"), &["more", "write"]),
        (Some("d"), &[]),
        (Some("A"), &["unknown"]),
        (None, &["write", "more", "write"]),
    ] {
        assert_eq!(asked(&catalog, value), scopes, "{value:?}");
    }
    let list = operation(&catalog, "list");
    assert_eq!(list.extras.len(), 2, "what asks for the same is one");
    assert!(list.extra_sources[0].list && !list.body, "a query needs no body");
    let in_body = own(
        "{own: [[read]]}",
        "{body: '/events', list: true, absent: all, other: unknown, values: \
                       [{values: [a], needs: {own: [write]}}]}",
    );
    assert!(operation(&parse(&in_body, None).unwrap(), "list").body, "what stands in the body is held");
}

#[test]
fn a_declaration_of_what_arguments_ask_for_that_cannot_be_meant_is_an_error() {
    assert!(parse(&own("{own: [[read]]}", GOOD), None).is_ok());
    for (needs, source, said) in [
        ("{own: [[read]]}", "{query: a, argument: b, absent: nothing, other: {own: [write]}}", "exactly one of"),
        ("{own: [[read]]}", "{absent: nothing, other: {own: [write]}}", "exactly one of"),
        ("{own: [[read]]}", "{path: a, absent: nothing, other: {own: [write]}}", "unknown field"),
        ("{own: [[read]]}", "{query: a, other: {own: [write]}}", "missing field `absent`"),
        ("{own: [[read]]}", "{query: a, absent: nothing}", "missing field `other`"),
        ("{own: [[read]]}", "{query: a, absent: none, other: {own: [write]}}", "unknown variant"),
        ("{own: [[read]]}", "{query: a, absent: nothing, other: {own: []}}", "an empty list of scopes"),
        ("{own: [[read]]}", "{query: a, absent: nothing, other: {own: all}}", "unknown variant"),
        ("{own: [[read]]}", "{query: a, absent: nothing, other: {own: nothing}}", "asks for nothing in any vocabulary"),
        ("{own: [[read]]}", "{query: a, absent: nothing, other: nothing}", "ask for nothing, ever"),
        ("{own: [[read]]}", "{query: a, absent: nothing, other: {}}", "of which this says nothing"),
        ("{own: [[read]]}", "{query: a, absent: nothing, other: {own: [wirte]}}", "no scope is called `wirte`"),
        ("{own: [[read]]}", "{query: a, absent: nothing, other: {owm: [write]}}", "no vocabulary is called `owm`"),
        ("{own: [[read]]}", "{query: a, absent: all, other: {own: [write]}}", "there are none"),
        ("{own: [[read]]}", "{query: a, absent: nothing, other: all}", "there are none"),
        (
            "{own: [[read]]}",
            "{query: a, absent: nothing, other: unknown, values: [{values: [], needs: nothing}]}",
            "lists no values",
        ),
        (
            "{own: [[read]]}",
            "{query: a, absent: nothing, other: unknown, values: [{values: [x, x], needs: nothing}]}",
            "the value `x` is written twice",
        ),
        (
            "{own: [[read]]}",
            "{query: a, absent: nothing, other: unknown, values: [{values: [x], needs: all}]}",
            "there are none",
        ),
        ("{own: [[read]]}", "{body: events, absent: nothing, other: {own: [write]}}", "not a JSON pointer"),
        ("{own: [[read]]}", "{body: '/a*/b', absent: nothing, other: {own: [write]}}", "does not stand alone"),
        (
            "{own: [[read]]}",
            "{query: a, absent: nothing, other: {own: [write]}}, {query: a, absent: nothing, other: {own: [read]}}",
            "are at one place",
        ),
        ("unknown", GOOD, "come on top of lines, and `list` has none"),
        ("{none: why}", GOOD, "come on top of lines, and `list` has none"),
    ] {
        let problems = parse(&own(needs, source), None).expect_err(source);
        assert!(problems.iter().any(|problem| problem.contains(said)), "{source}: {problems:?}");
    }
    // Each vocabulary that the operation has a line in is spoken of; others may be.
    let two =
        own("{own: [[read]], other: [[read]]}", GOOD).replace("vocabularies: [own]\n", "vocabularies: [own, other]\n");
    let problems = parse(&two, None).expect_err("one is not spoken of");
    assert!(problems.iter().any(|problem| problem.contains("lines in the vocabulary `other`")), "{problems:?}");
    assert!(parse(&two.replace("{own: [write]}", "{own: [write], other: nothing}"), None).is_ok());
    let one = two.replace(", other: [[read]]}", "}").replace("{own: [write]}", "{own: [write], other: [write]}");
    assert!(parse(&one, None).is_ok());
    let many: Vec<String> =
        (0..16).map(|number| format!("{{query: q{number}, absent: nothing, other: {{own: [s{number}]}}}}")).collect();
    let scopes: String = (0..16).map(|number| format!("  - {{name: s{number}, vocabularies: [own]}}\n")).collect();
    let many = own("{own: [[read]]}", &many.join(", ")).replace("scopes:\n", &format!("scopes:\n{scopes}"));
    let problems = parse(&many, None).expect_err("too many");
    assert!(problems.iter().any(|problem| problem.contains("at most 15")), "{problems:?}");
}

#[test]
fn an_overlay_says_once_what_arguments_ask_for_and_why() {
    let head = "version: 1\noverlay: own\n";
    let entry = |operations: &str| format!("  - {{why: w, operations: [{operations}], sources: [{GOOD}]}}\n");
    let good = parse(OWN, Some(&format!("{head}extra_needs:\n{}", entry("list, put")))).unwrap();
    assert_eq!(operation(&good, "put").extras.len(), 1);
    for (overlay, said) in [
        (format!("extra_needs:\n{}{}", entry("list"), entry("list")), "corrected in line"),
        (format!("extra_needs:\n{}", entry("list").replace("why: w", "why: ' '")), "without a reason"),
        (format!("extra_needs:\n{}", entry("lsit")), "no operation is called `lsit`"),
        (format!("extra_needs:\n{}", entry("list").replace("[write]", "[wirte]")), "no scope is called `wirte`"),
        // What a scope rules that is no argument nobody asks for by one.
        (format!("extra_needs:\n{}scopes: [{{name: write, rules: sign_in}}]\n", entry("list")), "yet operation"),
    ] {
        let problems = parse(OWN, Some(&format!("{head}{overlay}"))).expect_err(&overlay);
        assert!(problems.iter().any(|one| one.contains(said) && one.contains("overlay")), "{overlay}: {problems:?}");
    }
    let ruled = format!(
        "{head}scopes: [{{name: extra, vocabularies: [own], rules: arguments}}]\nextra_needs:\n{}",
        entry("list").replace("[write]", "[extra]")
    );
    assert!(parse(OWN, Some(&ruled)).is_ok(), "an argument asks for what rules arguments");
}

#[test]
fn what_a_grant_may_limit_is_declared_with_its_places() {
    let with = |limits: &str| OWN.replace("operations:\n", &format!("limits: [{limits}]\noperations:\n"));
    let good = "{limit: webhook_host, why: w, as: url_host, places: [{operations: [put, list], body: /hook/url}]}";
    let catalog = parse(&with(good), None).unwrap();
    let limit = catalog.limit("webhook_host").unwrap();
    assert_eq!(catalog.limit_name(limit), "webhook_host");
    assert!(operation(&catalog, "put").tells(limit) && operation(&catalog, "put").body);
    for (limits, said) in [
        ("{limit: a, why: ' ', as: url_host, places: [{operations: [put], body: /u}]}", "needs a reason"),
        ("{limit: a, why: w, places: [{operations: [put], body: /u}]}", "missing field `as`"),
        ("{limit: a, why: w, as: text, places: [{operations: [put], body: /u}]}", "unknown variant"),
        ("{limit: a, why: w, as: url_host, places: []}", "stands in no operation"),
        ("{limit: a, why: w, as: url_host, places: [{operations: [putt], body: /u}]}", "no operation is called `putt`"),
        ("{limit: a, why: w, as: url_host, places: [{operations: [put], body: u}]}", "not a JSON pointer"),
        ("{limit: a, why: w, as: url_host, places: [{operations: [put], body: '/u/*'}]}", "one value"),
        ("{limit: a, why: w, as: url_host, places: [{operations: [put, put], body: /u}]}", "is written twice"),
        ("{limit: a, why: w, as: url_host, places: [{operations: [put], query: u}]}", "unknown field"),
    ] {
        let problems = parse(&with(limits), None).expect_err(limits);
        assert!(problems.iter().any(|problem| problem.contains(said)), "{limits}: {problems:?}");
    }
    let twice = format!("{good}, {good}");
    let problems = parse(&with(&twice), None).expect_err("twice");
    assert!(problems.iter().any(|problem| problem.contains("limit `webhook_host` is written twice")), "{problems:?}");
}

/// The operations whose arguments ask for something, by the place that tells it.
fn asking(catalog: &Catalog) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in &catalog.operations {
        for source in &operation.extra_sources {
            let at = match &source.at {
                PlaceAt::Query(name) | PlaceAt::Argument(name) => name.to_string(),
                PlaceAt::Body(pointer) | PlaceAt::InItems { pointer, .. } => pointer.to_string(),
                other => panic!("{other:?}"),
            };
            all.entry(at).or_default().insert(operation.id.to_string());
        }
    }
    all
}

#[test]
fn nothing_that_is_asked_for_takes_anything_away() {
    for catalog in all() {
        let guards: Vec<&str> = vec!["gate:call", "gate:deliver", "gate:mint", "gate:admit"];
        for operation in &catalog.operations {
            assert!(
                operation.extra_sources.is_empty() == operation.extras.is_empty()
                    || &*operation.id == "registerDynamicWebhooks"
            );
            let scopes = operation.extra_scopes.iter().map(|scope| catalog.scope_name(scope));
            assert!(scopes.into_iter().all(|scope| !guards.contains(&scope)), "{}", operation.id);
            let masks = operation.extra_sources.iter().flat_map(|one| one.values.iter().map(|(_, mask)| *mask));
            let known = masks.filter(|mask| !mask.is_unknown()).fold(ExtraMask::NONE, ExtraMask::and);
            let bits = (0..operation.extras.len()).map(ExtraMask::of).fold(ExtraMask::NONE, ExtraMask::and);
            assert_eq!(known.0 & !bits.0, 0, "{}", operation.id);
        }
    }
    assert_eq!(asking(&buddy()).len(), 0, "its one scope that hangs on an argument is a variant");
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn jiras_flags_for_admins_are_those_of_the_description() {
    let jira = jira();
    let mut described_flags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, _, node) in operations(&described(JIRA)) {
        for parameter in node["parameters"].as_array().into_iter().flatten() {
            let (name, said) = (parameter["name"].as_str().unwrap(), parameter["description"].as_str().unwrap_or(""));
            let is_admins = said.contains("Administer Jira") || said.contains("admin permission");
            if name.starts_with("override") && is_admins {
                let id = node["operationId"].as_str().unwrap().to_owned();
                described_flags.entry(name.to_owned()).or_default().insert(id);
            }
        }
    }
    let mut asking = asking(&jira);
    asking.remove("/webhooks/*/events").unwrap();
    assert_eq!(asking, described_flags);
    let schema = &described(JIRA)["components"]["schemas"]["WebhookDetails"]["properties"]["events"];
    assert_eq!(listed(&jira, "registerDynamicWebhooks"), words(&schema["items"]["enum"]));
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn whatever_is_told_in_summary_and_can_be_expanded_asks_for_more() {
    let confluence = confluence();
    let description = described(CONFLUENCE_1);
    let asking = asking(&confluence).remove("expand").unwrap();
    let (mut summaries, mut others) = (BTreeSet::new(), BTreeMap::new());
    // The catalog has v2's under these names.
    let renamed = ["getAttachments", "getSpaces", "getSpaceProperties"];
    for (_, _, node) in operations(&description) {
        let parameters = node["parameters"].as_array().into_iter().flatten();
        let resolved = parameters.map(|one| match one["$ref"].as_str() {
            Some(reference) => description.pointer(reference.trim_start_matches('#')).unwrap(),
            None => one,
        });
        let expand = resolved.into_iter().find(|one| one["name"] == "expand");
        let current = node["x-atlassian-oauth2-scopes"].as_array().into_iter().flatten();
        let current: BTreeSet<String> =
            current.filter(|one| one["state"] == "Current").flat_map(|one| words(&one["scopes"])).collect();
        let id = node["operationId"].as_str().unwrap();
        let id = if renamed.contains(&id) { format!("{id}.v1") } else { id.to_owned() };
        let Some(expand) = expand else { continue };
        if current.contains("read:confluence-content.summary") {
            summaries.insert(id);
        } else if !current.contains("read:confluence-content.all") && lines(&confluence, &id, "classic").is_some() {
            let listed = &expand["schema"]["items"]["enum"];
            others.insert(id, listed.as_array().map(|_| words(listed)));
        }
    }
    assert_eq!(summaries.len(), 18);
    for id in &summaries {
        assert_eq!(listed(&confluence, id), BTreeSet::new(), "{id}");
    }
    let all: BTreeSet<String> = summaries.iter().chain(others.keys()).cloned().collect();
    assert_eq!(asking, all, "whatever can be expanded asks for more, or needs the scope anyway");
    // Where the description lists what may be expanded, that is told under the operation's own scope; of no content it does.
    for (id, described) in others {
        let mut described = described.unwrap_or_default();
        if id == "getAnonymousUser" {
            described.extend(["personalSpace", "isExternalCollaborator"].map(str::to_owned));
        }
        assert_eq!(listed(&confluence, &id), described, "{id}");
    }
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn bitbuckets_events_are_those_of_the_description() {
    let schemas = &described(BITBUCKET)["components"]["schemas"];
    let events = words(&schemas["webhook_subscription"]["allOf"][1]["properties"]["events"]["items"]["enum"]);
    assert_eq!(events, words(&schemas["hook_event"]["properties"]["event"]["enum"]));
    assert_eq!(events.len(), 29);
    let bitbucket = bitbucket();
    let hooks = asking(&bitbucket).remove("/events").unwrap();
    assert_eq!(hooks.len(), 4);
    for id in hooks {
        assert_eq!(listed(&bitbucket, &id), events, "{id}");
        assert_eq!(operation(&bitbucket, &id).guards.len(), 1);
        for (event, mask) in &operation(&bitbucket, &id).extra_sources[0].values {
            let subject = match event.split_once(':').unwrap().0 {
                "repo" => "repository",
                subject => subject,
            };
            let scopes = |vocabulary: u8| -> Vec<String> {
                let scopes = operation(&bitbucket, &id).extra_scopes(*mask, catalog::VocabularyId(vocabulary));
                scopes.map(|scope| bitbucket.scope_name(scope).to_owned()).collect()
            };
            assert_eq!((scopes(0), scopes(1)), (vec![subject.to_owned()], vec![format!("read:{subject}:bitbucket")]));
        }
    }
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn slacks_names_and_pictures_are_asked_for_wherever_the_description_has_them() {
    let methods = described(SLACK);
    let named = |argument: &str| -> BTreeSet<String> {
        let all = methods.as_object().unwrap().iter();
        let with = all.filter(|(_, method)| !method["args"]["properties"][argument].is_null());
        let posts = with.filter(|(_, method)| method["scope"].to_string().contains(":write"));
        posts.map(|(name, _)| name.clone()).collect()
    };
    let asking = asking(&slack());
    assert_eq!(asking.len(), 3);
    for argument in ["username", "icon_url", "icon_emoji"] {
        assert_eq!(asking[argument], named(argument), "{argument}");
        assert_eq!(asking[argument].len(), 6);
    }
}

fn listed(catalog: &Catalog, id: &str) -> BTreeSet<String> {
    let sources = operation(catalog, id).extra_sources.iter();
    sources.flat_map(|source| source.values.iter().map(|(value, _)| value.to_string())).collect()
}

fn words(node: &Value) -> BTreeSet<String> {
    node.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}
