//! `scopegate credential new|hash`: a gate key that is shown once, and the digest that the policy holds.

use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What a gate key begins with: secret scanners and people tell by it what was leaked.
pub const GATE_KEY_PREFIX: &str = "sg_";
/// 256 bits.
const KEY_BYTES: usize = 32;
/// The longest token that is hashed. The longest of a vendor is a JWT of a few KiB.
const TOKEN_MAX_BYTES: u64 = 64 * 1024;

/// Why a credential command failed.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    #[error("no token on standard input: pipe it in, for example `scopegate credential hash < token-file`")]
    Empty,
    #[error("the token is longer than {TOKEN_MAX_BYTES} bytes")]
    Long,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Prints a new gate key, once, and the lines to paste into the app's document.
///
/// `kind` is the kind of the real credential that the gate puts in; absent, the product's usual one is proposed.
///
/// # Errors
/// No random bytes, or the output cannot be written.
pub fn new(app: &str, tenant: &str, kind: Option<&str>, out: &mut dyn Write) -> Result<(), CredentialError> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| CredentialError::Random(error.to_string()))?;
    let key = format!("{GATE_KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let (product, name) = app.split_once('/').unwrap_or(("", app));
    let kind = kind.unwrap_or(if product == "slack" { "bot" } else { "oauth" });
    let file: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    writeln!(
        out,
        "# The gate key. It is shown this once and stored nowhere; give it to the app instead of its token."
    )?;
    writeln!(out, "{key}")?;
    writeln!(out)?;
    writeln!(
        out,
        "# Paste into the document of app {}. `kind` is the real credential's, `file` holds it.",
        yaml_text(app)
    )?;
    writeln!(out, "installations:")?;
    writeln!(out, "  - tenant: {}", yaml_text(tenant))?;
    writeln!(out, "    credentials:")?;
    writeln!(
        out,
        "      - {{method: gate_key, sha256: \"{}\", kind: {}, upstream: {{file: /run/secrets/{file}}}}}",
        digest(key.as_bytes()),
        yaml_text(kind)
    )?;
    Ok(())
}

/// Prints the digest of the token on `input`. Never from an argument: those are seen by every process.
///
/// One line end after the token is not part of it.
///
/// # Errors
/// Nothing or too much came in, or the streams fail.
pub fn hash(input: &mut dyn Read, out: &mut dyn Write) -> Result<(), CredentialError> {
    let mut token = Vec::new();
    input.take(TOKEN_MAX_BYTES + 1).read_to_end(&mut token)?;
    if token.len() as u64 > TOKEN_MAX_BYTES {
        return Err(CredentialError::Long);
    }
    let token = token.strip_suffix(b"\n").map_or(&*token, |line| line.strip_suffix(b"\r").unwrap_or(line));
    if token.is_empty() {
        return Err(CredentialError::Empty);
    }
    writeln!(out, "{}", digest(token))?;
    Ok(())
}

/// SHA-256 in lower-case hex, as `sha256:` in a policy.
pub fn digest(token: &[u8]) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A plain word as it is, anything else quoted: JSON's quoting is YAML's.
fn yaml_text(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        );
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(input: &[u8]) -> Result<String, CredentialError> {
        let mut out = Vec::new();
        hash(&mut { input }, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_printed_digest_is_the_keys() {
        let mut out = Vec::new();
        new("slack/assist", "T024BE7LD", None, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let key = text.lines().find(|line| line.starts_with("sg_")).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(&key[3..]).unwrap().len(), 32);
        assert_eq!(text.matches(key).count(), 1, "shown once");
        let line =
            format!("sha256: \"{}\", kind: bot, upstream: {{file: /run/secrets/assist}}", digest(key.as_bytes()));
        assert!(text.contains(&line), "{text}");
        assert_eq!(hashed(key.as_bytes()).unwrap().trim_end(), digest(key.as_bytes()));
    }

    #[test]
    fn the_lines_to_paste_are_yaml_whatever_the_tenant_is_called() {
        for tenant in ["acme", "no", "0123", "a: b", "x\n- y", "\"", "#"] {
            let mut out = Vec::new();
            new("jira/a", tenant, None, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            let yaml = text.split_once("installations:").map(|(_, rest)| format!("installations:{rest}")).unwrap();
            let value: serde_yaml::Value = serde_yaml::from_str(&yaml).unwrap();
            assert_eq!(value["installations"][0]["tenant"], serde_yaml::Value::from(tenant));
        }
    }

    #[test]
    fn one_line_end_is_not_part_of_the_token() {
        let bare = hashed(b"abc").unwrap();
        assert_eq!(bare.trim_end(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hashed(b"abc\n").unwrap(), bare);
        assert_eq!(hashed(b"abc\r\n").unwrap(), bare);
        assert_ne!(hashed(b"abc\n\n").unwrap(), bare);
        assert!(matches!(hashed(b"\n"), Err(CredentialError::Empty)));
        assert!(matches!(hashed(&vec![b'a'; 65 * 1024]), Err(CredentialError::Long)));
    }
}
