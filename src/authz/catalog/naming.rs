//! Which questions to the product list containers with the names that people call them, and how their answers are read.
//!
//! Pure: who asks, and how often, is not known here. Nothing is decided by what they tell: it is shown beside ids.

use super::lookups::{Piece, Target};
use super::{Catalog, KindId};
use crate::authz::request::json::{self, Value};

/// The longest id that is taken, in bytes, and the longest value of the argument that asks for the next page.
const ID_BYTES_MAX: usize = 200;
const CURSOR_BYTES_MAX: usize = 4_000;

/// One question, asked page by page.
#[derive(Debug)]
pub struct NameList {
    pub kind: KindId,
    pub why: Box<str>,
    pub target: Target,
    pub ok: Option<Box<str>>,
    pub items: Box<str>,
    pub named: Box<[Named]>,
    pub pages: Option<Pages>,
}

/// Where an item says what is called what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub id: Box<str>,
    pub name: Box<str>,
    pub prefix: Box<str>,
}

/// How the next page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    pub argument: Box<str>,
    pub tells: NextPage,
}

/// What tells the value of the argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextPage {
    Cursor(Box<str>),
    Link(Box<str>),
    /// How many items there were, until this says `true`.
    Count {
        last: Box<str>,
    },
}

/// What something is called, as the product wrote it: whoever writes it down makes it fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    pub id: String,
    pub name: String,
    /// What people write before the name.
    pub prefix: Box<str>,
}

/// What one answer tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    pub names: Vec<Called>,
    /// Items that named nothing that could be an id of the kind.
    pub passed_over: usize,
    pub items: usize,
    /// The value of the argument that asks for the next one.
    pub next: Option<String>,
}

impl NameList {
    /// What is asked first, and what is asked for a page.
    pub fn target(&self, tenant: &str, page: Option<&str>) -> String {
        let mut target = self.target.of(tenant, "");
        if let (Some(pages), Some(page)) = (&self.pages, page) {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(&pages.argument);
            target.push('=');
            let value = Target(Box::from([Piece::Id]));
            target.push_str(&value.of("", page));
        }
        target
    }

    /// Reads an answer. `so_far`: items of the pages before it.
    ///
    /// # Errors
    /// It is not what the catalog says that it is, in words.
    pub fn read(&self, catalog: &Catalog, body: &[u8], so_far: usize) -> Result<Page, String> {
        let answer = json::parse(body).map_err(|error| format!("the answer cannot be read: {}", error.0))?;
        if let Some(ok) = &self.ok
            && !matches!(answer.at(ok), Ok(Some(Value::Bool(true))))
        {
            let said = answer.at("/error").ok().flatten().and_then(text);
            return Err(format!(
                "the product answers with an error: {}",
                said.unwrap_or_else(|| "none named".to_owned())
            ));
        }
        let list = answer.at(&self.items).ok().flatten();
        let Some(Value::List(items)) = list else { return Err(format!("the answer has no list at {}", self.items)) };
        let mut page = Page { items: items.len(), ..Page::default() };
        for item in items {
            for named in &self.named {
                match self.named_in(catalog, item, named) {
                    Some(entry) => page.names.push(entry),
                    None => page.passed_over += 1,
                }
            }
        }
        page.next = match &self.pages {
            Some(pages) => pages.next(&answer, items.len(), so_far)?,
            None => None,
        };
        Ok(page)
    }

    fn named_in(&self, catalog: &Catalog, item: &Value<'_>, named: &Named) -> Option<Called> {
        let kind = catalog.containers.get(usize::from(self.kind.0))?;
        let at = |pointer: &str| item.at(pointer).ok().flatten().and_then(text);
        let id = at(&named.id).filter(|id| id.len() <= ID_BYTES_MAX)?;
        let mut patterns = kind.id.iter().chain(&kind.key);
        if !patterns.any(|pattern| pattern.is_match(&id)) {
            return None;
        }
        let name = at(&named.name).filter(|name| !name.trim().is_empty())?;
        Some(Called { id, name, prefix: named.prefix.clone() })
    }
}

impl Pages {
    fn next(&self, answer: &Value<'_>, items: usize, so_far: usize) -> Result<Option<String>, String> {
        let told = |pointer: &str| answer.at(pointer).ok().flatten().and_then(text).filter(|text| !text.is_empty());
        let next = match &self.tells {
            NextPage::Cursor(at) => told(at),
            NextPage::Link(at) => match told(at) {
                Some(link) => {
                    let value = argument(&link, &self.argument);
                    Some(value.ok_or_else(|| format!("the link to the next page has no `{}`", self.argument))?)
                }
                None => None,
            },
            NextPage::Count { last } => {
                let is_last = !matches!(answer.at(last), Ok(Some(Value::Bool(false))));
                (items > 0 && !is_last).then(|| (so_far + items).to_string())
            }
        };
        match next.as_ref().is_some_and(|next| next.len() > CURSOR_BYTES_MAX) {
            true => Err("what asks for the next page is too long".to_owned()),
            false => Ok(next),
        }
    }
}

/// The value of an argument in the query of a link.
fn argument(link: &str, name: &str) -> Option<String> {
    let (_, query) = link.split_once('?')?;
    let query = query.split('#').next()?;
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    decoded(value)
}

/// A value of a query as it was meant. `None`: it is malformed.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::Whole(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::OtherNumber | Value::List(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::catalog::builtin;

    fn list(product: &str, kind: &str) -> (std::sync::Arc<Catalog>, usize) {
        let catalog = builtin::catalog(product).unwrap();
        let kind = catalog.container_kind(kind).unwrap();
        let index = catalog.names.iter().position(|list| list.kind == kind).unwrap();
        (catalog, index)
    }

    fn called(id: &str, name: &str, prefix: &str) -> Called {
        Called { id: id.to_owned(), name: name.to_owned(), prefix: prefix.into() }
    }

    fn read(of: &(std::sync::Arc<Catalog>, usize), answer: &str, so_far: usize) -> Result<Page, String> {
        of.0.names[of.1].read(&of.0, answer.as_bytes(), so_far)
    }

    #[test]
    fn slack_is_paged_by_cursor() {
        let slack = list("slack", "channel");
        let page = read(
            &slack,
            r##"{"ok": true, "channels": [{"id": "C0EXEC", "name": "exec"}, {"id": "../x", "name": "y"}, {"id": "C1", "name": 7}, 3],
                "response_metadata": {"next_cursor": "dGVh+=="}}"##,
            0,
        );
        let page = page.unwrap();
        // An id that could be none is passed over; `C1` is too short for one.
        assert_eq!((page.names, page.passed_over), (vec![called("C0EXEC", "exec", "#")], 3));
        let next = slack.0.names[slack.1].target("T1", page.next.as_deref());
        assert!(next.starts_with("/api/conversations.list?") && next.ends_with("&cursor=dGVh%2B%3D%3D"), "{next}");
        assert_eq!(
            read(&slack, r#"{"ok": true, "channels": [], "response_metadata": {"next_cursor": ""}}"#, 0).unwrap().next,
            None
        );
        assert!(read(&slack, r#"{"ok": false, "error": "missing_scope"}"#, 0).unwrap_err().contains("missing_scope"));
    }

    #[test]
    fn jira_is_paged_by_number_and_confluence_by_link() {
        let jira = list("jira", "project");
        let page = |last: bool| {
            format!(r#"{{"isLast": {last}, "values": [{{"id": "10001", "key": "PROJ", "name": "Product"}}]}}"#)
        };
        let named = read(&jira, &page(false), 50).unwrap();
        assert_eq!(named.names, [called("PROJ", "Product", ""), called("10001", "PROJ", "")]);
        assert_eq!(named.next.as_deref(), Some("51"));
        assert_eq!(read(&jira, &page(true), 50).unwrap().next, None);
        assert_eq!(read(&jira, r#"{"isLast": false, "values": []}"#, 50).unwrap().next, None);
        let confluence = list("confluence", "space");
        let spaces = |link: &str| {
            format!(
                r#"{{"results": [{{"id": 7, "key": "ENG", "name": "Engineering"}}], "_links": {{"next": "{link}"}}}}"#
            )
        };
        let named =
            read(&confluence, &spaces("https://evil.example/wiki/api/v2/spaces?limit=1&cursor=a%2Bb%3D#x"), 0).unwrap();
        let next = confluence.0.names[confluence.1].target("acme", named.next.as_deref());
        // Of the link the argument alone is taken.
        assert!(next.starts_with("/wiki/api/v2/spaces?") && next.ends_with("&cursor=a%2Bb%3D"), "{next}");
        assert!(read(&confluence, &spaces("/wiki/api/v2/spaces?limit=1"), 0).is_err());
    }

    #[test]
    fn what_is_no_such_answer_is_said() {
        let jira = list("jira", "project");
        for answer in ["", "[]", "{", r#"{"values": {}}"#, r#"{"values": [], "values": []}"#, "<html>", "\u{feff}{}"] {
            assert!(read(&jira, answer, 0).is_err(), "{answer}");
        }
        let long = format!(
            r#"{{"ok": true, "channels": [], "response_metadata": {{"next_cursor": "{}"}}}}"#,
            "x".repeat(5_000)
        );
        assert!(read(&list("slack", "channel"), &long, 0).unwrap_err().contains("too long"));
        assert_eq!(decoded("%zz"), None);
        assert_eq!(decoded("%e4"), None);
    }
}
