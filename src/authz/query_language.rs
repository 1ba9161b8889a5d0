//! The containers that a query in JQL (Jira) or CQL (Confluence) cannot reach outside of.
//!
//! It reads the clauses, and says that a query stays within the containers that it names only where that holds for
//! whatever can match: `project = A AND …`, `key in (A-1, B-2)`, OR where every branch stays within, AND where one does.
//! It is no validator: a query that the product refuses may well be read here. But what it does read, the product reads
//! in the same way; what it is not sure of (other spellings of AND, escapes, characters beyond ASCII outside of quotes,
//! history, functions that look elsewhere) makes the whole query open. One pass, no recursion.

mod words;

use words::{Sign, Word, Words};

/// A longer query is open. What people and SDKs write has some hundred characters.
const LENGTH_MAX: usize = 16 * 1024;
/// Parentheses within each other; deeper is open.
const DEPTH_MAX: usize = 32;

/// Two languages of one grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Jql,
    Cql,
}

/// How far a query reaches.
#[derive(Debug, PartialEq, Eq)]
pub enum Bounds<'q> {
    /// Anywhere, or it cannot be told.
    Open,
    /// No further than these. At least one.
    Within(Vec<Named<'q>>),
}

/// What stands at the right of `project = …`, `space = …` or `key = …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'q> {
    /// A project or space. In quotes, digits are a name and no id.
    Container { text: &'q str, quoted: bool },
    /// An issue by its key: it lies in that key's project.
    Issue(&'q str),
}

/// Reads a query.
pub fn bounds(language: Language, query: &str) -> Bounds<'_> {
    if query.len() > LENGTH_MAX {
        return Bounds::Open;
    }
    let mut reader = Reader { language, words: Words::of(query), named: Vec::new() };
    match reader.query() {
        Some(true) if !reader.named.is_empty() => Bounds::Within(reader.named),
        Some(_) | None => Bounds::Open,
    }
}

/// What a clause is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Container,
    Issue,
    Other,
}

/// Everything within one pair of parentheses, or the whole. A term stays within what it names, or it is open.
///
/// AND binds stronger than OR. Pages of the vendor's that read from left to right, or the other way about, would not open
/// anything: where each alternative holds a term that stays within, so does what they would make of it.
#[derive(Debug, Clone, Copy)]
struct Group {
    /// NOT stands before it.
    negated: bool,
    /// Every alternative before the present one stays within.
    alternatives: bool,
    /// Some term of the present alternative does.
    alternative: bool,
}

impl Group {
    fn new(negated: bool) -> Self {
        Self { negated, alternatives: true, alternative: false }
    }

    fn or(&mut self) {
        self.alternatives &= std::mem::take(&mut self.alternative);
    }

    fn stays_within(self) -> bool {
        !self.negated && self.alternatives && self.alternative
    }
}

/// Each step is `None` where it is not sure: the query is open then.
struct Reader<'q> {
    language: Language,
    words: Words<'q>,
    /// In order, also of clauses that prove nothing: whatever a query names must be open to the caller.
    named: Vec<Named<'q>>,
}

impl<'q> Reader<'q> {
    /// Whether the query stays within what it names.
    fn query(&mut self) -> Option<bool> {
        let mut around: Vec<Group> = Vec::new();
        let mut group = Group::new(false);
        loop {
            let mut negated = false;
            let within = loop {
                match self.words.take()? {
                    Word::Bare(word) if word.eq_ignore_ascii_case("not") => negated = true,
                    Word::Open if around.len() < DEPTH_MAX => {
                        around.push(std::mem::replace(&mut group, Group::new(negated)));
                        negated = false;
                    }
                    Word::Bare(field) => break self.clause(self.field(field)?)?,
                    // A name in quotes may be a custom field's.
                    Word::Quoted(_) => break self.clause(Field::Other)?,
                    Word::Open | Word::Close | Word::Comma | Word::Sign(_) | Word::End => return None,
                }
            };
            group.alternative |= within && !negated;
            loop {
                match self.words.take()? {
                    Word::Close => {
                        let inner = std::mem::replace(&mut group, around.pop()?);
                        group.alternative |= inner.stays_within();
                        continue;
                    }
                    Word::Bare(word) if word.eq_ignore_ascii_case("and") => {}
                    Word::Bare(word) if word.eq_ignore_ascii_case("or") => group.or(),
                    Word::Bare(word) if word.eq_ignore_ascii_case("order") && around.is_empty() => {
                        return self.order().map(|()| group.stays_within());
                    }
                    Word::End if around.is_empty() => return Some(group.stays_within()),
                    Word::Bare(_) | Word::Quoted(_) | Word::Open | Word::Comma | Word::Sign(_) | Word::End => {
                        return None;
                    }
                }
                break;
            }
        }
    }

    fn field(&self, word: &str) -> Option<Field> {
        let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
        match self.language {
            _ if is_reserved(word) => None,
            Language::Jql if is(&["project"]) => Some(Field::Container),
            Language::Jql if is(&["key", "issuekey", "issue", "id"]) => Some(Field::Issue),
            Language::Cql if is(&["space", "space.key"]) => Some(Field::Container),
            Language::Jql | Language::Cql => Some(Field::Other),
        }
    }

    /// What follows a field. Whether the clause stays within what it names.
    fn clause(&mut self, field: Field) -> Option<bool> {
        match self.words.take()? {
            Word::Sign(Sign::Equal) => self.operand(field),
            Word::Sign(Sign::Other) => self.operand(Field::Other),
            Word::Bare(word) if word.eq_ignore_ascii_case("in") => self.list(field),
            Word::Bare(word) if word.eq_ignore_ascii_case("not") => match self.words.take()? {
                Word::Bare(word) if word.eq_ignore_ascii_case("in") => self.list(Field::Other),
                _ => None,
            },
            Word::Bare(word) if word.eq_ignore_ascii_case("is") => self.emptiness(),
            // WAS and CHANGED ask of the past, when an issue may have lain elsewhere.
            _ => None,
        }
    }

    /// `EMPTY`, `NOT NULL`, …
    fn emptiness(&mut self) -> Option<bool> {
        let first = self.words.take()?;
        let word = match first {
            Word::Bare(word) if word.eq_ignore_ascii_case("not") => self.words.take()?,
            _ => first,
        };
        matches!(word, Word::Bare(word) if is_empty(word)).then_some(false)
    }

    /// One value, or a function. `false`: it proves nothing.
    fn operand(&mut self, field: Field) -> Option<bool> {
        match self.words.take()? {
            Word::Bare(name) if self.words.opens() => self.function(name).map(|()| false),
            Word::Bare(word) if is_empty(word) => Some(false),
            Word::Bare(word) if is_reserved(word) => None,
            Word::Bare(word) => Some(self.name(field, word, false)),
            Word::Quoted(text) => Some(text.is_some_and(|text| self.name(field, text, true))),
            Word::Open | Word::Close | Word::Comma | Word::Sign(_) | Word::End => None,
        }
    }

    /// `(A, B)`, or a function that gives a list.
    fn list(&mut self, field: Field) -> Option<bool> {
        match self.words.take()? {
            Word::Open => {}
            Word::Bare(name) if self.words.opens() => return self.function(name).map(|()| false),
            _ => return None,
        }
        let mut within = true;
        loop {
            within &= self.operand(field)?;
            match self.words.take()? {
                Word::Comma => {}
                Word::Close => return Some(within),
                _ => return None,
            }
        }
    }

    /// A function that knows of the caller and the time alone. Others look at groups, links, versions, other queries.
    fn function(&mut self, name: &str) -> Option<()> {
        const KNOWN: [&str; 12] = [
            "currentUser",
            "currentLogin",
            "lastLogin",
            "now",
            "startOfDay",
            "startOfWeek",
            "startOfMonth",
            "startOfYear",
            "endOfDay",
            "endOfWeek",
            "endOfMonth",
            "endOfYear",
        ];
        let known = KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name));
        if !known || self.words.take()? != Word::Open {
            return None;
        }
        // None, or a time to add.
        match self.words.take()? {
            Word::Close => Some(()),
            Word::Bare(_) | Word::Quoted(_) => (self.words.take()? == Word::Close).then_some(()),
            Word::Open | Word::Comma | Word::Sign(_) | Word::End => None,
        }
    }

    /// Takes down what a clause names. Whether that proves where it lies.
    fn name(&mut self, field: Field, text: &'q str, quoted: bool) -> bool {
        match field {
            Field::Container => self.named.push(Named::Container { text, quoted }),
            // An issue by its number lies anywhere.
            Field::Issue if !is_number(text) => self.named.push(Named::Issue(text)),
            Field::Issue | Field::Other => return false,
        }
        true
    }

    /// `BY field DESC, …` up to the end: it changes the order alone.
    fn order(&mut self) -> Option<()> {
        let by = self.words.take()?;
        if !matches!(by, Word::Bare(word) if word.eq_ignore_ascii_case("by")) {
            return None;
        }
        loop {
            match self.words.take()? {
                Word::Bare(field) if !is_reserved(field) => {}
                Word::Quoted(_) => {}
                _ => return None,
            }
            if self.words.ends() {
                return Some(());
            }
            match self.words.take()? {
                Word::Comma => continue,
                Word::Bare(word) if word.eq_ignore_ascii_case("asc") || word.eq_ignore_ascii_case("desc") => {}
                _ => return None,
            }
            if self.words.ends() {
                return Some(());
            }
            if self.words.take()? != Word::Comma {
                return None;
            }
        }
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_empty(word: &str) -> bool {
    word.eq_ignore_ascii_case("empty") || word.eq_ignore_ascii_case("null")
}

/// Words of the grammar: none of them is a name.
fn is_reserved(word: &str) -> bool {
    const RESERVED: [&str; 20] = [
        "and", "or", "not", "in", "is", "was", "changed", "empty", "null", "order", "by", "asc", "desc", "before",
        "after", "from", "to", "on", "during", "cf",
    ];
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
