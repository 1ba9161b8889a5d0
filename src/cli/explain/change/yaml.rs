//! Small pieces of YAML, as a policy writes them.

/// An `apps:` line with one app less. `None` where the line is not written in one of the usual ways.
pub fn except(line: &str, app: &str) -> Option<String> {
    let value = line.strip_prefix("apps:")?.split(" #").next()?.trim();
    if value == "all" {
        return Some(format!("apps: {{product: all, except: [{app}]}}"));
    }
    if let Some(list) = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let others: Vec<&str> = list.split(',').map(str::trim).filter(|one| *one != app).collect();
        return (!others.is_empty()).then(|| format!("apps: [{}]", others.join(", ")));
    }
    let map = value.strip_prefix('{')?.strip_suffix('}')?;
    match map.split_once("except:") {
        Some((before, after)) => {
            let (list, rest) = after.trim().strip_prefix('[')?.split_once(']')?;
            Some(format!("apps: {{{before}except: [{list}, {app}]{rest}}}"))
        }
        None => Some(format!("apps: {{{}, except: [{app}]}}", map.trim())),
    }
}

/// A word as a YAML flow list takes it.
pub fn yaml_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '@');
    let safe = text.chars().all(plain) && !text.ends_with(':') && !text.starts_with(['-', '@', ':']);
    if safe && !text.is_empty() { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_excepted_however_the_apps_are_written() {
        for (line, expected) in [
            ("apps: all", Some("apps: {product: all, except: [jira/a]}")),
            ("apps: {product: jira}  # every one", Some("apps: {product: jira, except: [jira/a]}")),
            ("apps: {product: jira, except: [jira/b]}", Some("apps: {product: jira, except: [jira/b, jira/a]}")),
            ("apps: [jira/a, jira/b]", Some("apps: [jira/b]")),
            ("apps: [jira/a]", None),
            ("apps:", None),
        ] {
            assert_eq!(except(line, "jira/a").as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_word_that_yaml_would_misread_is_quoted() {
        assert_eq!(yaml_word("chat:write"), "chat:write");
        assert_eq!(yaml_word("10001"), "10001");
        assert_eq!(yaml_word("#help, me"), "\"#help, me\"");
        assert_eq!(yaml_word("a:"), "\"a:\"");
    }
}
