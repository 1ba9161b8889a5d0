//! A query of JQL or CQL: what it is said to stay within, it names; and whatever is put beside it opens it.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use scopegate::authz::query_language::{Bounds, Language, Named, bounds};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(query) = std::str::from_utf8(bytes) else { return Corpus::Reject };
    for language in [Language::Jql, Language::Cql] {
        check(language, query);
    }
    Corpus::Keep
});

fn check(language: Language, query: &str) {
    let Bounds::Within(named) = bounds(language, query) else { return };
    assert!(!named.is_empty(), "within nothing");
    for name in &named {
        let text = match name {
            Named::Container { text, .. } | Named::Issue(text) => *text,
        };
        assert!(query.contains(text), "{text:?} is not written in the query");
    }
    let again = |query: String, opens: bool| {
        let found = bounds(language, &query);
        match found {
            Bounds::Open => assert!(opens, "{query:?} is open"),
            Bounds::Within(found) => {
                assert!(!opens, "{query:?} stays within {found:?}");
                assert_eq!(found.len(), named.len(), "{query:?}");
            }
        }
    };
    // Whatever follows an ORDER BY breaks the query.
    let orders = query.to_ascii_lowercase().contains("order");
    again(format!("{query} OR status = Open"), true);
    again(format!("NOT ({query})"), true);
    again(format!("status = Open OR ({query})"), true);
    again(format!("{query} AND status was Open"), true);
    again(format!(" {query}\r\n"), false);
    if !orders && query.matches('(').count() < 16 {
        again(format!("({query})"), false);
        again(format!("status = Open AND ({query})"), false);
        again(format!("({query}) AND status = Open ORDER BY created"), false);
    }
}
