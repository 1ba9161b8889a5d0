//! What is read, what is not, and a naive reader of the same language: what it finds lies where the query was said to stay.

use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::*;

/// The names of a query that stays within them, as written; `None`: it is open.
fn within(language: Language, query: &str) -> Option<String> {
    match bounds(language, query) {
        Bounds::Open => None,
        Bounds::Within(named) => {
            let text = |named: &Named<'_>| match named {
                Named::Container { text, quoted: true } => format!("'{text}'"),
                Named::Container { text, quoted: false } => (*text).to_owned(),
                Named::Issue(key) => format!("issue {key}"),
            };
            Some(named.iter().map(text).collect::<Vec<_>>().join(" "))
        }
    }
}

#[test]
fn a_query_stays_within_what_each_of_its_branches_names() {
    for (query, named) in [
        ("project = PROJ", "PROJ"),
        ("project=PROJ", "PROJ"),
        ("PROJECT = proj", "proj"),
        ("project = \"PROJ\"", "'PROJ'"),
        ("project = 'PROJ'", "'PROJ'"),
        ("project = 10001", "10001"),
        ("project in (PROJ, OPS)", "PROJ OPS"),
        ("project IN(PROJ,10001)", "PROJ 10001"),
        ("key = PROJ-1", "issue PROJ-1"),
        ("issuekey in (PROJ-1, OPS-2)", "issue PROJ-1 issue OPS-2"),
        ("issue = PROJ-1", "issue PROJ-1"),
        ("id = PROJ-1", "issue PROJ-1"),
        ("project = PROJ AND status = Open", "PROJ"),
        ("status = Open and project = PROJ", "PROJ"),
        ("project = PROJ OR project = OPS", "PROJ OPS"),
        ("status = Open AND (project = PROJ OR key = OPS-1)", "PROJ issue OPS-1"),
        ("((project = PROJ))", "PROJ"),
        ("project = PROJ AND NOT status = Done", "PROJ"),
        ("project = PROJ AND NOT (status = Done OR labels in (a, b))", "PROJ"),
        ("project = PROJ AND status != Done ORDER BY created DESC, \"Story Points\" asc, cf[10001]", "PROJ"),
        ("project = PROJ AND cf[10001] > 3 AND cf[10002] is not EMPTY", "PROJ"),
        ("project = PROJ AND assignee = currentUser() AND created >= startOfDay(-7)", "PROJ"),
        ("project = PROJ AND updated > -30d and due is null", "PROJ"),
        ("project = PROJ AND summary ~ \"a \\\"b\\\" größe\"", "PROJ"),
        ("project = PROJ\r\n  AND assignee not in (557058:ab-12, empty)", "PROJ"),
        ("project = PROJ AND \"Epic Link\" = OPS-1", "PROJ"),
        // Everything that is named counts, also where it would not have to.
        ("project = PROJ AND project = OPS", "PROJ OPS"),
        ("project = PROJ AND (project = OPS OR status = Open)", "PROJ OPS"),
        ("project = PROJ AND NOT project = OPS", "PROJ OPS"),
        ("project = PROJ AND project != OPS", "PROJ"),
        ("status = Open AND project = PROJ OR status = Done AND project = OPS", "PROJ OPS"),
        ("project in (\"A b\", PROJ)", "'A b' PROJ"),
        ("project = \"A' OR 'x' = \"", "'A' OR 'x' = '"),
    ] {
        assert_eq!(within(Language::Jql, query).as_deref(), Some(named), "{query}");
    }
    for (query, named) in [
        ("space = DEV", "DEV"),
        ("space.key = DEV and type = page", "DEV"),
        ("space in (\"DEV\", OPS) order by lastmodified desc", "'DEV' OPS"),
        ("(space = DEV or space = OPS) and text ~ \"x\"", "DEV OPS"),
    ] {
        assert_eq!(within(Language::Cql, query).as_deref(), Some(named), "{query}");
    }
}

#[test]
fn whatever_is_not_sure_is_open() {
    for query in [
        "",
        " ",
        "ORDER BY created",
        "status = Open",
        "project",
        "project =",
        "project = PROJ AND",
        "project = PROJ OPS",
        "project = PROJ status = Open",
        "project = PROJ ORDER BY created OR status = Open",
        "project = PROJ ORDER BY",
        "project = PROJ ORDER created",
        "(project = PROJ ORDER BY created)",
        "project = PROJ OR status = Open",
        "status = Open OR project = PROJ",
        "project = PROJ AND status = a OR status = b",
        "(project = PROJ OR status = a) OR project = OPS",
        "NOT project = PROJ",
        "NOT (project = PROJ)",
        "NOT NOT project = PROJ",
        "not (not (project = PROJ))",
        "! project = PROJ",
        "project != PROJ",
        "project not in (PROJ)",
        "project ~ PROJ",
        "project >= PROJ",
        "project is not EMPTY",
        "project = EMPTY",
        "project in (PROJ, EMPTY)",
        "project in (PROJ, currentUser())",
        "project in ()",
        "project in (PROJ,)",
        "project in ((PROJ))",
        "project in PROJ",
        "project = (PROJ)",
        "project in projectsLeadByUser()",
        "project was PROJ",
        "project = PROJ AND status was Open",
        "project = PROJ AND status CHANGED FROM a TO b",
        "project = PROJ AND assignee in membersOf(\"staff\")",
        "project = PROJ AND issue in linkedIssues(OPS-1)",
        "issue in issueHistory()",
        "key = 10001",
        "key in (PROJ-1, 10001)",
        "key >= PROJ-1",
        "parent = PROJ-1",
        "\"project\" = PROJ",
        "'project' = PROJ",
        "projects = PROJ",
        "category = PROJ",
        "cf[10001] = PROJ",
        "issue.property[x].y = PROJ",
        "project = PROJ && status = Open",
        "project = PROJ & status = Open",
        "project = PROJ | project = OPS",
        "project = PROJ || project = OPS",
        "project == PROJ",
        "project => PROJ",
        "project = PR\\u004fJ",
        "project = \"PR\\u004fJ\"",
        "project = \"PROJ\\\"\"",
        "project = \"PROJ",
        "project = PROJ -- x",
        "project = PROJ --",
        "project = PROJ # x",
        "project = PROJ /* x */",
        "project = PROJ // x",
        "project = PROJ;",
        "project\u{a0}= PROJ",
        "project = PROJ\u{a0}OR status = Open",
        "project = PROJ\u{2003}AND status = Open",
        "project = PROJ\tAND status = Open",
        "project = PROJ\0",
        "project = \"PROJ\0\"",
        "project = PROJ\u{ff0c}OPS",
        "pr\u{43e}ject = PROJ",
        "project = PROJ AND summary ~ \"a\u{7f}\"",
        "project = PROJ AND summary ~ \"a\\n\"",
        "project = PROJ)",
        "(project = PROJ",
        "()",
        "project = PROJ AND ()",
        "project = order",
        "and = PROJ",
        "project = cf",
        "cf[x] = 1 AND project = PROJ",
        "project = PROJ AND currentUser(a, b) = c",
        "project = PROJ AND created > startOfDay(\"1d\", 2)",
    ] {
        assert_eq!(within(Language::Jql, query), None, "{query:?}");
    }
    for query in ["project = DEV", "space.title = DEV", "space = currentSpace()", "id = DEV-1", "space.type = DEV"] {
        assert_eq!(within(Language::Cql, query), None, "{query}");
    }
}

#[test]
fn a_query_is_bounded() {
    let nested = |depth: usize| format!("{}project = PROJ{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(within(Language::Jql, &nested(DEPTH_MAX)).as_deref(), Some("PROJ"));
    assert_eq!(within(Language::Jql, &nested(DEPTH_MAX + 1)), None);
    assert_eq!(within(Language::Jql, &nested(4_000)), None);
    let long = |length: usize| format!("project = PROJ{}", " ".repeat(length - 14));
    assert_eq!(within(Language::Jql, &long(LENGTH_MAX)).as_deref(), Some("PROJ"));
    assert_eq!(within(Language::Jql, &long(LENGTH_MAX + 1)), None);
    let many = vec!["not"; 4_000].join(" ");
    assert_eq!(within(Language::Jql, &format!("{many} project = PROJ")), None);
}

// ---- a naive reader ----

/// Key and display name. One project is called as another's key would be, and one as nobody's.
const PROJECTS: [(&str, &str); 4] = [("AA", "Alpha"), ("BB", "aa"), ("CC", "Legal"), ("DD", "10001")];

#[derive(Debug, Clone, Copy)]
struct Issue {
    project: usize,
    number: u32,
}

impl Issue {
    fn key(self) -> String {
        format!("{}-{}", PROJECTS[self.project].0, self.number)
    }
}

/// As Jira takes the word: a key, else a name.
fn project_of(text: &str) -> Option<usize> {
    let by = |name: fn(&(&'static str, &'static str)) -> &'static str| {
        PROJECTS.iter().position(|project| name(project).eq_ignore_ascii_case(text))
    };
    by(|project| project.0).or_else(|| by(|project| project.1))
}

enum Query {
    Or(Vec<Query>),
    And(Vec<Query>),
    Not(Box<Query>),
    Projects(Vec<String>),
    Issues(Vec<String>),
    /// Whatever it asks, it holds of some issues and not of others.
    Opaque(String),
}

impl Query {
    fn matches(&self, issue: Issue) -> bool {
        match self {
            Self::Or(parts) => parts.iter().any(|part| part.matches(issue)),
            Self::And(parts) => parts.iter().all(|part| part.matches(issue)),
            Self::Not(part) => !part.matches(issue),
            Self::Projects(words) => words.iter().any(|word| project_of(word) == Some(issue.project)),
            // An issue's number may be any issue's.
            Self::Issues(keys) => keys.iter().any(|key| is_number(key) || key.eq_ignore_ascii_case(&issue.key())),
            Self::Opaque(text) => {
                let mut hasher = DefaultHasher::new();
                (text, issue.project, issue.number).hash(&mut hasher);
                hasher.finish().is_multiple_of(2)
            }
        }
    }
}

/// Cuts at everything that separates, and takes every spelling that the language has.
fn cut(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' | '\'' => {
                let mut word = String::from("\"");
                while let Some(next) = characters.next() {
                    match next {
                        '\\' => word.extend(characters.next()),
                        _ if next == character => break,
                        _ => word.push(next),
                    }
                }
                words.push(word);
            }
            '(' | ')' | ',' => words.push(character.to_string()),
            '=' | '!' | '~' | '<' | '>' | '&' | '|' => {
                let mut word = character.to_string();
                word.extend(std::iter::from_fn(|| characters.next_if(|next| "=~&|".contains(*next))));
                words.push(word);
            }
            _ if character.is_whitespace() => {}
            _ => {
                let mut word = character.to_string();
                let of_word = |next: &char| !next.is_whitespace() && !"\"'(),=!~<>&|".contains(*next);
                word.extend(std::iter::from_fn(|| characters.next_if(of_word)));
                words.push(word);
            }
        }
    }
    words
}

struct Naive(Vec<String>);

impl Naive {
    fn read(text: &str) -> Option<Query> {
        let mut words = cut(text);
        if let Some(order) = words.iter().position(|word| word.eq_ignore_ascii_case("order")) {
            words.truncate(order);
        }
        words.reverse();
        let mut naive = Self(words);
        let query = naive.or()?;
        naive.0.is_empty().then_some(query)
    }

    fn next_is(&mut self, words: &[&str]) -> bool {
        let found = self.0.last().is_some_and(|next| words.iter().any(|word| word.eq_ignore_ascii_case(next)));
        if found {
            self.0.pop();
        }
        found
    }

    fn or(&mut self) -> Option<Query> {
        let mut parts = vec![self.and()?];
        while self.next_is(&["or", "|", "||"]) {
            parts.push(self.and()?);
        }
        Some(Query::Or(parts))
    }

    fn and(&mut self) -> Option<Query> {
        let mut parts = vec![self.not()?];
        while self.next_is(&["and", "&", "&&"]) {
            parts.push(self.not()?);
        }
        Some(Query::And(parts))
    }

    fn not(&mut self) -> Option<Query> {
        if self.next_is(&["not", "!"]) {
            return Some(Query::Not(Box::new(self.not()?)));
        }
        if self.next_is(&["("]) {
            let inner = self.or()?;
            return self.next_is(&[")"]).then_some(inner);
        }
        self.clause()
    }

    fn clause(&mut self) -> Option<Query> {
        let field = self.0.pop()?.trim_start_matches('"').to_ascii_lowercase();
        let negated = self.next_is(&["!=", "!~"]);
        if self.next_is(&["is"]) {
            self.next_is(&["not"]);
            return Some(Query::Opaque(format!("{field} is {}", self.0.pop()?)));
        }
        let negated = negated || self.next_is(&["not"]);
        let exact = negated || self.next_is(&["=", "in"]);
        if negated {
            self.next_is(&["in"]);
        } else if !exact {
            self.0.pop()?;
        }
        let mut values = Vec::new();
        let mut opaque = false;
        if self.next_is(&["("]) {
            loop {
                opaque |= self.value(&mut values)?;
                if self.next_is(&[")"]) {
                    break;
                }
                if !self.next_is(&[","]) {
                    return None;
                }
            }
        } else {
            opaque |= self.value(&mut values)?;
        }
        let clause = match field.as_str() {
            "project" if exact && !opaque => Query::Projects(values),
            "key" | "issuekey" | "issue" | "id" if exact && !opaque => Query::Issues(values),
            _ => Query::Opaque(format!("{field} {values:?}")),
        };
        Some(if negated { Query::Not(Box::new(clause)) } else { clause })
    }

    /// Whether it is something else than a text.
    fn value(&mut self, values: &mut Vec<String>) -> Option<bool> {
        let value = self.0.pop()?;
        let is_empty = ["empty", "null"].iter().any(|word| word.eq_ignore_ascii_case(&value));
        values.push(value.trim_start_matches('"').to_owned());
        if !self.next_is(&["("]) {
            return Some(is_empty);
        }
        while !self.next_is(&[")"]) {
            values.push(self.0.pop()?);
        }
        Some(true)
    }
}

fn check(query: &str) -> Result<bool, TestCaseError> {
    let Bounds::Within(named) = bounds(Language::Jql, query) else { return Ok(false) };
    let Some(read) = Naive::read(query) else {
        return Err(TestCaseError::fail(format!("{query:?} is read as {named:?}, and by the naive reader not at all")));
    };
    for project in 0..PROJECTS.len() {
        for issue in (1..9).map(|number| Issue { project, number }).filter(|issue| read.matches(*issue)) {
            let is_named = named.iter().any(|one| match one {
                Named::Container { text, .. } => project_of(text) == Some(project),
                Named::Issue(key) => key.eq_ignore_ascii_case(&issue.key()),
            });
            prop_assert!(is_named, "{:?} finds {} and names {:?}", query, issue.key(), named);
        }
    }
    Ok(true)
}

fn queries() -> impl Strategy<Value = String> {
    let word = || {
        prop::sample::select(vec![
            "AA",
            "bb",
            "CC",
            "Legal",
            "\"Legal\"",
            "'AA'",
            "10001",
            "\"10001\"",
            "ZZ",
            "\"a b\"",
            "EMPTY",
        ])
    };
    let key = || prop::sample::select(vec!["AA-1", "bb-2", "CC-3", "\"DD-4\"", "10001", "ZZ-1"]);
    let list = |one: BoxedStrategy<&'static str>| {
        prop::collection::vec(one, 1..4).prop_map(|all| format!("({})", all.join(", ")))
    };
    let sign = || prop::sample::select(vec!["=", "=", "=", "=", "=", "=", "!=", "~", ">=", " is ", " was "]);
    let list_sign = || prop::sample::select(vec!["in", "in", "IN", "not in", "was in"]);
    let field = || prop::sample::select(vec!["project", "Project", "\"project\"", "parent", "cf[10001]"]);
    let key_field = || prop::sample::select(vec!["key", "issuekey", "ISSUE", "id"]);
    let clause = prop_oneof![
        6 => (field(), sign(), word()).prop_map(|(field, sign, word)| format!("{field} {sign} {word}")),
        3 => (field(), list_sign(), list(word().boxed())).prop_map(|(field, sign, list)| format!("{field} {sign} {list}")),
        2 => (key_field(), sign(), key()).prop_map(|(field, sign, key)| format!("{field}{sign}{key}")),
        2 => (key_field(), list_sign(), list(key().boxed())).prop_map(|(field, sign, list)| format!("{field} {sign}{list}")),
        4 => prop::sample::select(vec![
            "status = Open", "assignee = currentUser()", "labels in (a, AA)", "due is not empty", "text ~ \"project = AA\"",
            "issue in linkedIssues(AA-1)", "summary ~ 'x) OR (y'", "summary ~ \"\\\" or x = \\\"\"",
        ]).prop_map(str::to_owned),
    ];
    let whole = clause.prop_recursive(4, 24, 3, |inner| {
        let joint = || prop::sample::select(vec![" AND ", " and ", " OR ", " or ", "\nAND ", " && ", " || "]);
        prop_oneof![
            4 => (inner.clone(), joint(), inner.clone()).prop_map(|(one, joint, other)| format!("{one}{joint}{other}")),
            2 => inner.clone().prop_map(|one| format!("({one})")),
            1 => inner.clone().prop_map(|one| format!("NOT {one}")),
            1 => inner.prop_map(|one| format!("! ({one} )")),
        ]
    });
    (whole, prop::sample::select(vec!["", "", " ORDER BY created", " order by key desc, rank"]))
        .prop_map(|(one, order)| one + order)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_found_outside_of_what_a_query_is_said_to_stay_within(query in queries()) {
        check(&query)?;
    }

    #[test]
    fn nor_when_its_words_are_thrown_together(
        words in "(project|key|\"project\"|AA|bb|AA-1|Legal|10001|status|a|=|!=|~| in |not |NOT |!|and|AND | or|OR |&&|\\||\\(|\\)|,|\"|'|\\\\|EMPTY| |\n|--|order by ){0,16}"
    ) {
        check(&words)?;
    }

    #[test]
    fn one_more_alternative_opens_it(query in queries()) {
        prop_assert_eq!(within(Language::Jql, &format!("{query} OR status = Open")), None);
        prop_assert_eq!(within(Language::Jql, &format!("NOT ({query})")), None);
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = (bounds(Language::Jql, &text), bounds(Language::Cql, &text));
    }
}

#[test]
fn the_generator_reaches_what_stays_within() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tries = (0..1_000).filter(|_| {
        let query = queries().new_tree(&mut runner).unwrap().current();
        check(&query).unwrap()
    });
    let within = tries.count();
    assert!((50..900).contains(&within), "{within} of 1,000");
}
