//! A catalog as an import finds it, and its YAML: written by hand, so that a line is a fact and a change
//! of the vendor's is a small diff.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Something the description does not say, or says twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub what: &'static str,
    pub about: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Draft {
    /// Everything before the scopes, as YAML: it is the same for every description of the vendor's.
    pub head: String,
    /// By name, with the vocabularies (as the head orders them) that it is a word of.
    pub scopes: BTreeMap<String, BTreeSet<String>>,
    pub operations: Vec<DraftOperation>,
}

#[derive(Debug, Default)]
pub struct DraftOperation {
    pub id: String,
    pub request: String,
    /// Empty: unknown.
    pub needs: Vec<(String, Vec<DraftLine>)>,
    pub places: Vec<DraftPlace>,
    pub subject: bool,
    pub proposed: bool,
    pub tenant_arguments: Vec<String>,
    /// Whether arguments are read from JSON, where that is not what the method lets expect.
    pub json: Option<bool>,
    /// It takes a file, with its other arguments beside it.
    pub multipart: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct DraftLine {
    pub scopes: Vec<String>,
    pub when: Option<&'static str>,
}

/// A place, with its attributes as YAML.
#[derive(Debug)]
pub struct DraftPlace {
    pub kind: &'static str,
    /// `path`, `query`, `body` or `argument`.
    pub at: &'static str,
    pub name: String,
    pub reading: Option<&'static str>,
    pub absent: Option<&'static str>,
    pub list: bool,
    pub group: Option<u8>,
}

impl Draft {
    /// Adds an operation; the scopes of its lines are words of their vocabularies.
    pub fn add(&mut self, operation: DraftOperation) {
        for (vocabulary, lines) in &operation.needs {
            for scope in lines.iter().flat_map(|line| &line.scopes) {
                self.scopes.entry(scope.clone()).or_default().insert(vocabulary.clone());
            }
        }
        self.operations.push(operation);
    }

    pub fn to_yaml(&self) -> String {
        let mut yaml = self.head.clone();
        yaml.push_str(if self.scopes.is_empty() { "scopes: []\n" } else { "scopes:\n" });
        for (name, vocabularies) in &self.scopes {
            let words: Vec<String> = vocabularies.iter().map(|word| scalar(word)).collect();
            line(&mut yaml, &format!("  - {{name: {}, vocabularies: [{}]}}", scalar(name), words.join(", ")));
        }
        yaml.push_str(if self.operations.is_empty() { "operations: []\n" } else { "operations:\n" });
        for operation in &self.operations {
            operation.write(&mut yaml);
        }
        yaml
    }
}

impl DraftOperation {
    fn write(&self, yaml: &mut String) {
        line(yaml, &format!("  - id: {}", scalar(&self.id)));
        line(yaml, &format!("    request: {}", request(&self.request)));
        line(yaml, &format!("    needs: {}", self.needs_yaml()));
        if !self.places.is_empty() {
            let places: Vec<String> = self.places.iter().map(DraftPlace::to_yaml).collect();
            line(yaml, &format!("    touches: {{places: [{}]}}", places.join(", ")));
        }
        if self.subject {
            line(yaml, "    subject: true");
        }
        if self.proposed {
            line(yaml, "    proposed: nothing");
        }
        if !self.tenant_arguments.is_empty() {
            let named: Vec<String> = self.tenant_arguments.iter().map(|name| scalar(name)).collect();
            line(yaml, &format!("    tenant_arguments: [{}]", named.join(", ")));
        }
        if let Some(json) = self.json {
            line(yaml, &format!("    json: {json}"));
        }
        if self.multipart {
            line(yaml, "    multipart: true");
        }
    }

    fn needs_yaml(&self) -> String {
        if self.needs.is_empty() {
            return "unknown".to_owned();
        }
        let vocabularies = self.needs.iter().map(|(vocabulary, lines)| {
            let lines: Vec<String> = lines.iter().map(DraftLine::to_yaml).collect();
            format!("{}: [{}]", scalar(vocabulary), lines.join(", "))
        });
        format!("{{{}}}", vocabularies.collect::<Vec<_>>().join(", "))
    }
}

impl DraftLine {
    pub fn all(scopes: Vec<String>) -> Self {
        Self { scopes, when: None }
    }

    fn to_yaml(&self) -> String {
        let scopes = self.scopes.iter().map(|scope| scalar(scope)).collect::<Vec<_>>().join(", ");
        match self.when {
            Some(variant) => format!("{{when: [{variant}], scopes: [{scopes}]}}"),
            None => format!("[{scopes}]"),
        }
    }
}

impl DraftPlace {
    fn to_yaml(&self) -> String {
        let mut yaml = format!("{{kind: {}, {}: {}", self.kind, self.at, scalar(&self.name));
        let words = [("as", self.reading), ("absent", self.absent)];
        for (key, word) in words.into_iter().filter_map(|(key, word)| Some((key, word?))) {
            let _never_fails = write!(yaml, ", {key}: {word}");
        }
        if self.list {
            yaml.push_str(", list: true");
        }
        if let Some(group) = self.group {
            let _never_fails = write!(yaml, ", group: {group}");
        }
        yaml.push('}');
        yaml
    }
}

fn line(yaml: &mut String, text: &str) {
    yaml.push_str(text);
    yaml.push('\n');
}

/// A method and a template: plain where YAML takes it for text.
fn request(text: &str) -> String {
    if text.ends_with(':') || text.contains(['\'', '"']) {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        text.to_owned()
    }
}

/// The text as a YAML scalar that no reader takes for anything but text.
pub fn scalar(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-' | b':');
    let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'/');
    let word = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    if starts && text.bytes().all(plain) && !text.ends_with(':') && !word.contains(&text.to_lowercase().as_str()) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::scalar;

    #[test]
    fn what_yaml_could_take_for_something_else_is_quoted() {
        assert_eq!(scalar("read:jira-work"), "read:jira-work");
        assert_eq!(scalar("no"), "'no'");
        assert_eq!(scalar("10001"), "'10001'");
        assert_eq!(scalar("a: 'b'"), "'a: ''b'''");
        assert_eq!(scalar(""), "''");
    }
}
