//! The built-in catalogs, held against the traps of the vendors' descriptions.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use http::Method;
use scopegate::authz::catalog::load::Source;
use scopegate::authz::catalog::matcher::{Found, Parameters};
use scopegate::authz::catalog::{self, links::Place};
use scopegate::authz::catalog::{
    Absent, ActorRule, Catalog, Needs, Operation, PlaceAt, Reading, ScopeClass, ScopeSide, Touches, VariantMask,
    builtin,
};
use scopegate::cli::catalog as cli;

mod asked;
mod coverage;
mod diff;
mod found;
mod import;
mod jobs;
mod lookups;
mod names;
mod vendors;

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];

fn jira() -> Arc<Catalog> {
    builtin::catalog("jira").expect("jira is built in")
}

fn slack() -> Arc<Catalog> {
    builtin::catalog("slack").expect("slack is built in")
}

fn confluence() -> Arc<Catalog> {
    builtin::catalog("confluence").expect("confluence is built in")
}

fn bitbucket() -> Arc<Catalog> {
    builtin::catalog("bitbucket").expect("bitbucket is built in")
}

fn buddy() -> Arc<Catalog> {
    builtin::catalog("buddy").expect("buddy is built in")
}

fn all() -> [Arc<Catalog>; 5] {
    [jira(), confluence(), bitbucket(), slack(), buddy()]
}

fn operation<'c>(catalog: &'c Catalog, id: &str) -> &'c Operation {
    let id = catalog.operation(id).unwrap_or_else(|| panic!("no operation {id}"));
    &catalog.operations[usize::from(id.0)]
}

/// The lines of an operation in a vocabulary, in words; `None` where it is closed.
fn lines(catalog: &Catalog, id: &str, vocabulary: &str) -> Option<Vec<Vec<String>>> {
    let Needs::Lines(all) = &operation(catalog, id).needs else { return None };
    let wanted = |name: u8| &*catalog.vocabularies[usize::from(name)] == vocabulary;
    let found = all.iter().find(|lines| wanted(lines.vocabulary.0))?;
    let words = |scopes: &[scopegate::authz::scope::ScopeId]| {
        scopes.iter().map(|scope| catalog.scope_name(*scope).to_owned()).collect()
    };
    Some(found.lines.iter().map(|line| words(&line.scopes)).collect())
}

fn guards(catalog: &Catalog, id: &str) -> Vec<String> {
    operation(catalog, id).guards.iter().map(|guard| catalog.scope_name(*guard).to_owned()).collect()
}

fn found(catalog: &Catalog, method: &Method, path: &str) -> Option<String> {
    match catalog.matcher.find(method, path) {
        Found::Operation(matched) => Some(catalog.operations[usize::from(matched.operation.0)].id.to_string()),
        Found::UnknownPath | Found::UnknownMethod | Found::Lookalike => None,
    }
}

/// A path that a template matches, with a value in each parameter that no literal of the catalog has.
fn sample(catalog: &Catalog, operation: &Operation) -> String {
    format!("{}{}", base(catalog, &operation.template), filled(&operation.template))
}

/// What stands before a template.
fn base(catalog: &Catalog, template: &str) -> &'static str {
    match &*catalog.product {
        "jira" if !template.starts_with("/rest/") => "/rest/api/3",
        "slack" => "/api",
        "bitbucket" => "/2.0",
        _ => "",
    }
}

fn filled(template: &str) -> String {
    let mut pieces = template.split('{');
    let first = pieces.next().unwrap_or_default().to_owned();
    first + &pieces.map(|piece| format!("~7{}", piece.split_once('}').unwrap().1)).collect::<String>()
}

fn mutating(operation: &Operation) -> bool {
    operation.method != Method::GET
}

// What a path names.

#[test]
fn every_operation_is_found_at_its_own_path() {
    for (catalog, count) in all().into_iter().zip([616, 175 + 212, 336, 322, 106]) {
        assert_eq!(catalog.operations.len(), count, "{}", catalog.product);
        for operation in &catalog.operations {
            let path = sample(&catalog, operation);
            let found = found(&catalog, &operation.method, &path);
            assert_eq!(found.as_deref(), Some(&*operation.id), "{} {path}", operation.method);
        }
    }
}

#[test]
fn the_three_versions_of_jiras_api_are_one_and_a_tenant_may_stand_before_them() {
    let jira = jira();
    for base in ["/rest/api/3", "/rest/api/2", "/rest/api/latest", "/ex/jira/11-aa/rest/api/3"] {
        let path = format!("{base}/issue/PROJ-1");
        let mut parameters = Parameters::default();
        let found = jira.matcher.find_with(&Method::GET, &path, &mut parameters);
        let Found::Operation(matched) = found else { panic!("{path}") };
        assert_eq!(jira.operations[usize::from(matched.operation.0)].id.as_ref(), "getIssue");
        assert_eq!(parameters.iter().collect::<Vec<_>>(), ["PROJ-1"]);
        assert_eq!(matched.tenant, base.contains("/ex/").then_some("11-aa"));
    }
    let whole = "/ex/jira/11-aa/rest/atlassian-connect/1/app/module/dynamic";
    assert_eq!(found(&jira, &Method::POST, whole).as_deref(), Some("DynamicModulesResource.registerModules_post"));
}

#[test]
fn a_path_that_is_only_almost_right_is_unknown() {
    let jira = jira();
    let unknown = [
        "/rest/api/3/issue/PROJ-1/",
        "/rest/api/3/Issue/PROJ-1",
        "/REST/api/3/issue/PROJ-1",
        "/rest/api/3/issue/",
        "/rest/api/3",
        "/rest/api/3/",
        "/rest/api/30/issue/PROJ-1",
        "/rest/api/1/issue/PROJ-1",
        "/issue/PROJ-1",
        "/rest/api/3/issue/PROJ-1/nosuch",
        "/",
        "",
        "/ex/jira//rest/api/3/issue/PROJ-1",
        "/ex/jira/a",
        "/ex/jira/a/ex/jira/b/rest/api/3/issue/PROJ-1",
        "/ex/confluence/a/rest/api/3/issue/PROJ-1",
        "/rest/api/3/rest/api/3/issue/PROJ-1",
    ];
    for path in unknown {
        assert_eq!(jira.matcher.find(&Method::GET, path), Found::UnknownPath, "{path}");
    }
    for method in [Method::PATCH, Method::OPTIONS, Method::TRACE] {
        assert_eq!(jira.matcher.find(&method, "/rest/api/3/issue/PROJ-1"), Found::UnknownMethod, "{method}");
    }
}

#[test]
fn head_is_judged_as_get_and_never_as_a_write() {
    let jira = jira();
    assert_eq!(found(&jira, &Method::HEAD, "/rest/api/3/issue/PROJ-1").as_deref(), Some("getIssue"));
    assert_eq!(jira.matcher.find(&Method::HEAD, "/rest/api/3/issue"), Found::UnknownMethod);
}

#[test]
fn slack_takes_get_and_post_for_every_method() {
    let slack = slack();
    for operation in &slack.operations {
        let path = format!("/api/{}", operation.id);
        for method in [Method::GET, Method::POST, Method::HEAD] {
            assert_eq!(found(&slack, &method, &path).as_deref(), Some(&*operation.id), "{method} {path}");
        }
        assert_eq!(slack.matcher.find(&Method::PUT, &path), Found::UnknownMethod);
    }
    for path in
        ["/api/chat.PostMessage", "/api/chat.postMessage/", "/chat.postMessage", "/api/chat", "/api//chat.postMessage"]
    {
        assert_eq!(slack.matcher.find(&Method::POST, path), Found::UnknownPath, "{path}");
    }
}

#[test]
fn a_literal_segment_beats_a_parameter() {
    let jira = jira();
    assert_eq!(found(&jira, &Method::GET, "/rest/api/3/attachment/meta").as_deref(), Some("getAttachmentMeta"));
    assert_eq!(found(&jira, &Method::GET, "/rest/api/3/attachment/10000").as_deref(), Some("getAttachment"));
    // The product answers 405 there: it is not the attachment called `meta`.
    assert_eq!(jira.matcher.find(&Method::DELETE, "/rest/api/3/attachment/meta"), Found::UnknownMethod);
}

#[test]
fn of_two_templates_that_match_one_path_the_first_literal_decides() {
    for (catalog, expected) in all().into_iter().zip([106, 16, 13, 0, 0]) {
        let templates: BTreeSet<&str> = catalog.operations.iter().map(|operation| &*operation.template).collect();
        let mut pairs = 0;
        for (one, other) in
            templates.iter().flat_map(|one| templates.range(*one..).skip(1).map(move |other| (*one, *other)))
        {
            let Some((path, first)) = collide(one, other) else { continue };
            pairs += 1;
            let path = format!("{}{path}", base(&catalog, &path));
            for method in &METHODS {
                let Found::Operation(matched) = catalog.matcher.find(method, &path) else { continue };
                let winner = &catalog.operations[usize::from(matched.operation.0)].template;
                assert!(!segment(winner, first).starts_with('{'), "{method} {path} is not {winner}");
            }
        }
        assert_eq!(pairs, expected, "{}", catalog.product);
    }
}

/// A path that both match, and the first segment in which one is literal and the other is not.
fn collide(one: &str, other: &str) -> Option<(String, usize)> {
    if one.split('/').count() != other.split('/').count() {
        return None;
    }
    let (mut path, mut first) = (Vec::new(), None);
    for (index, (left, right)) in one.split('/').zip(other.split('/')).enumerate() {
        let parameter = |segment: &str| segment.starts_with('{') && segment.ends_with('}');
        match (parameter(left), parameter(right)) {
            (true, true) => path.push("~7"),
            (false, false) if left == right => path.push(left),
            (false, false) => return None,
            (literal_right, _) => {
                first = first.or(Some(index));
                path.push(if literal_right { right } else { left });
            }
        }
    }
    Some((path.join("/"), first?))
}

fn segment(template: &str, index: usize) -> &str {
    template.split('/').nth(index).unwrap()
}

#[test]
fn templates_that_differ_in_names_alone_keep_all_their_methods() {
    let jira = jira();
    let cases = [
        (Method::PUT, "/rest/api/3/field/customfield_1", "updateCustomField"),
        (Method::DELETE, "/rest/api/3/field/customfield_1", "deleteCustomField"),
        (Method::GET, "/rest/api/3/issuesecurityschemes/1", "getIssueSecurityScheme"),
        (Method::PUT, "/rest/api/3/issuesecurityschemes/1", "updateIssueSecurityScheme"),
        (Method::DELETE, "/rest/api/3/issuesecurityschemes/1", "deleteSecurityScheme"),
        (Method::GET, "/rest/api/3/notificationscheme/1", "getNotificationScheme"),
        (Method::DELETE, "/rest/api/3/notificationscheme/1", "deleteNotificationScheme"),
    ];
    for (method, path, id) in cases {
        assert_eq!(found(&jira, &method, path).as_deref(), Some(id), "{method} {path}");
    }
}

#[test]
fn parameters_are_told_by_position() {
    let jira = jira();
    let path = "/rest/api/3/issue/PROJ-1/worklog/7/properties/a%2Fb";
    let mut parameters = Parameters::default();
    assert!(matches!(jira.matcher.find_with(&Method::PUT, path, &mut parameters), Found::Operation(_)));
    assert_eq!(parameters.iter().collect::<Vec<_>>(), ["PROJ-1", "7", "a%2Fb"]);
    assert_eq!(parameters.get(3), None);
}

// Traps of the descriptions.

#[test]
fn trap_1_an_anonymous_alternative_makes_no_write_free() {
    let jira = jira();
    assert_eq!(lines(&jira, "createIssue", "classic"), Some(vec![vec!["write:jira-work".to_owned()]]));
    assert_eq!(lines(&jira, "createIssue", "granular").map(|lines| lines[0].len()), Some(5));
    let free: Vec<&str> = jira
        .operations
        .iter()
        .filter(|operation| matches!(operation.needs, Needs::None { .. }))
        .map(|operation| &*operation.id)
        .collect();
    assert_eq!(free, ["getServerInfo"], "a person said so of each, with a reason");
}

#[test]
fn trap_2_operations_without_an_oauth_scope_refuse_oauth_credentials() {
    let jira = jira();
    let kind = &jira.kinds[usize::from(jira.kind("oauth").unwrap().0)];
    let open = |operation: &Operation| match &operation.needs {
        Needs::Unknown => false,
        Needs::None { .. } => true,
        Needs::Lines(all) => all.iter().any(|lines| kind.vocabularies.contains(lines.vocabulary)),
    };
    assert_eq!(jira.operations.iter().filter(|operation| !open(operation)).count(), 29);
    assert_eq!(jira.operations.iter().filter(|operation| matches!(operation.needs, Needs::Unknown)).count(), 12);
    for id in
        ["redact", "setLocale", "putForgeAppProperty", "getWorklogsByIssueIdAndWorklogId", "updateCustomFieldValue"]
    {
        assert!(matches!(operation(&jira, id).needs, Needs::Unknown), "{id}");
    }
    // What the vendor states for Connect alone is open to Connect alone.
    assert_eq!(lines(&jira, "getPrecomputations", "connect"), Some(vec![vec!["READ".to_owned()]]));
    assert_eq!(lines(&jira, "getPrecomputations", "classic"), None);
}

/// Without an OAuth scope in the description, and opened by the overlay.
const OPENED: [&str; 2] = ["getServerInfo", "getBulkPermissions"];

#[test]
fn of_the_operations_without_an_oauth_scope_a_person_opened_two() {
    let jira = jira();
    // What it tells, it tells to anyone: no scope, no container.
    let [server_info, bulk_permissions] = OPENED.map(|id| operation(&jira, id));
    assert!(matches!(server_info.needs, Needs::None { .. }));
    assert!(matches!(server_info.touches, Touches::Nothing { .. }));
    // The vendor's text names scopes for it. It names projects and issues in its body, so it reaches the whole tenant.
    for (vocabulary, scope) in
        [("classic", "read:jira-work"), ("granular", "read:permission:jira"), ("connect", "READ")]
    {
        assert_eq!(lines(&jira, &bulk_permissions.id, vocabulary), Some(vec![vec![scope.to_owned()]]));
    }
    assert!(matches!(bulk_permissions.touches, Touches::Tenant { .. }));
}

#[test]
fn trap_3_where_the_description_contradicts_itself_the_stricter_reading_counts() {
    let task = "ConnectToForgeMigrationFetchTaskResource.fetchMigrationTask_get";
    assert_eq!(lines(&jira(), task, "classic"), None);
}

#[test]
fn trap_4_a_webhook_needs_a_guard_on_top_of_connects_read() {
    let jira = jira();
    assert_eq!(lines(&jira, "registerDynamicWebhooks", "connect"), Some(vec![vec!["READ".to_owned()]]));
    assert_eq!(guards(&jira, "registerDynamicWebhooks"), ["gate:deliver"]);
    assert_eq!(
        lines(&jira, "DynamicModulesResource.registerModules_post", "connect"),
        Some(vec![vec!["NONE".to_owned()]])
    );
    assert_eq!(guards(&jira, "DynamicModulesResource.registerModules_post"), ["gate:deliver"]);
    let both = vec![vec!["manage:jira-webhook".to_owned(), "read:jira-work".to_owned()]];
    assert_eq!(lines(&jira, "registerDynamicWebhooks", "classic"), Some(both));
}

#[test]
fn trap_5_nothing_is_a_read_that_names_no_container_anywhere() {
    for catalog in all() {
        let mut count = 0;
        for operation in &catalog.operations {
            let Touches::Nothing { why } = &operation.touches else { continue };
            count += 1;
            assert!(!why.is_empty());
            assert!(!mutating(operation) || &*catalog.product == "slack", "{} changes something", operation.id);
            let named = [
                "project",
                "issueId",
                "issueKey",
                "channel",
                "space",
                "content",
                "page",
                "{tenant}",
                "repo",
                "workspace",
                "pipeline",
            ];
            // Words of the whole site, which are no project or space.
            let path = operation
                .template
                .replace("/project/type", "")
                .replace("/projectCategory", "")
                .replace("{projectTypeKey}", "")
                .replace("/space-permissions", "")
                .replace("/space-role", "");
            assert!(!named.iter().any(|word| path.contains(word)), "{}", operation.template);
            assert!(
                operation.variant_sources.is_empty() && operation.tenant_arguments.is_empty()
                    || &*catalog.product == "slack"
            );
        }
        let least = if &*catalog.product == "buddy" { 3 } else { 9 };
        assert!(count >= least, "{}: {count}", catalog.product);
    }
    for id in [
        "submitBulkDelete",
        "submitBulkMove",
        "getProject",
        "getAllProjects",
        "getTask",
        "getAuditRecords",
        "getAllLabels",
    ] {
        assert!(!matches!(operation(&jira(), id).touches, Touches::Nothing { .. }), "{id}");
    }
}

#[test]
fn verbs_tell_nothing_about_scopes() {
    let jira = jira();
    assert_eq!(lines(&jira, "searchForIssuesUsingJqlPost", "classic"), Some(vec![vec!["read:jira-work".to_owned()]]));
    assert_eq!(lines(&jira, "getAuditRecords", "classic"), Some(vec![vec!["manage:jira-configuration".to_owned()]]));
    assert_eq!(
        lines(&jira, "updatePermissionScheme", "classic"),
        Some(vec![vec!["manage:jira-configuration".to_owned()]])
    );
    assert_eq!(found(&jira, &Method::PUT, "/rest/api/3/permissionscheme/1").as_deref(), Some("updatePermissionScheme"));
    assert_eq!(guards(&jira, "updatePermissionScheme"), ["gate:admit"]);
}

#[test]
fn no_line_is_empty_and_every_vocabulary_has_a_line() {
    for catalog in all() {
        for operation in &catalog.operations {
            let Needs::Lines(all) = &operation.needs else { continue };
            assert!(!all.is_empty(), "{}", operation.id);
            for lines in all {
                assert!(!lines.lines.is_empty(), "{}", operation.id);
                assert!(lines.lines.iter().all(|line| !line.scopes.is_empty()), "{}", operation.id);
            }
        }
    }
}

// Jira.

#[test]
fn connects_scopes_imply_each_other_downward() {
    let jira = jira();
    let down = |name: &str| {
        let scope = &jira.scopes[jira.scope(name).unwrap().index()];
        scope.down.iter().map(|scope| jira.scope_name(scope).to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(down("NONE"), BTreeSet::from(["NONE".to_owned()]));
    assert_eq!(down("READ"), ["NONE", "READ"].map(str::to_owned).into());
    assert_eq!(down("ADMIN"), ["ADMIN", "DELETE", "NONE", "PROJECT_ADMIN", "READ", "WRITE"].map(str::to_owned).into());
    assert_eq!(down("ACT_AS_USER"), BTreeSet::from(["ACT_AS_USER".to_owned()]));
    assert_eq!(down("write:jira-work"), BTreeSet::from(["write:jira-work".to_owned()]));
    let read = &jira.scopes[jira.scope("READ").unwrap().index()];
    assert_eq!(read.up.len(), 5, "a revocation of READ takes all that read");
}

#[test]
fn a_project_or_issue_in_the_path_is_a_place() {
    let jira = jira();
    let names = ["{projectIdOrKey}", "{projectKeyOrId}", "{projectId}", "{issueIdOrKey}"];
    let mut count = 0;
    for operation in &jira.operations {
        let segments: Vec<&str> = operation.template.split('/').filter(|segment| segment.starts_with('{')).collect();
        let Some(index) = segments.iter().position(|segment| names.contains(segment)) else { continue };
        let Touches::Containers(places) = &operation.touches else { panic!("{} is no container", operation.id) };
        let place = places.iter().find(|place| place.at == PlaceAt::Path(index as u8)).unwrap();
        let issue = segments[index] == "{issueIdOrKey}";
        assert_eq!(place.reading, if issue { Reading::IssueKey } else { Reading::Container });
        assert_eq!(place.absent, Absent::Deny);
        count += 1;
    }
    assert_eq!(count, 42 + 43, "42 name a project and 43 an issue");
}

#[test]
fn a_new_issue_is_located_in_its_body() {
    let jira = jira();
    let create = operation(&jira, "createIssue");
    assert!(create.body);
    let Touches::Containers(places) = &create.touches else { panic!() };
    let at = |pointer: &str| places.iter().find(|place| place.at == PlaceAt::Body(pointer.into())).unwrap();
    let (key, id) = (at("/fields/project/key"), at("/fields/project/id"));
    assert!(key.group.is_some() && key.group == id.group, "both together count as the tenant");
    for parent in ["/fields/parent/id", "/fields/parent/key"] {
        assert!(at(parent).reading == Reading::IssueKey && at(parent).lookup.is_some(), "{parent}");
    }
    // Each of several issues is looked at by itself, in the same places.
    let Touches::Containers(several) = &operation(&jira, "createIssues").touches else { panic!("createIssues") };
    let pointers = |places: &[catalog::Place]| -> BTreeSet<String> {
        let each = places.iter().map(|place| match &place.at {
            PlaceAt::Body(pointer) => pointer.to_string(),
            PlaceAt::InItems { pointer, keys: false } => pointer.replacen("/issueUpdates/*", "", 1),
            other => panic!("{other:?}"),
        });
        each.collect()
    };
    assert_eq!(pointers(places), pointers(several));
    assert!(!operation(&jira, "getIssue").body);
}

#[test]
fn a_named_query_is_a_place_and_its_absence_is_the_tenant() {
    let jira = jira();
    let Touches::Containers(places) = &operation(&jira, "findComponentsForProjects").touches else { panic!() };
    assert_eq!(places[0].at, PlaceAt::Query("projectIdsOrKeys".into()));
    assert_eq!((places[0].absent, places[0].list), (Absent::Tenant, true));
    let Touches::Containers(places) = &operation(&jira, "getIssueTypesForProject").touches else { panic!() };
    assert_eq!(places[0].absent, Absent::Deny, "a required one");
    let kind = &jira.containers[0];
    let (id, key) = (kind.id.as_ref().unwrap(), kind.key.as_ref().unwrap());
    assert!(id.is_match("10001") && !id.is_match("010") && !id.is_match("10001x") && !id.is_match("1\n"));
    assert!(key.is_match("PROJ") && !key.is_match("10001") && !key.is_match("PROJ-1") && !key.is_match("PROJ\n"));
}

// Slack.

#[test]
fn slacks_lists_are_any_of_by_conversation_type() {
    let slack = slack();
    let Needs::Lines(all) = &operation(&slack, "conversations.history").needs else { panic!() };
    let by_type: BTreeMap<&str, u8> =
        all[0].lines.iter().map(|line| (slack.scope_name(line.scopes[0]), line.when.0)).collect();
    assert_eq!(by_type["channels:history"], 1);
    assert_eq!(by_type["groups:history"], 2);
    assert_eq!(by_type["im:history"], 4);
    assert_eq!(by_type["mpim:history"], 8);
    assert_eq!(operation(&slack, "conversations.history").variants, VariantMask(15));
    assert_eq!(operation(&slack, "conversations.kick").variants, VariantMask(3), "no line speaks of im and mpim");
    assert_eq!(operation(&slack, "chat.postMessage").variants, VariantMask::ALL);
}

#[test]
fn what_slack_does_not_make_clear_needs_all() {
    let slack = slack();
    for id in ["team.externalTeams.list", "users.discoverableContacts.lookup"] {
        let both = vec![vec!["conversations.connect:manage".to_owned(), "team:read".to_owned()]];
        assert_eq!(lines(&slack, id, "bot"), Some(both), "{id}");
    }
}

#[test]
fn a_method_that_needs_no_scope_says_why() {
    let slack = slack();
    let none = slack.operations.iter().filter_map(|operation| match &operation.needs {
        Needs::None { why } => Some((&*operation.id, why)),
        Needs::Unknown | Needs::Lines(_) => None,
    });
    let none: BTreeMap<_, _> = none.collect();
    assert!(none.values().all(|why| !why.is_empty()));
    assert_eq!(none.len(), 28);
    assert!(none.contains_key("auth.test") && none.contains_key("views.open"));
    assert!(
        slack.operations[usize::from(slack.operation("auth.test").unwrap().0)].all_scopes.contains(slack.gate_call)
    );
    for id in ["rtm.connect", "rtm.start"] {
        assert!(matches!(operation(&slack, id).needs, Needs::Unknown), "{id}");
    }
}

#[test]
fn a_bots_and_a_users_name_of_one_right_are_one() {
    let slack = slack();
    let scope = |name: &str| &slack.scopes[slack.scope(name).unwrap().index()];
    let (manage, write) = (scope("channels:manage"), scope("channels:write"));
    assert_eq!((manage.down, manage.up), (write.down, write.up));
    assert_eq!(manage.down.len(), 2);
}

#[test]
fn the_kind_of_a_credential_fixes_its_vocabularies_and_actor() {
    let slack = slack();
    for (kind, vocabulary, actor) in [
        ("bot", "bot", ActorRule::App),
        ("user", "user", ActorRule::User),
        ("configuration", "configuration", ActorRule::App),
        ("app_level", "app_level", ActorRule::App),
    ] {
        let kind = &slack.kinds[usize::from(slack.kind(kind).unwrap().0)];
        let words: Vec<&str> = (0..slack.vocabularies.len() as u8)
            .filter(|id| kind.vocabularies.contains(scopegate::authz::catalog::VocabularyId(*id)))
            .map(|id| &*slack.vocabularies[usize::from(id)])
            .collect();
        assert_eq!((words, kind.actor), (vec![vocabulary], actor));
    }
    assert_eq!(lines(&slack, "apps.connections.open", "app_level"), Some(vec![vec!["connections:write".to_owned()]]));
    assert_eq!(guards(&slack, "apps.connections.open"), ["gate:deliver", "gate:mint"]);
}

#[test]
fn a_channel_is_an_argument_and_a_workspace_must_be_the_requests_own() {
    let slack = slack();
    let post = operation(&slack, "chat.postMessage");
    let Touches::Containers(places) = &post.touches else { panic!() };
    assert_eq!((&places[0].at, places[0].reading), (&PlaceAt::Argument("channel".into()), Reading::Conversation));
    assert!(post.body && places[0].absent == Absent::Deny);
    let users = operation(&slack, "users.list");
    assert_eq!(users.tenant_arguments[0].at, PlaceAt::Argument("team_id".into()));
    assert!(users.body, "a second workspace may be named in the body");
    assert!(slack.tenant_arguments.len() >= 3);
    let id = slack.containers[0].id.as_ref().unwrap();
    let key = slack.containers[0].key.as_ref().unwrap();
    assert!(id.is_match("C0HELP") && id.is_match("D01AB") && !id.is_match("U0DANA") && !id.is_match("c0help"));
    assert!(key.is_match("#general") && key.is_match("allgemein-ä") && !key.is_match("U0DANA"));
}

#[test]
fn scopes_that_rule_no_operation_say_what_they_rule() {
    let slack = slack();
    let class = |name: &str| slack.scopes[slack.scope(name).unwrap().index()].class;
    assert_eq!(class("chat:write.customize"), ScopeClass::Side(ScopeSide::Arguments));
    assert_eq!(class("commands"), ScopeClass::Side(ScopeSide::Events));
    assert_eq!(class("identity.basic"), ScopeClass::Side(ScopeSide::SignIn));
    assert_eq!(class("bot"), ScopeClass::Side(ScopeSide::Umbrella));
    assert_eq!(class("chat:write"), ScopeClass::Vendor);
    assert_eq!(class("gate:deliver"), ScopeClass::Guard);
    assert_eq!(class("gate:call"), ScopeClass::Call);
    let admit = slack.scope("gate:admit").unwrap();
    assert!(!slack.vendor_scopes.contains(admit) && slack.vendor_scopes.contains(slack.scope("commands").unwrap()));
}

// Guards, over both.

#[test]
fn guards_are_where_an_admin_must_be_able_to_part_what_the_vendor_does_not() {
    let count = |guard: &str| {
        let of = |catalog: &Catalog| {
            let guard = catalog.scope(guard).unwrap();
            catalog.operations.iter().filter(|operation| operation.guards.contains(&guard)).count()
        };
        of(&jira()) + of(&slack())
    };
    assert_eq!((count("gate:deliver"), count("gate:mint"), count("gate:admit")), (21, 15, 135));
    for id in ["conversations.invite", "conversations.kick", "admin.users.setOwner", "usergroups.users.update"] {
        assert!(guards(&slack(), id).contains(&"gate:admit".to_owned()), "{id}");
    }
}

#[test]
fn no_read_of_jira_carries_a_guard() {
    let jira = jira();
    let reads = jira.operations.iter().filter(|operation| !mutating(operation) && !operation.guards.is_empty());
    let ids: Vec<&str> = reads.map(|operation| &*operation.id).collect();
    // What a download redirects to is guarded when it comes: the gate follows it, or `gate:mint` is needed.
    assert!(ids.is_empty(), "{ids:?}");
}

// Links, over both.

#[test]
fn jiras_own_members_are_rewritten_and_files_are_left_alone() {
    let jira = jira();
    for id in ["getIssue", "searchProjects", "getProjectRoles", "getAttachment"] {
        assert!(operation(&jira, id).links.is_some(), "{id}");
    }
    for id in ["getAttachmentContent", "getAttachmentThumbnail", "getAvatarImageByID"] {
        assert!(operation(&jira, id).links.is_none(), "{id}: a file of a user's may be JSON");
    }
    let is_link = |id: &str, path: &[&str]| {
        let rules = operation(&jira, id).links.as_ref().unwrap();
        let place = path.iter().fold(Place::ROOT, |place, name| rules.below(place, Some(name.as_bytes())));
        rules.is_link(place)
    };
    assert!(is_link("getIssue", &["fields", "attachment", "content"]));
    assert!(!is_link("getIssue", &["fields", "description", "content"]));
    assert!(is_link("getAttachment", &["content"]));
    assert!(is_link("getProjectRoles", &["Developers"]) && is_link("getProject", &["roles", "Developers"]));
    assert!(!is_link("getIssue", &["properties", "self"]), "what an app stored is its own");
    assert!(!is_link("getIssueProperty", &["value", "self"]) && is_link("getIssuePropertyKeys", &["keys", "self"]));
    assert!(!is_link("getIssue", &["fields", "assignee", "avatarUrls", "48x48"]));
}

#[test]
fn what_is_said_to_be_given_under_a_guard_is_given_under_that_guard() {
    let mut said = 0;
    for catalog in [jira(), slack()] {
        for entry in catalog.links.stays.iter().filter(|entry| entry.why.contains("given under ")) {
            assert!(!entry.operations.is_empty(), "{}", entry.why);
            for guard in ["gate:mint", "gate:deliver", "gate:admit"].iter().filter(|guard| entry.why.contains(**guard))
            {
                for operation in &entry.operations {
                    let operation = &catalog.operations[usize::from(operation.0)];
                    assert!(
                        guards(&catalog, &operation.id).contains(&(*guard).to_owned()),
                        "{}: {guard}",
                        operation.id
                    );
                    said += 1;
                }
            }
        }
    }
    assert!(said >= 10, "{said}");
}

// A user's own catalog.

const OWN: &str = "\
version: 1
product: own
release: '1'
dialect: problem
vocabularies: [own]
kinds: [{name: token, vocabularies: [own], actor: app}]
containers: [{name: team, id: 'a|ab'}]
scopes:
  - {name: read, vocabularies: [own]}
  - {name: write, vocabularies: [own], implies: [read]}
operations:
  - {id: list, request: 'GET /items', needs: {own: [[read]]}, proposed: nothing}
  - {id: put, request: 'PUT /teams/{team}', needs: {own: [[write]]}, touches: {places: [{kind: team, path: team}]}}
";

fn parse(catalog: &str, overlay: Option<&str>) -> Result<Catalog, Vec<String>> {
    let path = std::path::Path::new("own.yaml");
    let beside = std::path::Path::new("own.overlay.yaml");
    let overlay = overlay.map(|text| Source { path: beside, text });
    Catalog::parse(Source { path, text: catalog }, overlay).map_err(|problems| {
        let said = |problem: scopegate::problem::Problem| {
            format!("{}:{}: {}", problem.file.display(), problem.at.line, problem.message)
        };
        problems.into_iter().map(said).collect()
    })
}

#[test]
fn a_catalog_of_ones_own_compiles() {
    let own = parse(OWN, None).unwrap();
    assert_eq!(found(&own, &Method::PUT, "/teams/a").as_deref(), Some("put"));
    assert_eq!(own.digest.len(), 64);
    let pattern = own.containers[0].id.as_ref().unwrap();
    assert!(pattern.is_match("ab") && !pattern.is_match("abc"), "a pattern is for the whole text");
    assert_eq!(own.digest, parse(&OWN.replace("version: 1\n", "\n# moved\n\nversion: 1\n"), None).unwrap().digest);
}

#[test]
fn what_is_wrong_with_a_catalog_is_said_with_its_place() {
    let cases = [
        ("[[read]]", "[[]]", "an empty line would need nothing"),
        ("[[read]]", "[]", "has no line"),
        ("needs: {own: [[read]]}", "needs: {}", "has no lines"),
        ("[[read]]", "[[raed]]", "no scope is called `raed`"),
        ("needs: {own: [[write]]}", "needs: {other: [[write]]}", "no vocabulary is called `other`"),
        ("{kind: team, path: team}", "{kind: taem, path: team}", "no container is called `taem`"),
        ("{kind: team, path: team}", "{kind: team, path: id}", "has no parameter `id`"),
        ("{kind: team, path: team}", "{kind: team, path: team, query: t}", "exactly one of"),
        ("[{kind: team, path: team}]", "[]", "empty list of places"),
        ("id: 'a|ab'", "id: 'a)|(?:b'", "pattern"),
        ("id: put, request: 'PUT /teams/{team}'", "id: list, request: 'PUT /teams/{team}'", "written twice"),
        ("'PUT /teams/{team}'", "'GET /items'", "the same method and path as `list`"),
        ("'GET /items'", "'get /items'", "not a method"),
        ("'GET /items'", "'GET /items/x{+rest}'", "begins its segment"),
        ("'GET /items'", "'GET /items/{a}{b}'", "neither literal nor"),
        ("'GET /items'", "'ANY /items'", "answers `ANY`"),
        ("'GET /items'", "'GET /items/{tenant}-{x}'", "it has its segment alone"),
        ("'GET /items'", "'GET /{tenant}/{tenant}'", "it has its segment alone"),
        (
            "operations:\n",
            "tenant_bases: ['/ex/{tenant}']\noperations:\n  - {id: t, request: 'GET /{tenant}', needs: unknown}\n",
            "`tenant_bases` do already",
        ),
        ("implies: [read]", "implies: [reed]", "no scope is called `reed`"),
        ("version: 1", "version: 2", "version 2 is not known"),
        ("release: '1'", "release: '1'\nrelease: '2'", "duplicate"),
        ("release: '1'", "release: '1'\nrelaese: '2'", "unknown field"),
        ("needs: {own: [[read]]}", "needs: none", "`unknown`"),
        ("needs: {own: [[read]]}", "needs: {none: ' '}", "needs a reason"),
        ("{name: read,", "{name: 'gate:read',", "scopegate's own"),
    ];
    for (before, after, said) in cases {
        assert!(OWN.contains(before), "{before}");
        let problems = parse(&OWN.replace(before, after), None).expect_err(after);
        assert!(problems.iter().any(|problem| problem.contains(said)), "{after}: {problems:?}");
    }
    assert!(parse("", None).is_err(), "an empty file is no catalog");
}

#[test]
fn what_is_wrong_with_links_is_said_with_its_place() {
    let own = |links: &str| OWN.replace("operations:\n", &format!("{links}\noperations:\n"));
    let good = "links: {rewritten: [{members: [next, 'links.*.href'], why: w}], stays: [{operations: [put], why: w}]}\n\
                redirects: [{host: Media.Example, why: w}, {host: 'media.example:8443', why: w}]";
    let catalog = parse(&own(good), None).unwrap();
    assert!(operation(&catalog, "list").links.is_some() && operation(&catalog, "put").links.is_none());
    assert_eq!((&*catalog.links.redirects[0].host, catalog.links.redirects[1].port), ("media.example", 8443));
    assert_eq!(parse(OWN, None).unwrap().links.unknown, None, "nothing is rewritten that nobody named");
    for (links, said) in [
        ("links: {rewritten: [{members: [next]}]}", "missing field `why`"),
        ("links: {rewritten: [{members: [next], why: ' '}]}", "needs a reason"),
        ("links: {rewritten: [{members: [], why: w}]}", "names no members"),
        ("links: {rewritten: [{members: ['*'], why: w}]}", "every member of every answer"),
        ("links: {rewritten: [{members: ['a..b'], why: w}]}", "no path of members"),
        ("links: {rewritten: [{members: ['a*'], why: w}]}", "no path of members"),
        ("links: {rewritten: [{members: [\u{e4}], why: w}]}", "no path of members"),
        ("links: {rewritten: [{members: [a], operations: [lsit], why: w}]}", "no operation is called `lsit`"),
        ("links: {rewritten: [{members: [a, a], why: w}]}", "stands in line"),
        ("links: {rewritten: [{members: [a], why: w}], stays: [{members: [a], why: w}]}", "stands in line"),
        ("links: {stays: [{why: w}]}", "neither members nor operations"),
        ("links: {rewriten: []}", "unknown field"),
        ("redirects: [{host: '*.example', why: w}]", "`*.example` is no host"),
        ("redirects: [{host: 'https://a', why: w}]", "is no host"),
        ("redirects: [{host: 'a/b', why: w}]", "is no host"),
        ("redirects: [{host: a, why: w}, {host: 'A:443', why: w}]", "written twice"),
        ("redirects: [{host: a, why: ''}]", "needs a reason"),
        ("redirects: [{host: a}]", "missing field `why`"),
    ] {
        let problems = parse(&own(links), None).expect_err(links);
        assert!(problems.iter().any(|problem| problem.contains(said)), "{links}: {problems:?}");
    }
    let names = ["a.b.c.d.e.f.g.h"; 9].iter().enumerate().map(|(n, path)| format!("{path}.i{n}")).collect::<Vec<_>>();
    let long = format!("links: {{rewritten: [{{members: [{}], why: w}}]}}", names.join(", "));
    assert!(parse(&own(&long), None).unwrap_err()[0].contains("over 64 names"));
}

#[test]
fn an_overlay_adds_to_the_links_of_its_catalog() {
    let own = OWN.replace("operations:\n", "links: {rewritten: [{members: [next], why: w}]}\noperations:\n");
    let overlay = "version: 1\noverlay: own\nlinks:\n  rewritten: [{members: [self], why: w}]\n  \
                   stays: [{members: [next], operations: [put], why: w}]\nredirects: [{host: a.example, why: w}]\n";
    let own = parse(&own, Some(overlay)).unwrap();
    let is_link = |id: &str, name: &str| {
        let rules = operation(&own, id).links.as_ref().unwrap();
        rules.is_link(rules.below(Place::ROOT, Some(name.as_bytes())))
    };
    assert!(is_link("list", "next") && is_link("list", "self") && is_link("put", "self"));
    assert!(!is_link("put", "next"), "what stays wins");
    assert_eq!(own.links.redirects.len(), 1);
}

#[test]
fn places_stand_in_lists_and_in_the_keys_of_objects() {
    let with = |place: &str| parse(&OWN.replace("{kind: team, path: team}", place), None);
    let at = |place: &str| {
        let own = with(place).unwrap();
        let put = operation(&own, "put");
        let Touches::Containers(places) = &put.touches else { panic!("{place}") };
        assert!(put.body, "{place}");
        (places[0].at.clone(), put.items.len())
    };
    assert_eq!(at("{kind: team, body: /a/b}"), (PlaceAt::Body("/a/b".into()), 0));
    assert_eq!(at("{kind: team, keys: /a/b}"), (PlaceAt::Keys("/a/b".into()), 0));
    let items = |pointer: &str, keys| (PlaceAt::InItems { pointer: pointer.into(), keys }, 1);
    assert_eq!(at("{kind: team, body: '/a/*/b'}"), items("/a/*/b", false));
    assert_eq!(at("{kind: team, body: '/*'}"), items("/*", false));
    assert_eq!(at("{kind: team, keys: '/a/*'}"), items("/a/*", true));
    for (place, said) in [
        ("{kind: team, body: a/b}", "it starts with `/`"),
        ("{kind: team, body: '*/a'}", "it starts with `/`"),
        ("{kind: team, body: '/a*/b'}", "does not stand alone"),
        ("{kind: team, keys: '/**'}", "does not stand alone"),
        ("{kind: team, body: /a, keys: /a}", "exactly one of"),
        ("{kind: team}", "exactly one of"),
        ("{kind: team, path: team, as: jql}", "in queries and bodies alone"),
        ("{kind: team, header: x-team, as: move_target}", "in queries and bodies alone"),
        ("{kind: team, query: q, as: sql}", "unknown variant `sql`"),
    ] {
        let problems = with(place).expect_err(place);
        assert!(problems.iter().any(|problem| problem.contains(said)), "{place}: {problems:?}");
    }
    let remover = "version: 1\noverlay: own\nremovers: [{operation: put, body: '/a/*'}]\n";
    let problems = parse(OWN, Some(remover)).unwrap_err();
    assert!(problems[0].contains("not looked for in the items"), "{problems:?}");
}

#[test]
fn all_problems_are_said_at_once() {
    let broken = OWN.replace("[[read]]", "[[]]").replace("[[write]]", "[[wirte]]").replace("path: team}", "path: x}");
    let problems = parse(&broken, None).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems.iter().all(|problem| !problem.contains(":0:")), "{problems:?}");
}

#[test]
fn an_overlay_corrects_once_and_with_a_reason() {
    let head = "version: 1\noverlay: own\n";
    let good =
        "nothing: [{why: fixed words, operations: [list]}]\nguards: [{guard: 'gate:admit', why: w, operations: [put]}]";
    let own = parse(OWN, Some(&format!("{head}{good}"))).unwrap();
    assert!(matches!(operation(&own, "list").touches, Touches::Nothing { .. }));
    assert_eq!(guards(&own, "put"), ["gate:admit"]);
    let cases = [
        ("nothing: [{why: w, operations: [put]}]", "does not propose `put`"),
        ("nothing: [{why: '', operations: [list]}]", "without a reason"),
        ("nothing: [{why: w, operations: [lsit]}]", "no operation is called `lsit`"),
        ("nothing: [{why: w, operations: [list]}]\ntenant: [{why: w, operations: [list]}]", "corrected in line"),
        ("guards: [{guard: 'gate:call', why: w, operations: [put]}]", "not a guard"),
        ("guards: [{guard: read, why: w, operations: [put]}]", "not a guard"),
        ("scopes: [{name: read, rules: events}]", "yet operation `list` needs it"),
    ];
    for (overlay, said) in cases {
        let problems = parse(OWN, Some(&format!("{head}{overlay}"))).expect_err(overlay);
        assert!(
            problems.iter().any(|problem| problem.contains(said) && problem.contains("overlay")),
            "{overlay}: {problems:?}"
        );
    }
    assert!(parse(OWN, Some("version: 1\noverlay: other\n")).is_err());
}

#[test]
fn an_operation_is_the_tenant_until_a_person_says_otherwise() {
    let own = parse(OWN, None).unwrap();
    assert!(matches!(operation(&own, "list").touches, Touches::Tenant { .. }), "a proposal alone gives nothing");
}

#[test]
fn a_subtree_takes_what_nothing_more_exact_has() {
    let subtree =
        "version: 1\noverlay: own\noperations:\n  - {id: rest, request: 'ANY /teams/{+rest}', needs: unknown}\n";
    let own = parse(OWN, Some(subtree)).unwrap();
    let cases = [
        (Method::PUT, "/teams/a", Some("put")),
        (Method::GET, "/teams/a", Some("rest")),
        (Method::PATCH, "/teams/a/b/c", Some("rest")),
        (Method::GET, "/teams/", None),
        (Method::GET, "/teams", None),
    ];
    for (method, path, id) in cases {
        assert_eq!(found(&own, &method, path).as_deref(), id, "{method} {path}");
    }
}

// The command.

#[test]
fn show_says_what_each_operation_needs_and_touches() {
    let args =
        cli::ShowArgs { product: "jira".to_owned(), links: false, coverage: false, format: cli::CatalogFormat::Json };
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    assert!(cli::show(&args, &mut out, &mut errors).unwrap());
    let shown: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(shown["product"], "jira");
    let operations = shown["operations"].as_array().unwrap();
    assert_eq!(operations.len(), 616);
    let get = operations.iter().find(|operation| operation["id"] == "getIssue").unwrap();
    assert_eq!(get["request"], "GET /issue/{issueIdOrKey}");
    assert_eq!(get["needs"]["classic"], serde_json::json!([["read:jira-work"]]));
    assert_eq!(get["touches"]["places"][0]["as"], "issue_key");
    let missing =
        cli::ShowArgs { product: "nosuch".to_owned(), links: false, coverage: false, format: cli::CatalogFormat::Text };
    assert!(!cli::show(&missing, &mut out, &mut errors).unwrap());
}

#[test]
fn show_links_says_what_is_rewritten_followed_and_left_with_reasons() {
    let shown = |product: &str, format| {
        let args = cli::ShowArgs { product: product.to_owned(), links: true, coverage: false, format };
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        assert!(cli::show(&args, &mut out, &mut errors).unwrap());
        String::from_utf8(out).unwrap()
    };
    let jira: serde_json::Value = serde_json::from_str(&shown("jira", cli::CatalogFormat::Json)).unwrap();
    assert_eq!(jira["rewritten"][0]["members"], serde_json::json!(["self"]));
    assert_eq!(jira["rewritten"][0]["operations"], serde_json::Value::Null, "all of them");
    assert_eq!(jira["followed"][0]["host"], "api.media.atlassian.com");
    let text = shown("jira", cli::CatalogFormat::Text);
    for said in
        ["jira@2025-12", "nextPage", "in the answers of getAllDashboards", "avatarUrls", "api.media.atlassian.com"]
    {
        assert!(text.contains(said), "{said} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    let slack = shown("slack", cli::CatalogFormat::Text);
    assert!(slack.contains("upload_url") && slack.contains("given under gate:mint alone"), "{slack}");
    for list in ["rewritten", "followed", "stays"] {
        let entries = jira[list].as_array().unwrap();
        assert!(!entries.is_empty() && entries.iter().all(|entry| entry["why"].as_str().unwrap().len() > 3), "{list}");
    }
}

#[test]
fn a_release_can_be_pinned() {
    assert!(builtin::catalog("jira@2025-12").is_some());
    assert!(builtin::catalog("jira@2020-01").is_none());
    assert!(builtin::catalog("nosuch").is_none());
    assert_eq!(builtin::products().count(), 5);
}

#[test]
fn the_files_of_the_folder_are_what_is_built_in() {
    for (product, _) in builtin::products() {
        let loaded = Catalog::load(&root().join(format!("config/catalogs/{product}.yaml"))).unwrap();
        assert_eq!(loaded.digest, builtin::catalog(product).unwrap().digest);
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_parameter_that_is_a_literal_of_another_path_but_for_case_is_neither() {
    let jira = jira();
    for path in ["/rest/api/3/attachment/META", "/rest/api/3/attachment/Meta", "/rest/api/2/issue/CREATEMETA"] {
        assert!(matches!(jira.matcher.find(&Method::GET, path), Found::Lookalike), "{path}");
    }
    for path in ["/rest/api/3/attachment/meta", "/rest/api/3/attachment/10001", "/rest/api/3/issue/META-1"] {
        assert!(matches!(jira.matcher.find(&Method::GET, path), Found::Operation(_)), "{path}");
    }
}
