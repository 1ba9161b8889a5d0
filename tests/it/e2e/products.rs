//! Before Confluence, Bitbucket and Buddy: what is decided there and nowhere else.

use super::*;

/// A gate with one app, whose token is `app`.
fn gate(setup: Setup, product: &str, kind: &str, rules: &str) -> Gate {
    setup.policy("app.yaml", &product_app(product, "app", kind, rules)).start()
}

fn get(path: &str) -> Ask {
    Ask::get(path).bearer("app")
}

#[test]
fn a_space_is_granted_by_its_key_in_v1_and_by_its_number_in_v2() {
    let rules = "grants: [{scopes: ['read:space:confluence', 'read:confluence-space.summary', \
                 'read:content-details:confluence'], actors: [app], in: {space: [ENG, '2024']}}]\n";
    let gate = gate(Setup::confluence(), "confluence", "oauth", rules);
    gate.passes(&get("/wiki/rest/api/space/ENG"));
    gate.passes(&get("/wiki/rest/api/space/eng"));
    gate.passes(&get("/wiki/api/v2/spaces/2024"));
    gate.refuses(&get("/wiki/rest/api/space/HR"), "container_not_granted");
    gate.refuses(&get("/wiki/api/v2/spaces/2025"), "container_not_granted");
    // The number 2024 is granted. A space may be called so as well, and that is another one.
    gate.refuses(&get("/wiki/rest/api/space/2024"), "container_not_granted");
    gate.refuses(&get("/wiki/rest/api/space/EN%20G"), "bad_request");
    gate.refuses(&get("/wiki/rest/api/space"), "container_not_granted");
}

#[test]
fn a_page_of_unknown_place_reaches_the_whole_site() {
    let rules = |area: &str| {
        format!("grants: [{{scopes: ['read:page:confluence', 'write:page:confluence'], actors: [app], in: {area}}}]\n")
    };
    let one = gate(Setup::confluence(), "confluence", "oauth", &rules("{space: ['98306']}"));
    one.refuses(&get("/wiki/api/v2/pages/7"), "container_unresolved");
    // The page of the granted space's number is no more the space than any other.
    one.refuses(&get("/wiki/api/v2/pages/98306"), "container_unresolved");
    one.refuses(&get("/wiki/api/v2/pages/98306/labels"), "container_unresolved");
    one.refuses(&get("/wiki/api/v2/pages/ENG"), "bad_request");
    one.passes(&get("/wiki/api/v2/spaces/98306/pages"));
    one.passes(&get("/wiki/api/v2/pages?space-id=98306"));
    one.refuses(&get("/wiki/api/v2/pages"), "container_not_granted");
    one.refuses(&get("/wiki/api/v2/pages?space-id=98306&id=7"), "container_unresolved");
    one.refuses(&get("/wiki/api/v2/pages?id=98306"), "container_unresolved");
    let create = |body: &str| Ask::post("/wiki/api/v2/pages").bearer("app").json(body);
    one.passes(&create(r#"{"spaceId": "98306", "title": "x"}"#));
    one.refuses(&create(r#"{"spaceId": "98307", "title": "x"}"#), "container_not_granted");
    one.refuses(&create(r#"{"spaceId": "98306", "parentId": "98306"}"#), "container_unresolved");
    one.refuses(&create(r#"{"title": "x"}"#), "bad_request");
    let all = gate(Setup::confluence(), "confluence", "oauth", &rules("all"));
    all.passes(&get("/wiki/api/v2/pages/7"));
    all.passes(&get("/ex/confluence/acme/wiki/api/v2/pages/7"));
    all.refuses(&get("/ex/confluence/other/wiki/api/v2/pages/7"), "unknown_tenant");
}

#[test]
fn a_page_that_is_shown_with_its_macros_reaches_the_whole_site() {
    let gate = |area: &str| {
        let rules = format!("grants: [{{scopes: all, actors: [app], in: {area}}}]\n");
        gate(Setup::confluence(), "confluence", "oauth", &rules)
    };
    let one = gate("{space: [ENG, '98306']}");
    let shown = [
        "/wiki/rest/api/space/ENG/content?expand=body.view",
        "/wiki/rest/api/space/ENG/content?expand=version,body.export_view",
        "/wiki/rest/api/space/ENG/content?expand=version&expand=children.page.body.styled_view",
        "/wiki/rest/api/space/ENG/content?expand=body.storage%2Cbody.view",
        "/wiki/rest/api/space/ENG/content?expand=*",
        "/wiki/api/v2/spaces/98306/pages?body-format=view",
        "/wiki/api/v2/spaces/98306/pages?body-format=storage&body-format=editor",
        "/wiki/api/v2/spaces/98306/pages?body-format=",
    ];
    for path in shown {
        one.refuses(&get(path), "container_not_granted");
    }
    // What another reader may take for it.
    for path in ["?Expand=body.view", "?expand[]=body.view", "?x=1;expand=body.view", "?expand=body.view;x"] {
        one.refuses(&get(&format!("/wiki/rest/api/space/ENG/content{path}")), "bad_request");
    }
    for path in [
        "/wiki/rest/api/space/ENG/content",
        "/wiki/rest/api/space/ENG/content?expand=body.storage,version,space",
        "/wiki/rest/api/space/ENG/content?expand=body,children.page.body.atlas_doc_format",
        "/wiki/api/v2/spaces/98306/pages?body-format=storage",
        "/wiki/api/v2/spaces/98306/pages?body-format=atlas_doc_format&limit=5",
        "/wiki/rest/api/group?expand=body.view",
    ] {
        one.passes(&get(path));
    }
    let all = gate("all");
    shown.iter().for_each(|path| drop(all.passes(&get(path))));
}

#[test]
fn restrictions_need_a_guard_that_connects_delete_does_not_imply() {
    let restrict = Ask::put("/wiki/rest/api/content/7/restriction").bearer("app").json("[]");
    let grant = |scopes: &str| format!("grants: [{{scopes: [{scopes}], actors: [app], in: all}}]\n");
    let scopes =
        "'write:confluence-content', 'read:content-details:confluence', 'write:content.restriction:confluence'";
    gate(Setup::confluence(), "confluence", "oauth", &grant(scopes)).refuses(&restrict, "missing_scope");
    gate(Setup::confluence(), "confluence", "oauth", &grant(&format!("{scopes}, 'gate:admit'"))).passes(&restrict);
}

#[test]
fn another_workspace_is_another_tenant_wherever_it_is_named() {
    let scopes = "repository, 'repository:write', 'pullrequest:write', pipeline, 'gate:admit'";
    let rules = format!("grants: [{{scopes: [{scopes}], actors: [app], in: all}}]\n");
    let gate = gate(Setup::bitbucket(), "bitbucket", "oauth", &rules);
    gate.passes(&get("/2.0/repositories/acme/web"));
    for path in [
        "/2.0/repositories/evil/web",
        "/2.0/repositories/ACME/web",
        "/2.0/repositories/evil/web/src/main/a/b.txt",
        "/2.0/repositories/%7B8b7b3c1e-0000-4000-8000-000000000000%7D/web",
        "/2.0/teams/evil/pipelines_config/variables",
        "/2.0/users/evil/search/code?search_query=x",
        "/2.0/workspaces/evil/search/code?search_query=x",
    ] {
        gate.refuses(&get(path), "unknown_tenant");
    }
    let fork = |body: &str| Ask::post("/2.0/repositories/acme/web/forks").bearer("app").json(body);
    gate.passes(&fork(r#"{"name": "copy", "workspace": {"slug": "acme"}}"#));
    gate.refuses(&fork(r#"{"workspace": {"slug": "evil"}}"#), "unknown_tenant");
    gate.refuses(&fork(r#"{"workspace": {"slug": "acme", "uuid": "{8b7b3c1e}"}}"#), "unknown_tenant");
    // It would lie in the workspace of whoever the credential belongs to.
    gate.refuses(&fork(r#"{"name": "copy"}"#), "bad_request");
    let pull = |source: &str| {
        let body = format!(r#"{{"title": "x", "source": {{"branch": {{"name": "b"}}{source}}}}}"#);
        Ask::post("/2.0/repositories/acme/web/pullrequests").bearer("app").json(&body)
    };
    gate.passes(&pull(""));
    gate.passes(&pull(r#", "repository": {"full_name": "acme/web-fork"}"#));
    gate.refuses(&pull(r#", "repository": {"full_name": "evil/web"}"#), "unknown_tenant");
    gate.refuses(&pull(r#", "repository": {"full_name": "acme-evil/web"}"#), "unknown_tenant");
}

#[test]
fn a_repository_is_granted_alone_and_a_revocation_in_its_project_reaches_it() {
    let rules = "grants: [{scopes: ['repository:write'], actors: [app], in: {repository: [web]}}]\n";
    let web = gate(Setup::bitbucket(), "bitbucket", "access_token", rules);
    web.passes(&get("/2.0/repositories/acme/web"));
    web.passes(&get("/2.0/repositories/acme/web/src/main/dir/file.json"));
    web.refuses(&get("/2.0/repositories/acme/api"), "container_not_granted");
    web.refuses(&get("/2.0/repositories/acme"), "container_not_granted");
    web.refuses(&Ask::new("DELETE", "/2.0/repositories/acme/web").bearer("app"), "missing_scope");
    web.refuses(&Ask::new("DELETE", "/2.0/repositories/acme/web/src/main/file").bearer("app"), "unknown_operation");
    // Which project a repository lies in only a look-up could tell.
    let revoked = format!("{rules}revocations: [{{scopes: [repository], in: {{project: [SEC]}}, reason: SEC-1}}]\n");
    gate(Setup::bitbucket(), "bitbucket", "access_token", &revoked)
        .refuses(&get("/2.0/repositories/acme/web"), "container_revoked");
}

#[test]
fn a_granular_token_is_not_helped_by_a_classic_grant() {
    let rules = "grants: [{scopes: [repository], actors: [app], in: all}]\n";
    gate(Setup::bitbucket(), "bitbucket", "oauth", rules).passes(&get("/2.0/repositories/acme/web"));
    gate(Setup::bitbucket(), "bitbucket", "api_token", rules)
        .refuses(&get("/2.0/repositories/acme/web"), "missing_scope");
    let both = "grants: [{scopes: ['read:repository:bitbucket'], actors: [app], in: all}]\n\
                revocations: [{scopes: [repository], in: all, reason: SEC-1}]\n";
    // A revocation reaches through vocabularies.
    gate(Setup::bitbucket(), "bitbucket", "api_token", both)
        .refuses(&get("/2.0/repositories/acme/web"), "scope_revoked");
}

#[test]
fn a_pipeline_as_yaml_needs_more_than_the_pipeline() {
    let rules = "grants: [{scopes: [EXECUTION_INFO], actors: [app], in: {pipeline: ['12']}}]\n";
    let info = gate(Setup::buddy(), "buddy", "api_token", rules);
    let pipeline = "/workspaces/acme/projects/web/pipelines/12";
    info.passes(&get(pipeline));
    info.passes(&get(&format!("{pipeline}?yaml=false")));
    info.refuses(&get(&format!("{pipeline}?yaml=true")), "missing_scope");
    info.refuses(&get(&format!("{pipeline}?yaml=1")), "missing_scope");
    info.refuses(&get(&format!("{pipeline}?yaml=false&yaml=true")), "bad_request");
    info.refuses(&get("/workspaces/acme/projects/web/pipelines/13"), "container_not_granted");
    info.refuses(&get("/workspaces/evil/projects/web/pipelines/12"), "unknown_tenant");
    let rules = "grants: [{scopes: [EXECUTION_MANAGE], actors: [app], in: all}]\n";
    let manage = gate(Setup::buddy(), "buddy", "api_token", rules);
    manage.passes(&get(&format!("{pipeline}?yaml=true")));
    // No page that was read states a scope for it.
    manage.refuses(&Ask::new("DELETE", pipeline).bearer("app"), "unknown_operation");
}

#[test]
fn buddys_token_in_the_query_is_a_credential() {
    let rules = "grants: [{scopes: [EXECUTION_INFO], actors: [app], in: all}]\n";
    let gate = gate(Setup::buddy(), "buddy", "api_token", rules);
    gate.passes(&Ask::get("/workspaces/acme/projects/web/pipelines?access_token=app"));
    gate.refuses(&Ask::get("/workspaces/acme/projects/web/pipelines?access_token=other"), "unknown_app");
}
