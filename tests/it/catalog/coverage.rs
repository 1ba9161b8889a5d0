//! How the container that a request touches is found: counted for each product, and held to what must be.

use std::collections::{BTreeMap, BTreeSet};

use scopegate::authz::catalog::file::{self, CatalogFile, PlaceFile, TouchesFile};
use scopegate::authz::catalog::{Catalog, Needs, Operation, Touches, builtin};
use serde_json::Value;

use super::{all, cli, confluence, jira, operation, root};

fn shown(product: &str, format: cli::CatalogFormat) -> String {
    let args = cli::ShowArgs { product: product.to_owned(), links: false, coverage: true, format };
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    assert!(cli::show(&args, &mut out, &mut errors).unwrap());
    String::from_utf8(out).unwrap()
}

fn told(product: &str) -> Value {
    serde_json::from_str(&shown(product, cli::CatalogFormat::Json)).unwrap()
}

/// The ids in a list of JSON.
fn ids(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// The ids of all entries that have `operations`.
fn ids_of_all(entries: &Value) -> Vec<String> {
    entries.as_array().unwrap().iter().flat_map(|entry| ids(&entry["operations"])).collect()
}

/// The catalog as the import wrote it, before the overlay.
pub fn written(product: &str) -> CatalogFile {
    let name = scopegate::problem::file_name(format!("config/catalogs/{product}.yaml"));
    file::catalog(&name, &std::fs::read_to_string(root().join(&*name)).unwrap()).unwrap()
}

#[test]
fn each_operation_is_counted_once() {
    for catalog in all() {
        let told = told(&catalog.product);
        let counted = ids_of_all(&told["found"]);
        let every: BTreeSet<String> = catalog.operations.iter().map(|operation| operation.id.to_string()).collect();
        assert_eq!(counted.len(), catalog.operations.len(), "{}", catalog.product);
        assert_eq!(counted.into_iter().collect::<BTreeSet<_>>(), every);
        let sum: u64 = told["found"].as_array().unwrap().iter().map(|row| row["count"].as_u64().unwrap()).sum();
        assert_eq!((sum, &told["operations"]), (every.len() as u64, &every.len().into()));
        // So do the numbers that are printed for people.
        let text = shown(&catalog.product, cli::CatalogFormat::Text);
        let numbers = text.lines().filter(|line| line.starts_with("  ")).map(str::trim_start);
        let numbers = numbers.map_while(|line| line.split_once("  ")?.0.parse::<u64>().ok());
        let numbers: Vec<u64> = numbers.collect();
        let (total, rows) = numbers.split_last().unwrap();
        assert_eq!((rows.iter().sum::<u64>(), *total), (sum, sum), "{text}");
    }
}

#[test]
fn every_nothing_and_every_tenant_stands_below_its_reason() {
    for catalog in all() {
        let told = told(&catalog.product);
        let text = shown(&catalog.product, cli::CatalogFormat::Text);
        let mut by_reason: BTreeMap<(&str, String), BTreeSet<String>> = BTreeMap::new();
        for operation in catalog.operations.iter().filter(|one| !matches!(one.needs, Needs::Unknown)) {
            let (list, why) = match &operation.touches {
                Touches::Nothing { why } => ("nothing", why),
                // Counted by what is remembered.
                Touches::Tenant { .. } if operation.fetches.is_some() => continue,
                Touches::Tenant { why } => ("tenant", why),
                Touches::Containers(_) => continue,
            };
            by_reason.entry((list, why.to_string())).or_default().insert(operation.id.to_string());
            assert!(text.contains(&*operation.id), "{}", operation.id);
        }
        for ((list, why), expected) in &by_reason {
            let entry = told[list].as_array().unwrap().iter().find(|entry| entry["why"] == *why).unwrap();
            assert_eq!(&ids(&entry["operations"]), expected, "{list}: {why}");
            assert!(text.contains(&format!("\n  {why}: {}\n", expected.len())), "{why}");
        }
        let entries = ["nothing", "tenant"].map(|list| told[list].as_array().unwrap().len());
        assert_eq!(entries.iter().sum::<usize>(), by_reason.len(), "{}", catalog.product);
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }
}

/// Operations that the vendor does not mark exempt from its own rule on containers. Four of Confluence's are not marked
/// at all.
const SUBJECT: [(&str, usize); 2] = [("jira", 121), ("confluence", 90 + 179 + 4)];

#[test]
fn what_the_vendors_own_rule_reaches_is_named_or_the_tenant_and_never_nothing() {
    for (product, count) in SUBJECT {
        let catalog = builtin::catalog(product).unwrap();
        let marked = written(product).operations.into_iter().filter(|operation| operation.subject);
        let marked: BTreeSet<String> = marked.map(|operation| operation.id.value).collect();
        let told = told(product);
        assert_eq!((marked.len(), &ids(&told["subject"]["operations"])), (count, &marked));
        let is_found = |id: &&String| match operation(&catalog, id).touches {
            Touches::Containers(_) => true,
            Touches::Tenant { .. } => operation(&catalog, id).fetches.is_some(),
            Touches::Nothing { .. } => panic!("{id} is nothing"),
        };
        let found = marked.iter().filter(is_found).count();
        assert_eq!(told["subject"]["found"], found);
        assert_eq!(told["subject"]["percent"], found * 100 / count);
    }
    let [old, new] = ["/wiki/rest/", "/wiki/api/v2/"].map(|base| {
        let confluence = confluence();
        let subject = confluence.operations.iter().filter(|operation| operation.subject);
        subject.filter(|operation| operation.template.starts_with(base)).count()
    });
    assert_eq!((old, new), (90, 179 + 4));
    for product in ["bitbucket", "slack", "buddy"] {
        assert_eq!(told(product)["subject"]["operations"], serde_json::json!([]), "{product} marks none");
    }
}

#[test]
fn below_a_container_in_the_path_it_is_found() {
    let below = |product: &str, kind: &str| {
        let told = told(product);
        let share = &told["below"][kind];
        let [found, percent] = ["found", "percent"].map(|name| share[name].as_u64().unwrap());
        (ids(&share["operations"]).len() as u64, found, percent)
    };
    assert_eq!(below("bitbucket", "repository"), (214, 214, 100));
    assert_eq!(below("bitbucket", "project"), (22, 22, 100));
    assert_eq!(below("jira", "project"), (116, 116, 100));
    // All but a copy, whose destination another member tells the sort of, and macros.
    assert_eq!(below("confluence", "space"), (267, 264, 98));
    // All but what names its project in query or body.
    assert_eq!(below("buddy", "workspace"), (91, 82, 90));
    assert_eq!(told("slack")["below"], serde_json::json!({}), "its paths name none");
}

#[test]
fn the_container_is_found_for_nine_of_ten_in_confluence_and_bitbucket_and_for_three_of_four_in_jira() {
    let subject = |product: &str| {
        let told = told(product);
        ["found", "percent"].map(|name| told["subject"][name].as_u64().unwrap())
    };
    let [found, percent] = subject("confluence");
    assert!(percent >= 90 && found == 254, "{found}: {percent} %");
    let below = told("bitbucket")["below"]["repository"]["percent"].as_u64().unwrap();
    assert!(below >= 90, "{below} %");
    let [found, percent] = subject("jira");
    assert!(percent >= 75 && found == 95, "{found}: {percent} %");
}

/// A name in lower case, without what parts its words.
pub fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Words by which anything may be called.
const GENERAL: [&str; 5] = ["*", "id", "key", "uuid", "slug"];

/// The parameters of a path. `{id}` says nothing, so it is called after the segment before it: `spaces/{id}`.
fn in_path(template: &str) -> Vec<String> {
    let mut before = "";
    let mut names = Vec::new();
    for segment in template.split('/') {
        for piece in segment.split('{').skip(1) {
            let name = plain(piece.split('}').next().unwrap());
            names.push(if GENERAL.contains(&&*name) { format!("{}/{name}", plain(before)) } else { name });
        }
        before = segment;
    }
    names
}

/// The names by which operations of this catalog name containers: of parameters in paths and queries, of arguments, and
/// the last word of pointers into bodies (`/fields/project/key`: `project`).
pub fn names_of_containers(catalog: &Catalog, written: &CatalogFile) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = catalog.containers.iter().map(|kind| plain(&kind.name)).collect();
    for operation in &written.operations {
        let Some(TouchesFile::Places(places)) = &operation.touches else { continue };
        for PlaceFile { path, query, header, body, keys, multipart, argument, .. } in places {
            let template = operation.request.value.split_once(' ').unwrap().1;
            let of_this_place = |name: &String| path.as_ref().is_some_and(|path| name.ends_with(&plain(&path.value)));
            names.extend(in_path(template).into_iter().filter(of_this_place));
            let direct = [query, header, multipart, argument].into_iter().flatten().map(|name| plain(&name.value));
            names.extend(direct.filter(|name| !GENERAL.contains(&&**name)));
            let last = |pointer: &str| pointer.rsplit('/').find(|word| !GENERAL.contains(word)).map(plain);
            names.extend([body, keys].into_iter().flatten().filter_map(|pointer| last(&pointer.value)));
        }
    }
    // A query may name several where a path names one.
    names.extend(names.clone().into_iter().map(|name| format!("{name}s")));
    names
}

#[test]
fn no_nothing_names_a_container() {
    for catalog in all() {
        let written = written(&catalog.product);
        let names = names_of_containers(&catalog, &written);
        assert!(names.len() >= 4, "{names:?}");
        let mut count = 0;
        for operation in &catalog.operations {
            if !matches!(operation.touches, Touches::Nothing { .. }) {
                continue;
            }
            count += 1;
            // In its path: no parameter is called as those by which others name a container, nor is the tenant one.
            for name in in_path(&operation.template) {
                assert!(!names.contains(&name) && name != "tenant", "{}: {name}", operation.id);
            }
            // In its query and body: the import, which knows all its parameters, found no place there.
            let imported = written.operations.iter().find(|one| one.id.value == *operation.id).unwrap();
            assert!(imported.touches.is_none(), "{} has a place", operation.id);
            assert!(imported.proposed.is_some() && !imported.subject, "{} was not proposed", operation.id);
            assert!(!operation.body || &*catalog.product == "slack", "{} is judged with its body", operation.id);
        }
        let listed = ids_of_all(&told(&catalog.product)["nothing"]).len();
        let unknown = |operation: &&Operation| {
            matches!((&operation.needs, &operation.touches), (Needs::Unknown, Touches::Nothing { .. }))
        };
        assert_eq!(count, listed + catalog.operations.iter().filter(unknown).count());
    }
}

#[test]
fn what_is_found_by_name_says_where() {
    let told = told("jira");
    let row = |how: &str| {
        let row = told["found"].as_array().unwrap().iter().find(|row| row["how"] == how).unwrap();
        (ids(&row["operations"]), row["tenant_if_absent"].as_u64().unwrap())
    };
    for (how, id) in [
        ("path", "getProject"),
        ("look_up", "getIssue"),
        ("look_up", "getVersion"),
        ("query", "findComponentsForProjects"),
        ("body", "createIssue"),
        ("query_language", "searchForIssuesUsingJql"),
        ("job", "getTask"),
        ("tenant", "getAttachment"),
        ("nothing", "getServerInfo"),
        ("needs_unknown", "redact"),
    ] {
        assert!(row(how).0.contains(id), "{id}: {how}");
    }
    assert_eq!(row("path").1, 0, "what stands in a path is always there");
    assert!(row("query").1 > 0 && row("body").1 > 0);
    assert_eq!((row("job").0.len(), row("job").1), (3, 3), "what is not remembered is the tenant's");
    // A place beside it does not count it twice.
    assert!(matches!(operation(&jira(), "editIssue").touches, Touches::Containers(_)));
    assert!(row("body").0.contains("editIssue") && !row("look_up").0.contains("editIssue"));
}

#[test]
fn the_readme_has_the_numbers() {
    let mut counts = BTreeMap::new();
    for catalog in all() {
        for row in told(&catalog.product)["found"].as_array().unwrap() {
            let how = match row["how"].as_str().unwrap() {
                how @ ("tenant" | "nothing" | "needs_unknown") => how.to_owned(),
                _ => "found".to_owned(),
            };
            *counts.entry(how).or_default() += row["count"].as_u64().unwrap();
        }
    }
    let [found, tenant, nothing, unknown] = ["found", "tenant", "nothing", "needs_unknown"].map(|how| counts[how]);
    let sum: u64 = counts.values().sum();
    let line = format!(
        "Of the {sum} built in, {found} have it found, {tenant} touch the tenant, {nothing} nothing; {unknown} state no \
         scope"
    );
    let percent = |product: &str| told(product)["subject"]["percent"].clone();
    let shares = format!("it is found for {} % in Confluence and {} % in Jira", percent("confluence"), percent("jira"));
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [line, shares, format!("Each of the {sum} is asked of a running gate")] {
        assert!(words(&readme).contains(&said), "{said}");
    }
}

#[test]
fn links_and_coverage_are_not_shown_at_once() {
    let both = ["catalog", "show", "jira", "--links", "--coverage"];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_scopegate")).args(both).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
