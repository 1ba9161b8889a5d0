//! The built-in catalogs beside the vendors' descriptions, which are read here a second time and in another way.

use std::collections::BTreeSet;
use std::path::PathBuf;

use http::Method;
use scopegate::authz::catalog::matcher::{Found, Parameters};
use scopegate::authz::catalog::{Catalog, Needs, Touches};
use scopegate::import::{Imported, Settings, Vendor, import};
use serde_json::Value;

use super::coverage::{names_of_containers, plain, written};
use super::{
    METHODS, OPENED, base, bitbucket, buddy, confluence, filled, found, jira, lines, mutating, operation, root, slack,
};

pub const JIRA: &str = "atlassian-jira-platform-v3.json";
pub const CONFLUENCE_1: &str = "atlassian-confluence-v1.json";
pub const CONFLUENCE_2: &str = "atlassian-confluence-v2.json";
pub const BITBUCKET: &str = "atlassian-bitbucket-cloud-2.0.json";
pub const SLACK: &str = "slack-methods-2026.json";
const BUDDY: &str = "buddy-endpoints.tsv";

fn description(name: &str) -> String {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared"));
    let shared = std::env::var_os("SCOPEGATE_SHARED").map_or_else(beside, PathBuf::from);
    std::fs::read_to_string(shared.join("specs").join(name)).unwrap()
}

pub fn described(name: &str) -> Value {
    serde_json::from_str(&description(name)).unwrap()
}

fn imported(vendor: Vendor, specs: &[&str]) -> Imported {
    let texts: Vec<String> = specs.iter().map(|spec| description(spec)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    import(vendor, &texts, Settings::default()).unwrap()
}

/// Each operation of a description: its method, its path, and what stands there.
pub fn operations(described: &Value) -> Vec<(Method, String, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        let methods = METHODS.iter().filter(|method| !item[method.as_str().to_lowercase()].is_null());
        operations.extend(methods.map(|method| (method.clone(), path.clone(), &item[method.as_str().to_lowercase()])));
    }
    operations
}

fn words(node: &Value) -> impl Iterator<Item = String> + '_ {
    node.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

/// The scopes of a scheme in any alternative.
fn secured(node: &Value, scheme: &str) -> BTreeSet<String> {
    let all = node["security"].as_array().into_iter().flatten();
    all.flat_map(|one| words(&one[scheme])).collect()
}

fn stated(node: &Value, state: &str) -> BTreeSet<String> {
    let all = node["x-atlassian-oauth2-scopes"].as_array().into_iter().flatten();
    all.filter(|one| one["state"] == state).flat_map(|one| words(&one["scopes"])).collect()
}

/// The one line of an operation in a vocabulary.
fn line(catalog: &Catalog, id: &str, vocabulary: &str) -> Option<BTreeSet<String>> {
    let lines = lines(catalog, id, vocabulary)?;
    assert_eq!(lines.len(), 1, "{id}: one line, all of it");
    Some(lines[0].iter().cloned().collect())
}

fn some(set: BTreeSet<String>) -> Option<BTreeSet<String>> {
    (!set.is_empty()).then_some(set)
}

fn connect(node: &Value) -> Option<BTreeSet<String>> {
    let scope = node["x-atlassian-connect-scope"].as_str().filter(|scope| *scope != "INACCESSIBLE");
    scope.map(|scope| BTreeSet::from([scope.to_owned()]))
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn importing_again_gives_the_same_bytes() {
    let all: [(Vendor, &[&str], &str); 6] = [
        (Vendor::Atlassian, &[JIRA], "jira"),
        (Vendor::Atlassian, &[CONFLUENCE_1, CONFLUENCE_2], "confluence"),
        (Vendor::Atlassian, &[CONFLUENCE_2, CONFLUENCE_1], "confluence"),
        (Vendor::Atlassian, &[BITBUCKET], "bitbucket"),
        (Vendor::Slack, &[SLACK], "slack"),
        (Vendor::Table, &[BUDDY], "buddy"),
    ];
    for (vendor, specs, product) in all {
        let kept = std::fs::read_to_string(root().join(format!("config/catalogs/{product}.yaml"))).unwrap();
        assert!(imported(vendor, specs).yaml == kept, "config/catalogs/{product}.yaml is not what the import makes");
    }
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn jiras_scopes_are_the_descriptions_in_every_operation() {
    let jira = jira();
    let described = described(JIRA);
    let operations = operations(&described);
    assert_eq!(operations.len(), 616);
    for (method, path, node) in operations {
        let id = found(&jira, &method, &filled(&path)).unwrap();
        assert_eq!(Some(id.as_str()), node["operationId"].as_str());
        let (oauth, current) = (secured(node, "OAuth2"), stated(node, "Current"));
        if OPENED.contains(&id.as_str()) {
            assert!(oauth.is_empty() && current.is_empty(), "{id}: the vendor states its scopes now");
            continue;
        }
        if !current.is_empty() && !oauth.is_empty() {
            assert_eq!(current, oauth, "{id}");
        }
        assert_eq!(line(&jira, &id, "classic"), some(oauth.clone()), "{id}");
        let granular = some(stated(node, "Beta")).filter(|_| !oauth.is_empty());
        assert_eq!(line(&jira, &id, "granular"), granular, "{id}");
        assert_eq!(line(&jira, &id, "connect"), connect(node), "{id}");
    }
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn confluences_scopes_are_the_descriptions_in_every_operation_of_both_versions() {
    let confluence = confluence();
    let (old, new) = (described(CONFLUENCE_1), described(CONFLUENCE_2));
    let (old, new) = (operations(&old), operations(&new));
    assert_eq!((old.len(), new.len()), (175, 212));
    let ids: BTreeSet<&str> = new.iter().filter_map(|(_, _, node)| node["operationId"].as_str()).collect();
    let (mut pairs, mut scopes) = (0, BTreeSet::new());
    for (first, (method, path, node)) in old.iter().map(|one| (true, one)).chain(new.iter().map(|one| (false, one))) {
        let own = node["operationId"].as_str().unwrap();
        let id = if first && ids.contains(own) { format!("{own}.v1") } else { own.to_owned() };
        let path = if first { filled(path) } else { format!("/wiki/api/v2{}", filled(path)) };
        for path in [path.clone(), format!("/ex/confluence/11-aa{path}")] {
            assert_eq!(found(&confluence, method, &path).as_deref(), Some(&*id), "{method} {path}");
        }
        // Two places say the same.
        let (security, current, beta) =
            (secured(node, "oAuthDefinitions"), stated(node, "Current"), stated(node, "Beta"));
        assert_eq!(security, current, "{id}");
        pairs += usize::from(current.len() > 1);
        scopes.extend(current.iter().cloned().map(|scope| (first, scope)));
        let (classic, granular) = (line(&confluence, &id, "classic"), line(&confluence, &id, "granular"));
        if beta.is_empty() {
            assert_eq!(classic.clone().or(granular.clone()), some(current.clone()), "{id}");
            assert!(classic.is_none() || granular.is_none(), "{id}");
            // The words of the two vocabularies differ in form.
            let is_granular =
                current.iter().any(|scope| scope.ends_with(":confluence") && scope != "search:confluence");
            assert_eq!(granular.is_some(), is_granular, "{id}: {current:?}");
        } else {
            assert_eq!((classic, granular), (some(current), some(beta)), "{id}");
        }
        assert_eq!(line(&confluence, &id, "connect"), connect(node), "{id}");
    }
    assert_eq!(pairs, 6 + 34, "several scopes are all needed");
    assert_eq!(scopes.iter().filter(|(first, _)| *first).count(), 28);
    assert_eq!(scopes.iter().filter(|(first, _)| !first).count(), 38);
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn every_space_in_a_confluence_request_is_a_place_or_the_tenant_and_never_nothing() {
    let confluence = confluence();
    let (old, new) = (described(CONFLUENCE_1), described(CONFLUENCE_2));
    let mut located = 0;
    for (method, path, node) in operations(&old).into_iter().chain(operations(&new)) {
        let path = if path.starts_with("/wiki/") || path.starts_with("/atlassian") {
            path
        } else {
            format!("/wiki/api/v2{path}")
        };
        let id = found(&confluence, &method, &filled(&path)).unwrap();
        let touches = &operation(&confluence, &id).touches;
        let in_path = path.contains("{spaceKey}") || path.contains("/spaces/{");
        assert!(!in_path || matches!(touches, Touches::Containers(_)), "{id} names a space");
        located += usize::from(in_path);
        let text = node.to_string();
        let exempt = node["x-atlassian-data-security-policy"][0]["app-access-rule-exempt"] == true;
        if matches!(touches, Touches::Nothing { .. }) {
            assert!(exempt && !mutating(operation(&confluence, &id)), "{id}");
            let names = node["parameters"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str());
            let names: Vec<&str> = names.collect();
            for word in ["space", "content", "page", "expand", "cql"] {
                assert!(!names.iter().any(|name| name.to_lowercase().contains(word)), "{id}: {names:?}");
            }
            assert!(!text.contains("\"requestBody\""), "{id} has a body");
        }
    }
    // 29 of v1 and 18 of v2.
    assert_eq!(located, 29 + 18);
}

/// The parameters of an operation by name, those of its path with them, and whether it has a body.
fn parameters(described: &Value, method: &Method, path: &str) -> (Vec<String>, bool) {
    let item = &described["paths"][path];
    let node = &item[method.as_str().to_lowercase()];
    let all = [&item["parameters"], &node["parameters"]].into_iter().filter_map(Value::as_array).flatten();
    let name = |one: &Value| {
        let one = one["$ref"].as_str().map_or(one, |place| described.pointer(&place[1..]).unwrap());
        one["name"].as_str().unwrap().to_owned()
    };
    (all.map(name).collect(), !node["requestBody"].is_null())
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn no_nothing_has_a_parameter_by_which_others_name_a_container() {
    let is_nothing = |catalog: &Catalog, id: &str| matches!(operation(catalog, id).touches, Touches::Nothing { .. });
    let mut count = 0;
    let names = |catalog: &Catalog| names_of_containers(catalog, &written(&catalog.product));
    let mut check = |names: &BTreeSet<String>, id: &str, parameters: &[String]| {
        count += 1;
        let named: Vec<&String> = parameters.iter().filter(|name| names.contains(&plain(name))).collect();
        assert!(named.is_empty(), "{id}: {named:?}");
    };
    for (catalog, specs) in
        [(jira(), &[JIRA][..]), (confluence(), &[CONFLUENCE_1, CONFLUENCE_2]), (bitbucket(), &[BITBUCKET])]
    {
        let names = names(&catalog);
        assert!(names.iter().any(|name| ["projectid", "spacekey", "reposlug"].contains(&&**name)), "{names:?}");
        for described in specs.iter().map(|spec| described(spec)) {
            for (method, path, _) in operations(&described) {
                let whole = ["/wiki/", "/atlassian"].iter().any(|start| path.starts_with(start));
                let base = match &*catalog.product {
                    "confluence" if !whole => "/wiki/api/v2",
                    _ => base(&catalog, &path),
                };
                let id = found(&catalog, &method, &format!("{base}{}", filled(&path))).unwrap();
                if is_nothing(&catalog, &id) {
                    let (parameters, has_body) = parameters(&described, &method, &path);
                    assert!(!has_body, "{id} has a body");
                    check(&names, &id, &parameters);
                }
            }
        }
    }
    let (slack, methods) = (slack(), described(SLACK));
    let names = names(&slack);
    for (id, method) in methods.as_object().unwrap().iter().filter(|(id, _)| is_nothing(&slack, id)) {
        let arguments = method["args"]["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
        check(&names, id, &arguments.collect::<Vec<_>>());
    }
    // All but Buddy's, whose table has no parameters beside the path's.
    let nothing = |catalog: &Catalog| {
        catalog.operations.iter().filter(|one| matches!(one.touches, Touches::Nothing { .. })).count()
    };
    assert_eq!(count, [jira(), confluence(), bitbucket(), slack].iter().map(|catalog| nothing(catalog)).sum::<usize>());
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn bitbuckets_scopes_are_the_descriptions_in_every_operation() {
    let bitbucket = bitbucket();
    let described = described(BITBUCKET);
    let operations = operations(&described);
    assert_eq!(operations.len(), 336);
    let (mut ids, mut pairs, mut classic, mut granular, mut words) = (BTreeSet::new(), 0, 0, 0, BTreeSet::new());
    for (method, path, node) in operations {
        let full = format!("/2.0{}", filled(&path));
        let mut parameters = Parameters::default();
        let Found::Operation(matched) = bitbucket.matcher.find_with(&method, &full, &mut parameters) else {
            panic!("{method} {path}")
        };
        let operation = &bitbucket.operations[usize::from(matched.operation.0)];
        let id = &*operation.id;
        assert!(ids.insert(id.to_owned()), "{id} is found twice");
        if let Some(own) = node["operationId"].as_str() {
            assert_eq!(id, own);
        }
        let (old, new) = (secured(node, "oauth2"), stated(node, "Current"));
        (pairs, classic, granular) = (
            pairs + usize::from(old.len() > 1),
            classic + usize::from(!old.is_empty()),
            granular + usize::from(!new.is_empty()),
        );
        assert_eq!(line(&bitbucket, id, "classic"), some(old.clone()), "{id}");
        assert_eq!(line(&bitbucket, id, "granular"), some(new.clone()), "{id}");
        assert_eq!(matches!(operation.needs, Needs::Unknown), old.is_empty() && new.is_empty(), "{id}");
        assert_eq!(granular_kinds(node), !new.is_empty(), "{id}: the kinds of credential stand beside their scopes");
        words.extend(new);
        // Whatever names a repository, a project or a workspace touches it.
        let own_workspace =
            ["/teams/{username}", "/users/{selected_user}/search", "/users/{selected_user}/pipelines_config"];
        let workspace = path.contains("{workspace}") || own_workspace.iter().any(|start| path.starts_with(start));
        assert_eq!(matched.tenant, workspace.then_some("~7"), "{method} {path}: a workspace is the tenant");
        assert_eq!(matches!(operation.touches, Touches::Containers(_)), workspace, "{id}");
    }
    assert_eq!((classic, granular, pairs, words.len()), (308, 299, 21, 33));
}

fn granular_kinds(node: &Value) -> bool {
    words(&node["x-atlassian-auth-types"]).any(|kind| kind == "api-token")
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn slacks_scopes_are_the_descriptions_in_every_method() {
    let slack = slack();
    let described = described(SLACK);
    let described = described.as_object().unwrap();
    assert_eq!(described.len(), 322);
    let corrected = ["assistant.search.context", "conversations.open"];
    for (name, method) in described.iter().filter(|(name, _)| !corrected.contains(&name.as_str())) {
        for vocabulary in ["bot", "user", "configuration"] {
            let stated: BTreeSet<String> = words(&method["scope"][vocabulary]).collect();
            let lines = lines(&slack, name, vocabulary);
            let held: BTreeSet<String> = lines.iter().flatten().flatten().cloned().collect();
            assert_eq!(held, stated, "{name}");
            let unclear = ["team.externalTeams.list", "users.discoverableContacts.lookup"].contains(&name.as_str());
            assert!(unclear || lines.iter().flatten().all(|line| line.len() == 1), "{name} is any-of");
        }
    }
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn every_endpoint_of_buddys_table_is_an_operation() {
    let buddy = buddy();
    let table = description(BUDDY);
    let mut ids = BTreeSet::new();
    for line in table.lines().skip(1) {
        let [service, name, verb, path] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let method: Method = verb.parse().unwrap();
        let id = found(&buddy, &method, &filled(path)).unwrap();
        assert_eq!(id, format!("{service}.{name}"));
        let touches = &operation(&buddy, &id).touches;
        assert_eq!(matches!(touches, Touches::Containers(_)), path.contains("{workspaceDomain}"), "{id}");
        ids.insert(id);
    }
    assert_eq!(ids.len(), 106);
    let told = imported(Vendor::Table, &[BUDDY]);
    let unknown = told.notes.iter().find(|note| note.what.starts_with("needs: unknown")).unwrap();
    assert!(unknown.about.len() == 106 && told.no_scopes, "the table states none; the overlay states some");
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn what_an_import_cannot_know_is_counted() {
    let count = |vendor, specs: &[&str], what: &str| {
        let imported = imported(vendor, specs);
        let note = imported.notes.iter().find(|note| note.what.contains(what)).unwrap_or_else(|| panic!("{what}"));
        note.about.len()
    };
    let both = [CONFLUENCE_1, CONFLUENCE_2];
    assert_eq!(count(Vendor::Atlassian, &both, "needs: unknown"), 6);
    assert_eq!(count(Vendor::Atlassian, &both, "closed to OAuth credentials"), 10);
    assert_eq!(count(Vendor::Atlassian, &both, "a literal segment wins"), 16);
    assert_eq!(count(Vendor::Atlassian, &both, "names alone"), 1);
    assert_eq!(count(Vendor::Atlassian, &both, "the same operationId"), 7);
    assert_eq!(count(Vendor::Atlassian, &[BITBUCKET], "closed to OAuth credentials"), 28);
    assert_eq!(count(Vendor::Atlassian, &[BITBUCKET], "closed to API tokens"), 37);
    assert_eq!(count(Vendor::Atlassian, &[BITBUCKET], "named after its path"), 236);
    assert_eq!(count(Vendor::Atlassian, &[BITBUCKET], "a literal segment wins"), 13);
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn no_text_of_the_vendors_is_carried_over() {
    let all = [
        (JIRA, "jira"),
        (CONFLUENCE_1, "confluence"),
        (CONFLUENCE_2, "confluence"),
        (BITBUCKET, "bitbucket"),
        (SLACK, "slack"),
    ];
    for (spec, product) in all {
        let kept = std::fs::read_to_string(root().join(format!("config/catalogs/{product}.yaml"))).unwrap();
        let overlay = std::fs::read_to_string(root().join(format!("config/catalogs/{product}.overlay.yaml"))).unwrap();
        let mut texts = Vec::new();
        collect(&described(spec), &mut texts);
        assert!(texts.len() > 300);
        for text in texts.iter().filter(|text| text.split(' ').count() > 3) {
            assert!(!kept.contains(text.as_str()) && !overlay.contains(text.as_str()), "{text}");
        }
    }
}

fn collect(node: &Value, texts: &mut Vec<String>) {
    match node {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(text) if ["description", "summary", "desc"].contains(&key.as_str()) => {
                        texts.push(text.to_owned())
                    }
                    _ => collect(value, texts),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|one| collect(one, texts)),
        _ => {}
    }
}

// What can be told of the catalogs alone.

#[test]
fn confluences_spaces_are_keys_in_one_version_and_numbers_in_the_other() {
    use scopegate::authz::catalog::{Absent, PlaceAt, Reading};
    let confluence = confluence();
    let place = |id: &str, at: PlaceAt| {
        let Touches::Containers(places) = &operation(&confluence, id).touches else { panic!("{id}") };
        let place = places.iter().find(|place| place.at == at).unwrap_or_else(|| panic!("{id}"));
        (place.reading, place.absent, place.present_is_tenant)
    };
    assert_eq!(place("getSpace", PlaceAt::Path(0)), (Reading::Key, Absent::Deny, false));
    assert_eq!(place("getSpaceById", PlaceAt::Path(0)), (Reading::Container, Absent::Deny, false));
    assert_eq!(place("createPage", PlaceAt::Body("/spaceId".into())), (Reading::Container, Absent::Deny, false));
    assert_eq!(place("createPage", PlaceAt::Body("/parentId".into())), (Reading::Container, Absent::Skip, false));
    assert_eq!(place("createContent", PlaceAt::Body("/space/key".into())), (Reading::Key, Absent::Skip, false));
    assert_eq!(place("getContent", PlaceAt::Query("spaceKey".into())), (Reading::Key, Absent::Tenant, false));
    for id in ["searchByCQL", "searchContentByCQL"] {
        assert_eq!(place(id, PlaceAt::Query("cql".into())), (Reading::Cql, Absent::Tenant, false));
    }
    for id in ["searchUser", "copyPage", "createRelationship", "convertContentBody", "getAttachments"] {
        assert!(matches!(operation(&confluence, id).touches, Touches::Tenant { .. }), "{id}");
    }
    let kind = &confluence.containers[0];
    let (id, key) = (kind.id.as_ref().unwrap(), kind.key.as_ref().unwrap());
    assert!(id.is_match("98306") && !id.is_match("ENG") && !id.is_match("098306"));
    assert!(key.is_match("ENG") && key.is_match("2024") && key.is_match("~5b10ac8d82e05b22cc7d4ef5"));
    assert!(!key.is_match("EN G") && !key.is_match("~") && !key.is_match("ENG\n"));
    let down = |name: &str| confluence.scopes[confluence.scope(name).unwrap().index()].down.len();
    assert_eq!(["NONE", "READ", "WRITE", "DELETE", "SPACE_ADMIN", "ADMIN"].map(down), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn bitbuckets_old_scopes_imply_and_its_new_ones_do_not() {
    let bitbucket = bitbucket();
    let down = |name: &str| {
        let scope = &bitbucket.scopes[bitbucket.scope(name).unwrap().index()];
        scope.down.iter().map(|scope| bitbucket.scope_name(scope).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(down("pullrequest:write"), ["pullrequest", "pullrequest:write", "repository", "repository:write"]);
    assert_eq!(down("project"), ["project", "repository"]);
    assert_eq!(down("repository:admin"), ["repository:admin"]);
    for scope in bitbucket.scopes.iter().filter(|scope| scope.name.ends_with(":bitbucket")) {
        assert_eq!(scope.down.len(), 1, "{}", scope.name);
    }
    let kind = |name: &str| bitbucket.kinds[usize::from(bitbucket.kind(name).unwrap().0)].vocabularies;
    assert_eq!((kind("oauth"), kind("api_token")), (kind("access_token"), kind("forge")));
    assert_ne!(kind("oauth"), kind("api_token"), "neither can use what the other is asked for");
    let kinds: Vec<&str> = bitbucket.containers.iter().map(|kind| &*kind.name).collect();
    assert_eq!(kinds, ["workspace", "project", "repository"]);
    let within = |index: usize| bitbucket.containers[index].within.map(|within| kinds[usize::from(within.0)]);
    assert_eq!([within(0), within(1), within(2)], [None, Some("workspace"), Some("project")]);
    assert!(operation(&bitbucket, "addon-put").guards.len() == 1);
}

#[test]
fn bitbuckets_odd_paths_are_found() {
    let bitbucket = bitbucket();
    let below = "/2.0/repositories/acme/web";
    for (method, path, id) in [
        (Method::GET, "src/main/a/b/c.txt", "repositories-workspace-repo-slug-src-commit-path-get"),
        (Method::GET, "src/main/x", "repositories-workspace-repo-slug-src-commit-path-get"),
        (Method::GET, "src", "repositories-workspace-repo-slug-src-get"),
        (Method::GET, "diff/feature/a..main", "repositories-workspace-repo-slug-diff-spec-get"),
        (Method::GET, "refs/branches/feature/a", "repositories-workspace-repo-slug-refs-branches-name-get"),
        (Method::POST, "commits/release/1.2", "repositories-workspace-repo-slug-commits-revision-post"),
        (
            Method::GET,
            "issues/export/web-issues-7.zip",
            "repositories-workspace-repo-slug-issues-export-repo-name-issues-task-id-zip-get",
        ),
        (
            Method::GET,
            "issues/7/attachments/a/b.png",
            "repositories-workspace-repo-slug-issues-issue-id-attachments-path-get",
        ),
    ] {
        assert_eq!(found(&bitbucket, &method, &format!("{below}/{path}")).as_deref(), Some(id), "{path}");
    }
    for (method, path) in [
        (Method::DELETE, "src/main/a"),
        (Method::GET, "SRC/main/a"),
        (Method::GET, "src/main"),
        (Method::GET, "issues/export/web-issues-.zip"),
        (Method::GET, "issues/export/web-issues-7.ZIP"),
        (Method::GET, "diff"),
    ] {
        assert_eq!(found(&bitbucket, &method, &format!("{below}/{path}")), None, "{path}");
    }
    let snippet = "/2.0/snippets/acme/s1/files/diff";
    let id = "snippets-workspace-encoded-id-files-path-get";
    assert_eq!(found(&bitbucket, &Method::GET, snippet).as_deref(), Some(id), "the first literal decides");
    assert_eq!(found(&bitbucket, &Method::GET, "/2.0/snippets/acme/s1/FILES/diff"), None);
}

#[test]
fn buddys_known_scopes_are_those_of_the_overlay_and_the_rest_is_counted() {
    let buddy = buddy();
    let unknown = buddy.operations.iter().filter(|operation| matches!(operation.needs, Needs::Unknown)).count();
    assert_eq!(unknown, 80);
    assert_eq!(lines(&buddy, "integration.Create", "token"), Some(vec![vec!["INTEGRATION_ADD".to_owned()]]));
    assert_eq!(lines(&buddy, "member.Get", "token"), Some(vec![vec!["WORKSPACE".to_owned()]]));
    let export = operation(&buddy, "pipeline.Get");
    assert_eq!((export.variants.0, export.variant_sources.len()), (3, 1), "as YAML it needs another scope");
    let down = |name: &str| buddy.scopes[buddy.scope(name).unwrap().index()].down.len();
    assert_eq!(["EXECUTION_MANAGE", "REPOSITORY_WRITE", "USER_KEY", "WORKSPACE"].map(down), [3, 2, 2, 1]);
    assert_eq!(&*buddy.tokens.query[0], "access_token");
    let contents = "/workspaces/acme/projects/web/repository/contents/a/b%20c.txt";
    assert_eq!(found(&buddy, &Method::PUT, contents).as_deref(), Some("source.UpdateFile"));
    assert_eq!(base(&buddy, contents), "");
}
