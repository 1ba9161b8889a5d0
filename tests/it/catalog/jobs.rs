//! Jobs as a catalog declares them: what is wrong with a declaration, that none of the vendors' is left out, and that what
//! evaluates something is the tenant's.

use std::collections::BTreeSet;
use std::path::Path;

use http::Method;
use scopegate::authz::catalog::jobs::{JobId, NamedAt};
use scopegate::authz::catalog::{PlaceAt, Touches};
use serde_json::Value;

use super::vendors::{BITBUCKET, CONFLUENCE_1, CONFLUENCE_2, JIRA, described, operations};
use super::*;

const CATALOG: &str = "version: 1
product: wiki
release: '1'
dialect: problem
bases: [/api/1, /api/2]
tenant_bases: ['/t/{tenant}']
vocabularies: [v]
kinds: [{name: bot, vocabularies: [v], actor: app}]
scopes: [{name: read, vocabularies: [v]}]
containers: [{name: space, id: '[1-9][0-9]*'}]
operations:
  - {id: copy, request: 'POST /spaces/{id}/copy', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id}]}}
  - {id: move, request: 'POST /spaces/{id}/move', needs: {v: [[read]]}, touches: {places: [{kind: space, path: id}]}}
  - {id: wipe, request: 'POST /wipe', needs: {v: [[read]]}, touches: {tenant: w}}
  - {id: version, request: 'GET /version', needs: {v: [[read]]}, touches: {nothing: w}}
  - {id: getTask, request: 'GET /tasks/{id}', needs: {v: [[read]]}, touches: {tenant: w}}
  - {id: stopTask, request: 'POST /tasks/{id}/stop', needs: {v: [[read]]}, touches: {tenant: w}}
  - {id: status, request: 'POST /status', needs: {v: [[read]]}, touches: {tenant: w}}
";

const JOBS: &str = "jobs:
  - job: task
    why: w
    started:
      - {operations: [copy], answer: /a~1b/c~0d}
      - {operations: [move], location: true}
    fetched:
      - {operations: [getTask, stopTask], path: id}
      - {operations: [status], body: /task}
";

fn parsed(jobs: &str) -> Result<Catalog, Vec<String>> {
    let text = format!("{CATALOG}{jobs}");
    let catalog = Catalog::parse(Source { path: Path::new("wiki.yaml"), text: &text }, None);
    catalog.map_err(|problems| problems.into_iter().map(|problem| problem.message).collect())
}

#[test]
fn what_starts_a_job_and_what_asks_about_one_is_said_of_each_operation() {
    let catalog = parsed(JOBS).expect("a catalog");
    let start = |id: &str| operation(&catalog, id).starts.as_deref().map(|start| (start.job, start.at.clone()));
    let names: Box<[Box<str>]> = ["a/b", "c~d"].map(Box::from).into();
    assert_eq!(start("copy"), Some((JobId(0), NamedAt::Answer(names))));
    assert_eq!(start("move"), Some((JobId(0), NamedAt::Location)));
    assert_eq!(start("wipe"), None);
    let at = |id: &str| operation(&catalog, id).fetches.as_deref().map(|fetch| fetch.at.clone());
    assert_eq!(at("getTask"), Some(PlaceAt::Path(0)));
    assert_eq!(at("status"), Some(PlaceAt::Body("/task".into())));
    assert!(operation(&catalog, "status").body && !operation(&catalog, "getTask").body);
    // The answer has to be one that can be looked into, where it is.
    let listened = |id: &str| catalog.is_listened_to(catalog.operation(id).expect("it is there"));
    assert!(listened("copy") && !listened("move") && !listened("getTask"));
}

#[test]
fn a_link_names_a_job_by_the_path_of_what_asks_about_it() {
    let catalog = parsed(JOBS).expect("a catalog");
    let id = |path: &str| catalog.job_in_link(JobId(0), path, "acme");
    for path in ["/api/1/tasks/7", "/api/2/tasks/7", "/t/acme/api/1/tasks/7", "/api/1/tasks/%37"] {
        assert_eq!(id(path).as_deref(), Some("7"), "{path}");
    }
    for path in [
        "/tasks/7",
        "/t/other/api/1/tasks/7",
        "/api/1/tasks/7/stop",
        "/api/1/tasks/",
        "/api/1/tasks/7/",
        "/api/1//tasks/7",
        "/api/1/tasks/..",
        "/api/1/tasks/a%2Fb",
        "/api/1/TASKS/7",
        "/api/1/status",
        "api/1/tasks/7",
        "",
    ] {
        assert_eq!(id(path), None, "{path}");
    }
    assert_eq!(catalog.job_in_link(JobId(1), "/api/1/tasks/7", "acme"), None, "another sort of job");
}

#[test]
fn a_declaration_that_cannot_be_meant_is_an_error() {
    let with = |from: &str, to: &str| {
        assert!(JOBS.contains(from), "{from}");
        parsed(&JOBS.replace(from, to)).expect_err(to).join("; ")
    };
    for (from, to, said) in [
        ("why: w", "why: ' '", "needs a reason"),
        ("answer: /a~1b/c~0d", "answer: taskId", "no JSON pointer"),
        ("answer: /a~1b/c~0d", "answer: '/tasks/*/id'", "no JSON pointer through objects"),
        ("answer: /a~1b/c~0d", "answer: '/a/b/c/d/e/f/g/h/i'", "no JSON pointer"),
        ("answer: /a~1b/c~0d", "answer: /\u{fc}", "no JSON pointer"),
        ("answer: /a~1b/c~0d", "answer: /id, link: /self", "one of `answer`, `link` and `location: true`"),
        ("answer: /a~1b/c~0d", "location: false", "one of `answer`, `link` and `location: true`"),
        ("[copy]", "[coppy]", "no operation is called `coppy`"),
        ("[copy]", "[copy, move]", "`move` starts a job in line"),
        ("[copy]", "[copy, version]", "`version` touches nothing"),
        ("[getTask, stopTask]", "[getTask, stopTasks]", "no operation is called `stopTasks`"),
        ("[getTask, stopTask]", "[getTask, status]", "`status` asks about a job in line"),
        ("[status], body: /task", "[status]", "one of `path`, `query`, `body` and `argument`"),
        (
            "[status], body: /task",
            "[status], body: /task, query: task",
            "one of `path`, `query`, `body` and `argument`",
        ),
        ("[status], body: /task", "[status], body: '/tasks/*'", "not looked for in the items of a list"),
        ("[status], body: /task", "[status], path: task", "has no parameter `task`"),
        ("[getTask, stopTask], path: id", "[getTask, stopTask], query: id", "an operation with its id in the path"),
        (
            "      - {operations: [copy], answer: /a~1b/c~0d}\n      - {operations: [move], location: true}\n",
            "      - {operations: [wipe], answer: /id}\n",
            "nothing is gained by remembering it",
        ),
        (
            "    started:\n      - {operations: [copy], answer: /a~1b/c~0d}\n      - {operations: [move], location: true}\n",
            "    started: []\n",
            "says what it is `started` by",
        ),
    ] {
        let message = with(from, to);
        assert!(message.contains(said), "{to}: {message}");
    }
    let twice = format!("{JOBS}{}", JOBS.trim_start_matches("jobs:\n"));
    assert!(parsed(&twice).expect_err("twice").join("; ").contains("job `task` is written twice"));
}

/// Jobs of the built-in catalogs: what starts one, by sort, and what asks about it.
fn declared(catalog: &Catalog) -> Vec<(String, BTreeSet<String>, BTreeSet<String>)> {
    let of = |number: usize, job: &scopegate::authz::catalog::jobs::Job| {
        let id = |operation: &Operation| operation.id.to_string();
        let all = catalog.operations.iter();
        let is = |job: Option<JobId>| job.is_some_and(|job| usize::from(job.0) == number);
        let started = all.clone().filter(|one| is(one.starts.as_ref().map(|start| start.job))).map(id).collect();
        let fetched = all.filter(|one| is(one.fetches.as_ref().map(|fetch| fetch.job))).map(id).collect();
        (job.name.to_string(), started, fetched)
    };
    catalog.jobs.iter().enumerate().map(|(number, job)| of(number, job)).collect()
}

#[test]
fn each_product_s_jobs_are_these() {
    let counts = |catalog: &Catalog| -> Vec<(String, usize, Vec<String>)> {
        let all = declared(catalog).into_iter();
        all.map(|(name, started, fetched)| (name, started.len(), fetched.into_iter().collect())).collect()
    };
    let fetched = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        counts(&jira()),
        [
            ("task".to_owned(), 21, fetched(&["cancelTask", "getTask"])),
            ("bulk".to_owned(), 6, fetched(&["getBulkOperationProgress"])),
        ]
    );
    assert_eq!(
        counts(&confluence()),
        [
            ("longtask".to_owned(), 4, fetched(&["getTask"])),
            ("content_states".to_owned(), 2, fetched(&["getTaskUpdate"])),
        ]
    );
    let bitbucket = counts(&bitbucket());
    assert_eq!(
        bitbucket.iter().map(|(name, count, _)| (&**name, *count)).collect::<Vec<_>>(),
        [("merge", 1), ("issue_export", 1)]
    );
    // Of their jobs, lists and files in the making, none lies in a container that a request names.
    assert!(slack().jobs.is_empty() && buddy().jobs.is_empty());
}

/// What evaluates an expression, a template, a macro or a query of the caller's own, or converts by doing so.
const EVALUATORS: [(&str, &[&str]); 5] = [
    (
        "jira",
        &[
            "analyseExpression",
            "evaluateJiraExpression",
            "evaluateJSISJiraExpression",
            "getPrecomputations",
            "updatePrecomputations",
            "getPrecomputationsByID",
            "createProjectWithCustomTemplate",
            "editTemplate",
            "liveTemplate",
            "removeTemplate",
            "saveTemplate",
            "getAutoComplete",
            "getAutoCompletePost",
            "getFieldAutoCompleteForQueryString",
            "parseJqlQueries",
            "sanitiseJqlQueries",
            "migrateQueries",
            "readWorkflowPreviews",
        ],
    ),
    (
        "confluence",
        &[
            "convertContentBody",
            "asyncConvertContentBodyRequest",
            "asyncConvertContentBodyResponse",
            "getAndConvertMacroBodyByMacroId",
            "getAndAsyncConvertMacroBodyByMacroId",
        ],
    ),
    ("bitbucket", &[]),
    (
        "slack",
        &[
            "apps.datastore.query",
            "assistant.search.context",
            "functions.completeError",
            "functions.completeSuccess",
            "functions.workflows.steps.list",
            "functions.workflows.steps.responses.export",
            "search.all",
            "search.files",
            "search.messages",
        ],
    ),
    ("buddy", &[]),
];

/// Operations of such a name that evaluate nothing: what is stored lies where it is stored, as it was written.
const STORED: [&str; 9] = [
    "getMacroBodyByMacroId",
    "createContentTemplate",
    "updateContentTemplate",
    "getBlueprintTemplates",
    "getContentTemplates",
    "getContentTemplate",
    "removeTemplate",
    // Its ids become types, and a channel a private one.
    "convertContentIdsToContentTypes",
    "admin.conversations.convertTo",
];

#[test]
fn what_evaluates_something_is_the_tenant_s_and_is_no_job() {
    for (catalog, (product, evaluators)) in all().iter().zip(EVALUATORS) {
        assert_eq!(&*catalog.product, product);
        for id in evaluators {
            let evaluator = operation(catalog, id);
            assert!(matches!(evaluator.touches, Touches::Tenant { .. }), "{product}: {id} is not the tenant's");
            assert!(evaluator.is_of_the_tenant() && evaluator.fetches.is_none(), "{product}: {id}");
        }
        let words = ["expression", "macro", "convert", "template", "precomput", "/eval", "render"];
        for operation in &catalog.operations {
            let said = format!("{} {}", operation.id, operation.template).to_lowercase();
            let is_one = words.iter().any(|word| said.contains(word));
            let is_stored = STORED.iter().any(|id| operation.id.starts_with(id));
            let listed = evaluators.contains(&&*operation.id);
            assert!(!is_one || is_stored || listed, "{product}: {} is not looked at", operation.id);
        }
    }
    // An expression in the body is one, wherever it stands.
    let jira = jira();
    let Touches::Containers(places) = &operation(&jira, "bulkSetIssueProperty").touches else {
        panic!("it has places")
    };
    assert!(places.iter().any(|place| place.at == PlaceAt::Body("/expression".into()) && place.present_is_tenant));
}

#[test]
fn an_evaluator_is_an_argument_with_the_values_that_evaluate_nothing() {
    let with = |evaluators: &str| parsed(&format!("{JOBS}evaluators:\n  {evaluators}\n"));
    let known = with("- {query: expand, why: w, below: body, plain: [storage]}").expect("a catalog");
    assert_eq!(known.evaluators.len(), 1);
    for (wrong, said) in [
        ("- {query: expand, why: ' ', plain: [storage]}", "needs a reason"),
        ("- {query: '', why: w, plain: [storage]}", "names and values are words"),
        ("- {query: expand, why: w, below: a.b, plain: [storage]}", "names and values are words"),
        ("- {query: expand, why: w, plain: ['*']}", "names and values are words"),
        ("- {query: expand, why: w, plain: [a]}\n  - {query: expand, why: w, plain: [b]}", "is written twice"),
    ] {
        let problems = with(wrong).expect_err(wrong).join("; ");
        assert!(problems.contains(said), "{wrong}: {problems}");
    }
    // The forms in which Confluence shows a body with its macros run.
    let [format, expand] = &confluence().evaluators[..] else { panic!("two arguments") };
    assert_eq!((&*format.query, &*expand.query, expand.below.as_deref()), ("body-format", "expand", Some("body")));
    for form in ["view", "export_view", "styled_view", "anonymous_export_view", "editor", "dynamic"] {
        assert!(!format.plain.iter().chain(&expand.plain).any(|plain| **plain == *form), "{form}");
    }
}

/// Operations whose answers look like a job's and are none, with the reason.
const NO_JOBS: [(&str, &str); 17] = [
    ("getAttachmentContent", "its 303 leads to the file"),
    ("getAttachmentThumbnail", "its 303 leads to the picture"),
    ("deleteWebhookById", "its 202 names nothing"),
    ("cancelTask", "its 202 is about the task that it names"),
    ("redact", "nobody may call it: its scopes are not stated"),
    ("readWorkflowSchemes", "the task in its answer is somebody else's"),
    ("ConnectToForgeMigrationFetchTaskResource.fetchMigrationTask_get", "tells of a task that nobody here started"),
    ("getTask", "asks"),
    ("getBulkOperationProgress", "asks"),
    ("asyncConvertContentBodyRequest", "evaluates macros: its result is the tenant's"),
    ("getAndAsyncConvertMacroBodyByMacroId", "evaluates macros: its result is the tenant's"),
    ("postRedactPage", "its 202 holds what was done"),
    ("postRedactBlog", "its 202 holds what was done"),
    ("updateSpaceRole", "reaches the tenant, and nobody says where its task is asked about"),
    ("deleteSpaceRole", "reaches the tenant, and nobody says where its task is asked about"),
    ("getPullrequestsForCommit", "its 202 says that there is nothing yet"),
    ("updateEnvironmentForRepository", "its 202 names nothing"),
];

/// Whether a schema has a member of one of these names, within a few levels.
fn has_member(root: &Value, schema: &Value, names: &[&str], levels: usize) -> bool {
    if let Some(pointer) = schema["$ref"].as_str() {
        let target = root.pointer(pointer.trim_start_matches('#')).unwrap();
        return levels > 0 && has_member(root, target, names, levels - 1);
    }
    let several = ["allOf", "oneOf", "anyOf"].into_iter().flat_map(|word| schema[word].as_array()).flatten();
    let inner = schema["properties"].as_object().into_iter().flat_map(|members| members.values());
    let named = names.iter().any(|name| !schema["properties"][*name].is_null());
    let within = |one: &Value| levels > 0 && has_member(root, one, names, levels - 1);
    named || several.chain(inner).chain([&schema["items"]]).any(within)
}

/// The first schema of each answer of success.
fn successes(node: &Value) -> Vec<(String, &Value)> {
    let answers = node["responses"].as_object().unwrap().iter();
    let good = answers.filter(|(status, _)| status.starts_with(['2', '3']));
    good.map(|(status, answer)| {
        let content = answer["content"].as_object().and_then(|content| content.values().next());
        (status.clone(), content.map_or(&Value::Null, |content| &content["schema"]))
    })
    .collect()
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn no_job_of_the_vendors_descriptions_is_left_out() {
    let specs = [
        (jira(), JIRA, ""),
        (confluence(), CONFLUENCE_1, ""),
        (confluence(), CONFLUENCE_2, "/wiki/api/v2"),
        (bitbucket(), BITBUCKET, "/2.0"),
    ];
    let (mut jobs, mut others) = (BTreeSet::new(), BTreeSet::new());
    for (catalog, spec, base) in specs {
        let described = described(spec);
        for (method, path, node) in operations(&described) {
            let Some(id) = found(&catalog, &method, &format!("{base}{}", filled(&path))) else { continue };
            let known = operation(&catalog, &id);
            let looks_like_one = successes(node).iter().any(|(status, schema)| {
                let late = ["202", "303"].contains(&&**status);
                late || has_member(&described, schema, &["taskId", "asyncId", "jobId"], 3)
            });
            let excused = NO_JOBS.iter().find(|(other, _)| *other == id);
            // A status that is told of an import, an export or a merge is asked for by what it is below.
            let is_polled = method == Method::GET && path.contains("/issues/") || known.fetches.is_some();
            let is_import = id == "repositories-workspace-repo-slug-issues-import-post";
            match (known.starts.is_some(), excused) {
                (true, None) => drop(jobs.insert(format!("{}/{id}", catalog.product))),
                (false, Some(_)) => drop(others.insert(id)),
                (true, Some((_, why))) => panic!("{id} starts a job, and: {why}"),
                (false, None) => assert!(!looks_like_one || is_polled || is_import, "{id} looks like a job's start"),
            }
        }
    }
    assert_eq!((jobs.len(), others.len()), (21 + 6 + 4 + 2 + 2, NO_JOBS.len()));
}

#[test]
#[ignore = "needs ../shared: the vendors' descriptions"]
fn what_is_read_of_answers_stands_there_as_the_vendors_describe_them() {
    let specs = [(jira(), JIRA, ""), (confluence(), CONFLUENCE_1, ""), (bitbucket(), BITBUCKET, "/2.0")];
    let mut read = 0;
    for (catalog, spec, base) in specs {
        let described = described(spec);
        for (method, path, node) in operations(&described) {
            let Some(id) = found(&catalog, &method, &format!("{base}{}", filled(&path))) else { continue };
            let Some(start) = operation(&catalog, &id).starts.as_deref() else { continue };
            let answers = successes(node);
            match start.at.pointer() {
                None => assert!(answers.iter().any(|(status, _)| ["202", "303"].contains(&&**status)), "{id}"),
                Some([]) => assert!(answers.iter().any(|(_, schema)| schema["type"] == "string"), "{id}"),
                Some(names) => {
                    let last = &**names.last().unwrap();
                    assert!(
                        answers.iter().any(|(_, schema)| has_member(&described, schema, &[last], 4)),
                        "{id}: {last}"
                    );
                }
            }
            read += 1;
        }
    }
    assert_eq!(read, 21 + 6 + 4 + 2 + 2);
}
