//! How much of what the vendors' own rules on containers reach has its container found, and by what.

use std::collections::BTreeMap;

use http::Method;
use scopegate::authz::catalog::lookups::{Lookup, Tells};
use scopegate::authz::catalog::{Catalog, Operation, Place, PlaceAt, Touches};
use serde_json::Value;

use super::vendors::{BITBUCKET, CONFLUENCE_1, CONFLUENCE_2, JIRA, SLACK, described, operations};
use super::{all, bitbucket, confluence, filled, found, jira, operation, root, slack};

/// What an import says of an operation that nobody looked at.
const UNSEEN: &str = "names no container where the import looks";

/// The operations that the vendor marks subject to its own rule on projects or spaces.
fn subject(catalog: &Catalog) -> Vec<&Operation> {
    let file = scopegate::problem::file_name(format!("config/catalogs/{}.yaml", catalog.product));
    let text = std::fs::read_to_string(root().join(&*file)).unwrap();
    let written = scopegate::authz::catalog::file::catalog(&file, &text).unwrap();
    let marked = written.operations.iter().filter(|operation| operation.subject);
    marked.map(|marked| operation(catalog, &marked.id.value)).collect()
}

fn places(operation: &Operation) -> &[Place] {
    match &operation.touches {
        Touches::Containers(places) => places,
        Touches::Nothing { .. } | Touches::Tenant { .. } => &[],
    }
}

#[test]
fn most_of_what_the_vendors_own_rules_reach_is_found_and_the_rest_says_why() {
    for (catalog, marked, least) in [(jira(), 121, 95), (confluence(), 273, 254)] {
        let subject = subject(&catalog);
        assert_eq!(subject.len(), marked, "{}", catalog.product);
        let mut found = 0;
        for operation in subject {
            match &operation.touches {
                Touches::Containers(_) => found += 1,
                Touches::Tenant { .. } if operation.fetches.is_some() => found += 1,
                Touches::Tenant { why } => assert_ne!(&**why, UNSEEN, "{}", operation.id),
                Touches::Nothing { .. } => panic!("{} is never nothing", operation.id),
            }
        }
        assert_eq!(found, least, "{} of {marked} in {}", found, catalog.product);
    }
    let bitbucket = bitbucket();
    let below = bitbucket.operations.iter().filter(|operation| operation.template.contains("{repo_slug}"));
    assert!(below.clone().count() == 214 && below.clone().all(|operation| !places(operation).is_empty()));
}

#[test]
fn whatever_reaches_the_whole_tenant_says_why() {
    for catalog in all() {
        for operation in &catalog.operations {
            let Touches::Tenant { why } = &operation.touches else { continue };
            assert!(!why.contains(UNSEEN), "{}: {}", catalog.product, operation.id);
        }
    }
}

#[test]
fn a_thing_that_has_a_look_up_is_looked_up_wherever_it_is_named() {
    // Where a word stands in a path, the operation names such a thing there.
    let words = [
        ("jira", "{issueIdOrKey}", "issue"),
        ("jira", "/version/{id}", "version"),
        ("jira", "/component/{id}", "component"),
        ("jira", "/issueLink/{linkId}", "issue_link"),
        ("confluence", "/wiki/api/v2/pages/{", "page"),
        ("confluence", "/wiki/api/v2/blogposts/{", "blogpost"),
        ("confluence", "/wiki/api/v2/attachments/{", "attachment"),
        ("confluence", "/wiki/api/v2/custom-content/{", "custom_content"),
        ("confluence", "/wiki/api/v2/footer-comments/{", "footer_comment"),
        ("confluence", "/wiki/api/v2/inline-comments/{", "inline_comment"),
        ("confluence", "/wiki/api/v2/comments/{", "content"),
        ("confluence", "/wiki/api/v2/whiteboards/{", "whiteboard"),
        ("confluence", "/wiki/api/v2/databases/{", "database"),
        ("confluence", "/wiki/api/v2/folders/{", "folder"),
        ("confluence", "/wiki/api/v2/embeds/{", "smart_link"),
        ("confluence", "/wiki/api/v2/tasks/{", "task"),
        ("buddy", "{hashId}", "integration"),
        ("buddy", "{environmentId}", "environment"),
        ("buddy", "{sandboxId}", "sandbox"),
        ("buddy", "{webhookId}", "webhook"),
    ];
    let catalogs: BTreeMap<String, _> = all().into_iter().map(|one| (one.product.to_string(), one)).collect();
    for (product, word, lookup) in words {
        let catalog = &catalogs[product];
        let named = catalog.operations.iter().filter(|operation| operation.template.contains(word));
        let mut count = 0;
        for operation in named {
            let mut by = places(operation).iter().filter_map(|place| place.lookup);
            assert!(by.any(|id| &*catalog.lookups[usize::from(id.0)].name == lookup), "{}", operation.id);
            count += 1;
        }
        assert!(count > 0, "{product} {word}");
    }
}

#[test]
fn what_an_operation_moves_or_removes_is_asked_about_anew() {
    let changes = |catalog: &Catalog, id: &str| -> Vec<String> {
        let changed = operation(catalog, id).changes.iter();
        changed.map(|one| catalog.lookups[usize::from(one.lookup.0)].name.to_string()).collect()
    };
    let (jira, confluence, bitbucket, slack) = (jira(), confluence(), bitbucket(), slack());
    assert_eq!(changes(&jira, "submitBulkMove"), ["issue", "issue_link"]);
    assert_eq!(changes(&jira, "updateProject"), ["project", "issue"]);
    assert_eq!(changes(&jira, "mergeVersions"), ["version"]);
    assert_eq!(
        changes(&confluence, "movePage"),
        ["content", "page", "custom_content", "whiteboard", "database", "folder", "smart_link", "task"]
    );
    assert!(changes(&confluence, "deleteSpace").len() > 10);
    assert_eq!(changes(&bitbucket, "repositories-workspace-repo-slug-put"), ["repository"]);
    assert_eq!(changes(&slack, "admin.conversations.convertToPrivate"), ["conversation"]);
    assert_eq!(changes(&slack, "files.remote.share"), ["file"]);
    // A removal that the rule of the vendor reaches changes what is known of the thing.
    for catalog in [jira, confluence] {
        for operation in catalog.operations.iter().filter(|operation| operation.method == Method::DELETE) {
            // The thing itself: nothing stands behind its id.
            let own =
                places(operation).iter().any(|place| place.lookup.is_some() && matches!(place.at, PlaceAt::Path(_)));
            if own && operation.template.ends_with('}') && operation.template.matches('{').count() == 1 {
                let known = changes(&catalog, &operation.id);
                assert!(!known.is_empty() || operation.template.contains("/watch/"), "{}", operation.id);
            }
        }
    }
}

// Beside the vendors' descriptions.

/// Whether a schema describes what a pointer leads to. An object of any members has whatever it is asked for.
fn has(root: &Value, schema: &Value, tokens: &[&str]) -> bool {
    if let Some(pointer) = schema["$ref"].as_str() {
        return has(root, root.pointer(pointer.trim_start_matches('#')).unwrap(), tokens);
    }
    let Some((first, rest)) = tokens.split_first() else { return true };
    let several = ["allOf", "oneOf", "anyOf"].into_iter().flat_map(|word| schema[word].as_array()).flatten();
    let member = match *first {
        "*" => &schema["items"],
        name if schema["properties"][name].is_null() => &schema["additionalProperties"],
        name => &schema["properties"][name],
    };
    let any = member == &Value::Bool(true) || member.as_object().is_some_and(serde_json::Map::is_empty);
    any || !member.is_null() && has(root, member, rest) || several.clone().any(|part| has(root, part, tokens))
}

fn pointers(lookup: &Lookup) -> Vec<String> {
    let mut all: Vec<String> = match &lookup.tells {
        Tells::Homes(homes) => {
            homes.iter().flat_map(|home| [&home.id, &home.key]).flatten().map(|at| at.to_string()).collect()
        }
        Tells::Then(next) => next.iter().map(|(_, at)| at.to_string()).collect(),
    };
    all.extend(lookup.variants.iter().map(|(at, _)| at.to_string()));
    all.extend(lookup.ok.iter().map(|at| at.to_string()));
    all.extend(lookup.identity.iter().filter_map(|identity| identity.at.as_deref()).map(str::to_owned));
    all
}

/// The operation that a look-up asks.
fn asked(catalog: &Catalog, lookup: &Lookup) -> String {
    let target = lookup.target.of("t", "1");
    let path = target.split('?').next().unwrap();
    found(catalog, &Method::GET, path).unwrap_or_else(|| panic!("{path}"))
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn what_look_ups_read_stands_in_the_answers_as_the_vendors_describe_them() {
    let specs = [
        (jira(), vec![(JIRA, "")]),
        (confluence(), vec![(CONFLUENCE_1, ""), (CONFLUENCE_2, "/wiki/api/v2")]),
        (bitbucket(), vec![(BITBUCKET, "/2.0")]),
    ];
    let mut read = 0;
    for (catalog, specs) in specs {
        let asked: Vec<(String, &Lookup)> = catalog.lookups.iter().map(|one| (asked(&catalog, one), one)).collect();
        let mut seen = 0;
        for (name, base) in specs {
            let described = described(name);
            for (method, path, node) in operations(&described).into_iter().filter(|(method, ..)| method == Method::GET)
            {
                let Some(id) = found(&catalog, &method, &format!("{base}{}", filled(&path))) else { continue };
                for (_, lookup) in asked.iter().filter(|(asked, _)| *asked == id) {
                    let content = node["responses"]["200"]["content"].as_object().unwrap();
                    let schema = &content.values().next().unwrap()["schema"];
                    for pointer in pointers(lookup) {
                        let tokens: Vec<&str> = pointer.split('/').skip(1).collect();
                        assert!(has(&described, schema, &tokens), "{}: {pointer} of {id}", lookup.name);
                        read += 1;
                    }
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, catalog.lookups.len(), "{}", catalog.product);
    }
    // Slack describes no members of a conversation or file, and shows one of each.
    let (slack, described) = (slack(), described(SLACK));
    for lookup in &slack.lookups {
        let example = &described[asked(&slack, lookup)]["examples"]["success"]["example"];
        for pointer in pointers(lookup) {
            assert!(example.pointer(pointer.trim_end_matches("/*")).is_some(), "{}: {pointer}", lookup.name);
            read += 1;
        }
    }
    assert!(read > 40, "{read}");
}
