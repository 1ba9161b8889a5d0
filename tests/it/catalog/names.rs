//! Lists of names as a catalog declares them: what is wrong with a declaration, and what the built-in ones ask.

use std::path::Path;

use super::*;

const CATALOG: &str = "version: 1
product: wiki
release: '1'
dialect: problem
bases: [/api/1]
vocabularies: [v]
kinds: [{name: bot, vocabularies: [v], actor: app}]
scopes: [{name: read, vocabularies: [v]}]
containers: [{name: space, id: '[1-9][0-9]*', key: '[A-Z]+'}]
operations:
  - {id: spaces, request: 'GET /spaces', needs: {v: [[read]]}, touches: {tenant: w}}
  - {id: ofTenant, request: 'GET /of/{tenant}/spaces', needs: {v: [[read]]}, touches: {tenant: w}}
  - {id: make, request: 'POST /made', needs: {v: [[read]]}, touches: {tenant: w}}
";

fn parsed(names: &str) -> Result<Catalog, String> {
    let text = format!("{CATALOG}names:\n  - {names}\n");
    let catalog = Catalog::parse(Source { path: Path::new("wiki.yaml"), text: &text }, None);
    catalog.map_err(|problems| problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; "))
}

const GOOD: &str = "{names: space, why: w, request: 'GET /api/1/spaces', items: /all, named: [{id: /id, name: /name}], pages: {argument: page, link: /next}}";

#[test]
fn a_list_of_names_asks_what_the_product_has_and_says_where_all_of_it_stands() {
    let catalog = parsed(GOOD).expect("a catalog");
    let [list] = &catalog.names[..] else { panic!("one list") };
    assert_eq!(list.target("t", None), "/api/1/spaces");
    assert_eq!(list.target("t", Some("a&b=c")), "/api/1/spaces?page=a%26b%3Dc");
    let of_tenant = parsed(&GOOD.replace("/api/1/spaces", "/api/1/of/{tenant}/spaces?limit=7")).expect("a catalog");
    assert_eq!(of_tenant.names[0].target("a/../b", Some("2")), "/api/1/of/a%2F..%2Fb/spaces?limit=7&page=2");
    for (from, to, said) in [
        ("names: space", "names: spaec", "no container is called `spaec`"),
        ("why: w", "why: ' '", "need a reason"),
        ("GET /api/1/spaces", "POST /api/1/made", "`GET /path?query`"),
        ("GET /api/1/spaces", "GET /api/1/nothing", "is no operation of this product"),
        ("GET /api/1/spaces", "GET /api/1/{space}", "`{tenant}` may stand in it"),
        ("GET /api/1/spaces", "GET https://evil.example/", "`GET /path?query`"),
        ("GET /api/1/spaces", "GET /api/1/spaces#x", "`GET /path?query`"),
        ("items: /all", "items: all", "is not a JSON pointer"),
        ("id: /id", "id: id", "is not a JSON pointer"),
        ("named: [{id: /id, name: /name}]", "named: []", "where the id and the name"),
        ("link: /next", "link: /next, cursor: /c", "exactly one of `cursor`, `link` and `last`"),
        (", link: /next", "", "exactly one of `cursor`, `link` and `last`"),
        ("argument: page", "argument: 'a&b'", "is no argument of a query"),
        (
            "link: /next}}",
            "link: /next}}\n  - {names: space, why: w, request: 'GET /api/1/spaces', items: /a, named: [{id: /i, name: /n}]}",
            "is written twice",
        ),
    ] {
        let wrong = GOOD.replace(from, to);
        assert_ne!(wrong, GOOD, "{from}");
        let problems = parsed(&wrong).expect_err(to);
        assert!(problems.contains(said), "{to}: {problems}");
    }
}

#[test]
fn the_built_in_lists_are_of_kinds_that_policies_name() {
    for (product, kinds) in [
        ("slack", &["channel"][..]),
        ("jira", &["project"]),
        ("confluence", &["space"]),
        ("bitbucket", &["project", "repository"]),
        ("buddy", &[]),
    ] {
        let catalog = builtin::catalog(product).expect(product);
        let named = catalog.names.iter().map(|list| &*catalog.containers[usize::from(list.kind.0)].name);
        assert_eq!(named.collect::<Vec<_>>(), kinds, "{product}");
    }
}
