//! The manifests: ConfigMaps, and the patch that brings them together in one projected volume.
//!
//! Written by hand, for people read what changes in them: a file stands as it is, line by line, where YAML allows.

use std::fmt::Write as _;

use super::pack::Map;

/// Kubernetes' limits on the names of objects and namespaces.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
/// `-256-of-256`
const SUFFIX_BYTES_MAX: usize = 11;

/// What the manifests call things.
#[derive(Debug)]
pub struct Names {
    name: String,
    namespace: Option<String>,
    deployment: String,
}

impl Names {
    /// Checks what was asked for.
    ///
    /// # Errors
    /// A name that the API server would refuse.
    pub fn new(name: &str, namespace: Option<&str>, deployment: &str) -> Result<Self, String> {
        let is_word = |text: &str| {
            let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let bytes = text.as_bytes();
            let plain = bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-');
            plain && ends(bytes.first()) && ends(bytes.last())
        };
        let is_name = |text: &str, max: usize| text.len() <= max && text.split('.').all(is_word);
        for (what, text, max) in
            [("--name", name, NAME_BYTES_MAX - SUFFIX_BYTES_MAX), ("--deployment", deployment, NAME_BYTES_MAX)]
        {
            if !is_name(text, max) {
                let says = "lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit";
                return Err(format!("{what} `{text}` is no name of an object: write at most {max} of {says}"));
            }
        }
        if let Some(text) = namespace.filter(|text| text.len() > LABEL_BYTES_MAX || !is_word(text)) {
            return Err(format!("--namespace `{text}` is no name of a namespace"));
        }
        Ok(Self { name: name.to_owned(), namespace: namespace.map(str::to_owned), deployment: deployment.to_owned() })
    }

    /// `scopegate-policies-1-of-4`. The number of maps is in each name: when it grows, every map is a new one, and pods
    /// that still run go on with the old ones instead of losing what moved.
    pub fn map(&self, index: usize, count: usize) -> String {
        format!("{}-{}-of-{count}", self.name, index + 1)
    }

    /// All ConfigMaps, in one text.
    pub fn manifests(&self, maps: &[Map<'_>]) -> String {
        let mut text = "# Written by `scopegate bundle --split` from the policy folder: edit that, not this.\n\
                        # Apply it with `kubectl apply --server-side`: else a copy goes into an annotation, which holds 256 KiB.\n"
            .to_owned();
        for (index, map) in maps.iter().enumerate() {
            let _ = write!(
                text,
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {}\n",
                self.map(index, maps.len())
            );
            self.namespace(&mut text);
            text.push_str("  labels: {app.kubernetes.io/name: scopegate, app.kubernetes.io/component: policies}\n");
            text.push_str(if map.entries.is_empty() { "data: {}\n" } else { "data:\n" });
            for entry in &map.entries {
                value(&entry.key, &entry.text, &mut text);
            }
        }
        text
    }

    /// A strategic merge patch. `sources` is replaced as a whole by it.
    pub fn volume(&self, count: usize) -> String {
        let mut text = format!(
            "# Written by `scopegate bundle --split`: the volume that holds all policies, as a patch for the Deployment.\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {}\n",
            self.deployment
        );
        self.namespace(&mut text);
        text.push_str("spec:\n  template:\n    spec:\n      volumes:\n        - name: policies\n          projected:\n            sources:\n");
        for index in 0..count {
            // None of them is optional: a gate that starts without some would lack revocations.
            let _ = writeln!(text, "              - configMap: {{name: {}}}", self.map(index, count));
        }
        text
    }

    fn namespace(&self, text: &mut String) {
        if let Some(namespace) = &self.namespace {
            // In quotes, for `123` is a namespace too.
            let _ = writeln!(text, "  namespace: \"{namespace}\"");
        }
    }
}

/// One key and its value.
fn value(key: &str, text: &str, out: &mut String) {
    let _ = match block(text) {
        Some(chomping) => {
            let _ = writeln!(out, "  {key}: |{chomping}");
            text.lines().try_for_each(|line| match line {
                "" => writeln!(out),
                line => writeln!(out, "    {line}"),
            })
        }
        // JSON is YAML, and escapes whatever a reader of YAML might take for something else.
        None => writeln!(out, "  {key}: {}", quoted(text)),
    };
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    for character in serde_json::Value::from(text).to_string().chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted
}

/// How to end a block scalar that reads back as exactly this text. `None`: none would.
fn block(text: &str) -> Option<&'static str> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    // A first line with blanks in front would set the indent; a blank line at the end would be taken off.
    let shape = !body.is_empty() && !body.starts_with([' ', '\t', '\n']) && !body.ends_with('\n');
    // YAML 1.1 breaks lines also at U+0085, U+2028 and U+2029; a byte order mark vanishes; `\r\n` becomes `\n`.
    let plain = |character: char| match character {
        '\n' | '\t' => true,
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => false,
        character => !character.is_control(),
    };
    (shape && text.chars().all(plain)).then_some(if text.ends_with('\n') { "" } else { "-" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bundle::PolicyFile;
    use crate::cli::bundle::pack;
    use proptest::prelude::*;

    /// What a reader of YAML 1.1, as Kubernetes' is, finds in the manifests: key and value.
    fn read(manifests: &str) -> Vec<(String, String)> {
        use serde::Deserialize as _;
        let mut found = Vec::new();
        for document in serde_yaml::Deserializer::from_str(manifests) {
            let map = serde_yaml::Value::deserialize(document).unwrap();
            let data = map["data"].as_mapping().unwrap();
            found.extend(
                data.iter().map(|(key, value)| (key.as_str().unwrap().to_owned(), value.as_str().unwrap().to_owned())),
            );
        }
        found
    }

    fn written(text: &str) -> String {
        let files = [PolicyFile { path: "a.yaml".to_owned(), text: text.into() }];
        let entries = pack::entries(&files).unwrap();
        Names::new("p", Some("123"), "d").unwrap().manifests(&pack::maps(&entries, None).unwrap())
    }

    #[test]
    fn a_file_stands_line_by_line() {
        let manifest = written("version: 1\n\nset: a   \n");
        assert!(manifest.ends_with("data:\n  a.yaml: |\n    version: 1\n\n    set: a   \n"), "{manifest}");
    }

    #[test]
    fn every_shape_of_text_comes_back() {
        for text in [
            "a: 1",
            "a: 1\n",
            "a: 1\n\n",
            "\na: 1\n",
            "  a: 1\n",
            "\ta\n",
            "a: 1\r\nb: 2\r\n",
            "\u{feff}a: 1\n",
            "",
            "\n",
            "a: \u{2028}b\n",
            "a: \u{85}b\n",
            "a: é€\u{1f600}\n",
            "a:\n    b: |\n      x\n\n\n",
            "a\n   \nb\n",
            "# a: b # c\n",
            "a: \u{fffe}\n",
            "---\na: 1\n--- # b\n...\n",
            "a: \u{7f}\n",
        ] {
            assert_eq!(read(&written(text)), [("a.yaml".to_owned(), text.to_owned())]);
        }
    }

    proptest! {
        #[test]
        fn whatever_a_policy_holds_comes_back(text in "[a-c#:|>'\"\\\\ \t\n\r\u{85}\u{2028}é-]{0,40}") {
            prop_assert_eq!(read(&written(&text)), [("a.yaml".to_owned(), text.clone())]);
        }
    }

    #[test]
    fn names_that_the_api_server_refuses_are_refused() {
        for (name, namespace, deployment) in
            [("A", None, "d"), ("a-", None, "d"), ("a", Some("a.b"), "d"), ("a", None, "d_"), ("", None, "d")]
        {
            assert!(Names::new(name, namespace, deployment).is_err(), "{name} {namespace:?} {deployment}");
        }
        assert!(Names::new(&"a".repeat(243), None, "d").is_err());
        assert!(Names::new("a.b-1", Some("n-1"), "d").is_ok());
    }

    #[test]
    fn the_number_of_maps_is_in_every_name() {
        let names = Names::new("p", None, "d").unwrap();
        assert_eq!(names.map(0, 4), "p-1-of-4");
        assert!(
            names.volume(2).ends_with("- configMap: {name: p-1-of-2}\n              - configMap: {name: p-2-of-2}\n")
        );
    }
}
