//! Descriptions of anybody's API: what is read, what is asked, and what is not carried.

use std::path::Path;

use http::Method;
use scopegate::authz::catalog::load::Source;
use scopegate::authz::catalog::matcher::{Found, Parameters};
use scopegate::authz::catalog::{Catalog, Needs, Touches};
use scopegate::cli::catalog::{ImportArgs, import as command};
use scopegate::import::{Combine, Imported, Settings, Vendor, import};

const TICKETS: &str = r"
openapi: 3.0.3
info: {title: Tickets API, version: '7'}
servers: [{url: 'https://tickets.example/api/v2'}]
components:
  securitySchemes:
    oauth: {type: oauth2, flows: {clientCredentials: {tokenUrl: /t, scopes: {read: r, write: w, admin: a, unused: u}}}}
    key: {type: apiKey, in: header, name: x-key}
security: [{oauth: [read]}]
paths:
  /tickets:
    get: {operationId: listTickets}
    post: {operationId: createTicket, security: [{oauth: [read, write]}]}
  /tickets/{id}:
    get: {operationId: getTicket, security: [{oauth: [read]}, {oauth: [admin]}, {}, {key: []}]}
    delete: {security: []}
  /tickets/search:
    get: {operationId: searchTickets}
";

fn settings() -> Settings<'static> {
    Settings { combine: Some(Combine::AsWritten), ..Settings::default() }
}

fn imported(text: &str, settings: Settings<'_>) -> Imported {
    import(Vendor::Openapi, &[text], settings).unwrap()
}

fn refused(text: &str, settings: Settings<'_>) -> String {
    import(Vendor::Openapi, &[text], settings).unwrap_err().to_string()
}

fn catalog(imported: &Imported) -> Catalog {
    Catalog::parse(Source { path: Path::new("own.yaml"), text: &imported.yaml }, None).unwrap()
}

/// The alternatives of an operation in all vocabularies, in words; none where it is unknown.
fn needs(catalog: &Catalog, id: &str) -> Vec<String> {
    let operation =
        catalog.operations.iter().find(|operation| &*operation.id == id).unwrap_or_else(|| panic!("no {id}"));
    let Needs::Lines(all) = &operation.needs else { return Vec::new() };
    let lines = all.iter().flat_map(|of| &of.lines);
    let words = |scopes: &[scopegate::authz::scope::ScopeId]| {
        scopes.iter().map(|scope| catalog.scope_name(*scope)).collect::<Vec<_>>().join("+")
    };
    lines.map(|line| words(&line.scopes)).collect()
}

fn counted(imported: &Imported, what: &str) -> usize {
    imported.notes.iter().filter(|note| note.what.contains(what)).map(|note| note.about.len()).sum()
}

fn found(catalog: &Catalog, method: &str, path: &str) -> String {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    match catalog.matcher.find(&method, path) {
        Found::Operation(matched) => catalog.operations[usize::from(matched.operation.0)].id.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_description_in_json_or_yaml_gives_the_same_catalog_every_time() {
    let first = imported(TICKETS, settings());
    assert_eq!(imported(TICKETS, settings()).yaml, first.yaml);
    let value: serde_json::Value = serde_yaml::from_str(TICKETS).unwrap();
    assert_eq!(imported(&value.to_string(), settings()).yaml, first.yaml);
    let catalog = catalog(&first);
    assert_eq!((&*catalog.product, &*catalog.release), ("tickets-api", "7"));
    assert_eq!(found(&catalog, "GET", "/api/v2/tickets/search"), "searchTickets");
    assert_eq!(found(&catalog, "GET", "/api/v2/tickets/7"), "getTicket");
    assert_eq!(found(&catalog, "DELETE", "/api/v2/tickets/7"), "tickets-id-delete");
    assert_eq!(found(&catalog, "GET", "/tickets/7"), "UnknownPath", "the server's base path is before every path");
    let named = imported(TICKETS, Settings { product: Some("desk"), release: Some("2026"), ..settings() });
    assert!(named.yaml.starts_with("version: 1\nproduct: desk\nrelease: '2026'\n"), "{}", named.yaml);
}

#[test]
fn and_or_or_is_said_by_who_imports() {
    let of = |combine| {
        let imported = imported(TICKETS, Settings { combine: Some(combine), ..Settings::default() });
        let catalog = catalog(&imported);
        ["createTicket", "getTicket", "listTickets"].map(|id| needs(&catalog, id))
    };
    let expected = |all: [&[&str]; 3]| all.map(|words| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    assert_eq!(of(Combine::AsWritten), expected([&["read+write"], &["admin", "read"], &["read"]]));
    assert_eq!(of(Combine::AllOf), expected([&["read+write"], &["admin+read"], &["read"]]));
    assert_eq!(of(Combine::AnyOf), expected([&["read", "write"], &["admin", "read"], &["read"]]));
    let said = refused(TICKETS, Settings::default());
    assert!(said.contains("2 operations state several scopes") && said.contains("--combine all-of"), "{said}");
    let plain = TICKETS.replace("[read, write]", "[write]").replace("{oauth: [admin]}, ", "");
    assert_eq!(needs(&catalog(&imported(&plain, Settings::default())), "createTicket"), ["write"], "nothing to ask");
}

#[test]
fn an_alternative_without_a_scope_never_counts() {
    let imported = imported(TICKETS, settings());
    let catalog = catalog(&imported);
    assert_eq!(needs(&catalog, "getTicket"), ["admin", "read"], "neither `{{}}` nor the key");
    assert_eq!(counted(&imported, "an alternative without a scope"), 1);
    assert!(needs(&catalog, "tickets-id-delete").is_empty(), "`security: []` is unknown, not free");
    assert_eq!(counted(&imported, "needs: unknown"), 1);
    assert_eq!(counted(&imported, "no container"), 5);
    assert_eq!(counted(&imported, "a literal segment wins"), 1);
    assert_eq!(counted(&imported, "no operation needs"), 1);
    assert_eq!(counted(&imported, "proposed as `nothing`"), 2);
    assert!(catalog.scope("unused").is_some(), "known, so a policy may name it");
    assert!(catalog.operations.iter().all(|operation| matches!(operation.touches, Touches::Tenant { .. })));
}

#[test]
fn swagger_2_and_openapi_3_1_are_read() {
    let swagger = r#"{"swagger": "2.0", "info": {"title": "S", "version": "1"}, "basePath": "/v1/",
        "securityDefinitions": {"auth": {"type": "oauth2", "flow": "implicit", "scopes": {"a:b": "x"}}},
        "paths": {"/x": {"get": {"operationId": "getX", "security": [{"auth": ["a:b"]}]}}}}"#;
    let swagger = catalog(&imported(swagger, Settings::default()));
    assert_eq!(found(&swagger, "GET", "/v1/x"), "getX");
    assert_eq!((needs(&swagger, "getX"), &*swagger.vocabularies[0]), (vec!["a:b".to_owned()], "auth"));
    let one = "openapi: 3.1.0\ninfo: {title: S, version: 1.0.0}\nwebhooks: {a: {post: {}}}\ncomponents: {pathItems: {p: {get: \
               {operationId: getP, security: [{bearer: [s]}]}}}}\npaths: {/p: {$ref: '#/components/pathItems/p'}}\n";
    assert_eq!(needs(&catalog(&imported(one, Settings::default())), "getP"), ["s"]);
    for (text, said) in [
        ("openapi: 4.0.0\npaths: {/a: {get: {}}}", "version 4.0.0"),
        ("swagger: '1.2'\npaths: {/a: {get: {}}}", "version 1.2"),
        ("paths: {/a: {get: {}}}", "no `openapi:`"),
        ("openapi: 3.0.0\npaths: {}", "no operation"),
        ("[", "not YAML"),
        ("{", "not JSON"),
        ("openapi: 3.0.0\nopenapi: 3.0.0\n", "not YAML"),
    ] {
        assert!(refused(text, Settings::default()).contains(said), "{text}: {}", refused(text, Settings::default()));
    }
}

#[test]
fn a_description_without_scopes_refuses_everything_and_says_so() {
    let text = "openapi: 3.0.0\ninfo: {title: Bare, version: '1'}\npaths: {/a: {get: {operationId: getA}}}\n";
    let bare = imported(text, Settings::default());
    assert!(bare.no_scopes && !imported(TICKETS, settings()).no_scopes);
    assert!(matches!(catalog(&bare).operations[0].needs, Needs::Unknown));
    let overlay = "version: 1\noverlay: bare\nscopes: [{name: read, vocabularies: [scopes]}]\n\
                   needs: [{why: w, operations: [getA], needs: {scopes: [[read]]}}]\nnothing: [{why: w, operations: [getA]}]\n";
    let path = Path::new("own.yaml");
    let overlay = Source { path: Path::new("own.overlay.yaml"), text: overlay };
    let mended = Catalog::parse(Source { path, text: &bare.yaml }, Some(overlay)).unwrap();
    assert_eq!(needs(&mended, "getA"), ["read"]);
}

#[test]
fn scopes_may_stand_in_an_extension() {
    let text = |extension: &str| {
        format!(
            "openapi: 3.0.0\ninfo: {{title: E, version: '1'}}\npaths: {{/a: {{get: {{operationId: getA, {extension}}}}}}}\n"
        )
    };
    let from = |extension: &str, scopes_from| {
        let settings =
            Settings { scopes_from: Some(scopes_from), combine: Some(Combine::AllOf), ..Settings::default() };
        needs(&catalog(&imported(&text(extension), settings)), "getA")
    };
    assert_eq!(from("x-scopes: [a, b]", "x-scopes"), ["a+b"]);
    assert_eq!(from("x-scopes: 'a b'", "x-scopes"), ["a+b"]);
    assert_eq!(from("x-auth: {need: [c]}", "/x-auth/need"), ["c"]);
    assert_eq!(from("x-scopes: {bot: [a], user: [b]}", "x-scopes"), ["a", "b"], "a line for each vocabulary");
    assert_eq!(from("security: [{o: [s]}]", "x-scopes"), Vec::<String>::new(), "nowhere else");
    let settings = Settings { scopes_from: Some("x-scopes"), ..Settings::default() };
    let unread = imported(&text("x-scopes: [1]"), settings);
    assert_eq!(counted(&unread, "in a form that is not read"), 1);
    assert_eq!(counted(&imported(&text("x-scopes: [\"a\\nb\"]"), settings), "needs: unknown"), 1);
}

#[test]
fn odd_paths_are_matched_as_they_are_meant() {
    let text = r"
openapi: 3.0.0
info: {title: Odd, version: '1'}
security: [{o: [s]}]
paths:
  /v1/{+name}: {get: {operationId: get}, patch: {operationId: patch}}
  /v1/{+name}:cancel: {post: {operationId: cancel}}
  /v1/{+parent}/operations: {get: {operationId: list}}
  /v1/projects/{id}: {get: {operationId: project}}
  /jobs/{id}: {get: {operationId: job}, post: {operationId: update}}
  /jobs/{id}:stop: {post: {operationId: stop}}
  /diff/{base}...{head}: {get: {operationId: diff}}
  /files/{proxy+}: {get: {operationId: file}}
";
    let odd = catalog(&imported(text, Settings::default()));
    for (method, path, id) in [
        ("GET", "/v1/projects/p/things/t", "get"),
        ("PATCH", "/v1/a", "patch"),
        ("POST", "/v1/projects/p/jobs/j:cancel", "cancel"),
        ("GET", "/v1/projects/p/operations", "list"),
        ("GET", "/v1/projects/p", "project"),
        ("POST", "/v1/projects/p", "UnknownMethod"),
        ("GET", "/v1/a:cancel", "UnknownMethod"),
        ("POST", "/v1/a/:cancel", "UnknownMethod"),
        ("GET", "/v1", "UnknownPath"),
        ("GET", "/jobs/7", "job"),
        ("POST", "/jobs/7", "update"),
        ("POST", "/jobs/7:stop", "stop"),
        ("GET", "/jobs/7:stop", "UnknownMethod"),
        ("POST", "/jobs/7:STOP", "Lookalike"),
        ("POST", "/jobs/:stop", "update"),
        ("GET", "/diff/a...b", "diff"),
        ("GET", "/diff/a..b", "UnknownPath"),
        ("GET", "/files/a/b/c.txt", "file"),
        ("GET", "/files", "UnknownPath"),
        ("GET", "/v1/PROJECTS/p", "Lookalike"),
        ("GET", "/V1/a", "UnknownPath"),
    ] {
        assert_eq!(found(&odd, method, path), id, "{method} {path}");
    }
    let mut parameters = Parameters::default();
    let (one, two) = ("/diff/a...b", "/diff/a...b...c");
    assert!(matches!(odd.matcher.find_with(&Method::GET, one, &mut parameters), Found::Operation(_)));
    assert_eq!(parameters.iter().collect::<Vec<_>>(), ["a", "b"]);
    assert!(matches!(odd.matcher.find_with(&Method::GET, two, &mut parameters), Found::Operation(_)));
    assert_eq!((parameters.get(0), parameters.get(1)), (None, None), "two ways to read it tell nothing");
}

#[test]
fn what_no_request_can_ask_for_is_not_carried_and_told() {
    let text = r"
openapi: 3.0.0
info: {title: Told, version: '1'}
security: [{o: [s]}]
paths:
  /a/: {get: {operationId: slash}}
  /a?b=c: {get: {operationId: query}}
  /a;b: {get: {operationId: semicolon}}
  /{a}{b}: {get: {operationId: beside}}
  /x/{a}: {get: {operationId: one}}
  /x/{b}: {get: {operationId: other, security: [{o: [t]}]}, put: {operationId: put}}
  /tenants/{tenant}: {get: {operationId: 'in quotes: yes'}}
";
    let told = imported(text, Settings::default());
    let catalog = catalog(&told);
    let ids: Vec<&str> = catalog.operations.iter().map(|operation| &*operation.id).collect();
    assert_eq!(ids, ["tenants-tenant-get", "one", "put"]);
    assert_eq!(counted(&told, "ends in a slash"), 1);
    assert_eq!(counted(&told, "no request can have"), 1);
    assert_eq!(counted(&told, "cannot be told"), 2);
    assert_eq!(counted(&told, "carried once"), 1);
    assert!(needs(&catalog, "one").is_empty(), "of two that differ nobody knows which is meant");
    assert_eq!(counted(&told, "a parameter called `tenant`"), 1);
    assert_eq!(counted(&told, "names alone"), 1);
}

#[test]
fn several_base_paths_are_aliases() {
    let of = |servers: &str| {
        let text = format!(
            "openapi: 3.0.0\ninfo: {{title: B, version: '1'}}\nservers: {servers}\nsecurity: [{{o: [s]}}]\n\
             paths: {{/things: {{get: {{operationId: list}}}}}}\n"
        );
        imported(&text, Settings::default())
    };
    let two = of("[{url: 'https://a.example/v1/'}, {url: '/v2'}]");
    for path in ["/v1/things", "/v2/things"] {
        assert_eq!(found(&catalog(&two), "GET", path), "list", "{path}");
    }
    let variables = of(
        "[{url: 'https://{host}/{version}', variables: {host: {default: h}, version: {default: v1, enum: [v1, v3]}}}]",
    );
    assert_eq!(found(&catalog(&variables), "GET", "/v3/things"), "list");
    let mixed = of("[{url: 'https://a.example'}, {url: '/v2'}]");
    assert_eq!(
        (found(&catalog(&mixed), "GET", "/things"), found(&catalog(&mixed), "GET", "/v2/things")),
        ("list".to_owned(), "UnknownPath".to_owned())
    );
    assert_eq!(counted(&mixed, "cannot stand side by side"), 2);
    assert_eq!(counted(&of("[{url: '/a/../b'}]"), "no request can have"), 1);
}

#[test]
fn references_in_circles_and_huge_descriptions_end() {
    let circle = "openapi: 3.0.0\ninfo: {title: C, version: '1'}\npaths:\n  /a: {$ref: '#/paths/~1b'}\n  /b: {$ref: '#/paths/~1a'}\n  \
                  /c: {get: {operationId: getC, parameters: [{$ref: '#/paths/~1c/get/parameters/0'}], security: [{o: [s]}]}}\n";
    assert_eq!(catalog(&imported(circle, Settings::default())).operations.len(), 1);
    let many: String = (0..70_000).map(|n| format!("\"/p{n}\":{{\"get\":{{}}}},")).collect();
    let many = format!("{{\"openapi\":\"3.0.0\",\"paths\":{{{}}}}}", many.trim_end_matches(','));
    assert!(refused(&many, Settings::default()).contains("70000 operations"));
    let deep = format!("{{\"openapi\":\"3.0.0\",\"paths\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(refused(&deep, Settings::default()).contains("recursion limit"));
}

#[test]
fn what_an_author_writes_cannot_leave_its_place_in_the_yaml() {
    let text = r##"{"openapi": "3.0.0", "info": {"title": "x'\nproduct: y", "version": "1'\nkinds: []"},
        "paths": {"/a": {"get": {"operationId": "a\n  - id: b", "security": [{"o'\n": ["s'}, {name: t", "#x"]}]}}}}"##;
    let settings = Settings { release: Some("1"), combine: Some(Combine::AllOf), ..Settings::default() };
    let catalog = catalog(&imported(text, settings));
    assert_eq!(&*catalog.product, "x-product-y");
    assert_eq!(catalog.operations.len(), 1);
    assert_eq!(&*catalog.operations[0].id, "a-get");
    assert!(needs(&catalog, "a-get").is_empty(), "no scope has a blank");
    assert!(refused(text, Settings { release: None, ..settings }).contains("--release"));
    assert!(refused(text, Settings { product: Some("X Y"), ..settings }).contains("--product"));
}

#[test]
fn a_table_of_anybodys_endpoints_is_read() {
    let table = "id\tmethod\tpath\nlist\tget\t/things\nget\tGET\t/things/{thing}\n\n";
    let settings = Settings { product: Some("things"), ..Settings::default() };
    let told = import(Vendor::Table, &[table], settings).unwrap();
    assert!(told.no_scopes);
    assert_eq!(found(&catalog(&told), "GET", "/things/7"), "get");
    for (table, said) in [
        ("method\tid\nGET\ta\n", "no column `path`"),
        ("path\n/a\n", "no column `method`"),
        ("method\tpath\nGET\t/a b\n", "neither literal"),
        ("id\tmethod\tpath\na\tGET\t/a\na\tPUT\t/a\n", "two lines are called `a`"),
        ("id\tmethod\tpath\na b\tGET\t/a\n", "is no id"),
        ("id\tmethod\tpath\na\tGET\t/a\nb\tGET\t/a\n", "the same method and path"),
    ] {
        let refused = import(Vendor::Table, &[table], settings).unwrap_err().to_string();
        assert!(refused.contains(said), "{table}: {refused}");
    }
    assert!(import(Vendor::Table, &[table], Settings::default()).unwrap_err().to_string().contains("--product"));
}

#[test]
fn atlassians_descriptions_are_told_apart_by_their_titles() {
    let of = |texts: &[&str]| import(Vendor::Atlassian, texts, Settings::default()).unwrap_err().to_string();
    assert!(of(&[r#"{"info": {"title": "Trello"}}"#]).contains("`Trello` is no description"));
    let (one, two) =
        (r#"{"info": {"title": "Confluence REST V1"}}"#, r#"{"info": {"title": "The Jira Cloud platform REST API"}}"#);
    assert!(of(&[one, two]).contains("v1 and v2 together"));
    assert!(of(&[one, one]).contains("v1 and v2 together"));
    assert!(
        import(Vendor::Slack, &["{}", "{}"], Settings::default()).unwrap_err().to_string().contains("one description")
    );
}

#[test]
fn the_command_writes_a_catalog_and_says_what_it_cannot_know() {
    let folder = tempfile::tempdir().unwrap();
    let run = |text: &str, vendor, combine| {
        let spec = folder.path().join("spec.yaml");
        std::fs::write(&spec, text).unwrap();
        let args = ImportArgs {
            vendor,
            spec: vec![spec],
            output: None,
            release: None,
            product: None,
            scopes_from: "security".to_owned(),
            combine,
        };
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let done = command(&args, &mut out, &mut errors).unwrap();
        (done, String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap())
    };
    let (done, out, errors) = run(TICKETS, Vendor::Openapi, Some(Combine::AsWritten));
    assert!(done && out.starts_with("version: 1\nproduct: tickets-api\n"), "{out}");
    assert!(errors.contains("    1  needs: unknown") && errors.contains("\n         tickets-id-delete\n"), "{errors}");
    assert!(!errors.contains("WARNING"), "{errors}");
    let (done, out, errors) = run(TICKETS, Vendor::Openapi, None);
    assert!(!done && out.is_empty() && errors.contains("spec.yaml: 2 operations state several scopes"), "{errors}");
    let (done, _, errors) = run(TICKETS, Vendor::Slack, Some(Combine::AllOf));
    assert!(!done && errors.contains("for --vendor openapi"), "{errors}");
    let bare = "openapi: 3.0.0\ninfo: {title: Bare, version: '1'}\npaths: {/a: {get: {}}}\n";
    let (done, _, errors) = run(bare, Vendor::Openapi, None);
    assert!(done && errors.contains("WARNING") && errors.contains("refuses every request"), "{errors}");
}
