//! The file with the bearer tokens: one token, an admin's, or a line for each of several.
//!
//! A file that was cut while it was written must not be read as another: several tokens end with a newline, and so does one
//! alone, but where no name begins like it. Then it cannot be what is left of a longer line, and `printf %s TOKEN` and the
//! secrets of an orchestrator, which have no newline, are taken: 32 digits of hex or more, base64 with `+`, `/` or `=`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use super::right::{Caller, Principal};
use crate::config::model::admin::Role;

/// The shortest token taken: 16 bytes of hex is 64 bits, the least that cannot be tried out over a network.
pub const TOKEN_MIN_BYTES: usize = 16;
/// Bytes of the file.
const FILE_MAX_BYTES: u64 = 64 * 1024;
/// More people than that are told apart by certificates.
const TOKENS_MAX: usize = 100;
/// Bytes of a name.
const NAME_MAX: usize = 64;
/// No name begins with so many digits of hex: that is a token.
const TOKEN_HEX: usize = 32;

/// The file. It is read for each request: they are few, and a token that is taken out ends at once.
#[derive(Debug, Clone)]
pub struct TokenFile(Arc<Path>);

/// Why a token file cannot be used. Nothing of a token is in it.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("{file}: {error}", file = file.display())]
    Unreadable { file: PathBuf, error: std::io::Error },
    #[error("{file}: the file is longer than {FILE_MAX_BYTES} bytes", file = .0.display())]
    Long(PathBuf),
    #[error("{file}: the token is shorter than {TOKEN_MIN_BYTES} bytes", file = .0.display())]
    Short(PathBuf),
    #[error("{file}: the last line has no end, so that the file may have been cut: end it with a newline", file = .0.display())]
    Cut(PathBuf),
    #[error("{file}:{line}: {why}", file = file.display())]
    Line { file: PathBuf, line: usize, why: &'static str },
}

/// One token of the file.
struct Known {
    digest: [u8; 32],
    caller: Caller,
}

impl TokenFile {
    /// Checks at start that there is a token.
    ///
    /// # Errors
    /// The file cannot be read, or is no token file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TokenFileError> {
        let file = Self(Arc::from(path.as_ref()));
        file.known().map(|_| file)
    }

    /// Whose token this is. A file that cannot be used lets nobody in: half of it may be what was taken out.
    pub(super) fn holder(&self, shown: &[u8]) -> Option<Caller> {
        let known = match self.known() {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(%error, "admin: no token is taken");
                return None;
            }
        };
        // Digests are compared, all of them, so that neither length nor place of a difference shows in the time.
        let shown: [u8; 32] = Sha256::digest(shown).into();
        let (mut found, mut index) = (Choice::from(0), 0u32);
        for (number, one) in (0u32..).zip(&known) {
            let same = one.digest.ct_eq(&shown);
            index.conditional_assign(&number, same);
            found |= same;
        }
        let holder = known.into_iter().nth(index as usize)?;
        bool::from(found).then_some(holder.caller)
    }

    fn known(&self) -> Result<Vec<Known>, TokenFileError> {
        let text = self.read()?;
        let lines: Vec<(usize, Vec<&str>)> = (1..)
            .zip(text.lines())
            .map(|(number, line)| (number, line.split_whitespace().collect::<Vec<_>>()))
            .filter(|(_, words)| words.first().is_some_and(|word| !word.starts_with('#')))
            .collect();
        if let [(_, words)] = &lines[..]
            && let [token] = words[..]
        {
            if !text.ends_with('\n') && is_name(token) {
                return Err(TokenFileError::Cut(self.0.to_path_buf()));
            }
            let caller = Caller { principal: Principal::OnlyToken, role: Role::Admin };
            return Ok(vec![Known { digest: self.digest(token)?, caller }]);
        }
        let known = self.several(&lines)?;
        if text.ends_with('\n') { Ok(known) } else { Err(TokenFileError::Cut(self.0.to_path_buf())) }
    }

    fn several(&self, lines: &[(usize, Vec<&str>)]) -> Result<Vec<Known>, TokenFileError> {
        let at = |line, why| TokenFileError::Line { file: self.0.to_path_buf(), line, why };
        if lines.is_empty() {
            return Err(TokenFileError::Short(self.0.to_path_buf()));
        }
        let mut known: Vec<Known> = Vec::new();
        for (line, words) in lines {
            let [name, role, token] = words[..] else {
                return Err(at(*line, "write a name, a role and the token, with blanks between"));
            };
            if !is_name(name) {
                return Err(at(
                    *line,
                    "a name is letters, digits, `-`, `_`, `.` and `@`, at most 64, and does not begin with 32 of hex",
                ));
            }
            let role = Role::parse(role).ok_or_else(|| at(*line, "the role is viewer, approver or admin"))?;
            let digest = self.digest(token)?;
            let caller = Caller { principal: Principal::Token(name.to_owned()), role };
            if known.iter().any(|one| one.digest == digest || one.caller.principal == caller.principal) {
                return Err(at(*line, "a name or a token stands there twice"));
            }
            if known.len() == TOKENS_MAX {
                return Err(at(*line, "there are more than 100 tokens: give certificates instead"));
            }
            known.push(Known { digest, caller });
        }
        Ok(known)
    }

    fn digest(&self, token: &str) -> Result<[u8; 32], TokenFileError> {
        if token.len() < TOKEN_MIN_BYTES {
            return Err(TokenFileError::Short(self.0.to_path_buf()));
        }
        Ok(Sha256::digest(token).into())
    }

    fn read(&self) -> Result<String, TokenFileError> {
        use std::io::Read as _;
        let unreadable = |error| TokenFileError::Unreadable { file: self.0.to_path_buf(), error };
        let file = std::fs::File::open(&self.0).map_err(unreadable)?;
        let mut text = String::new();
        file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
        // Cut, its last line would be another token.
        if text.len() as u64 > FILE_MAX_BYTES { Err(TokenFileError::Long(self.0.to_path_buf())) } else { Ok(text) }
    }
}

/// Whatever a name begins with is a name as well: that is how a file that was cut is known.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    let is_token = name.bytes().take_while(u8::is_ascii_hexdigit).count() >= TOKEN_HEX;
    name.len() <= NAME_MAX && name.bytes().all(plain) && !is_token
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, Result<TokenFile, TokenFileError>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, text).unwrap();
        let opened = TokenFile::open(&path);
        (folder, opened)
    }

    #[test]
    fn a_token_alone_is_an_admins() {
        let (_folder, tokens) = file("0123456789abcdef0123\n");
        let tokens = tokens.unwrap();
        let holder = tokens.holder(b"0123456789abcdef0123").unwrap();
        assert_eq!((holder.role, holder.principal.to_string()), (Role::Admin, "token".to_owned()));
        for wrong in ["0123456789abcdef012", "0123456789abcdef01234", ""] {
            assert_eq!(tokens.holder(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn several_tokens_have_names_and_roles() {
        let (folder, tokens) = file(
            "# who\n\ndana admin 0123456789abcdef-dana\nlee  viewer\t0123456789abcdef-lee\nop@x approver 0123456789abcdef-op\n",
        );
        let tokens = tokens.unwrap();
        let role = |token: &str| tokens.holder(token.as_bytes()).map(|one| (one.principal.to_string(), one.role));
        assert_eq!(role("0123456789abcdef-dana"), Some(("token:dana".to_owned(), Role::Admin)));
        assert_eq!(role("0123456789abcdef-lee"), Some(("token:lee".to_owned(), Role::Viewer)));
        assert_eq!(role("0123456789abcdef-op"), Some(("token:op@x".to_owned(), Role::Approver)));
        assert_eq!(role("dana admin 0123456789abcdef-dana"), None);
        // What is taken out ends at once, and so does everything where the file is broken.
        std::fs::write(folder.path().join("token"), "lee viewer 0123456789abcdef-lee\n").unwrap();
        assert_eq!(role("0123456789abcdef-dana"), None);
        assert_eq!(role("0123456789abcdef-lee").map(|(_, role)| role), Some(Role::Viewer));
        std::fs::write(folder.path().join("token"), "lee viewer 0123456789abcdef-lee\ndana boss 0123456789abcdef-x\n")
            .unwrap();
        assert_eq!(role("0123456789abcdef-lee"), None);
    }

    #[test]
    fn a_file_that_was_cut_lets_nobody_in() {
        let whole = "deploy-bot.ci@example.com admin 0123456789abcdef-dana\nlee viewer 0123456789abcdef-lee\n";
        for length in 0..whole.len() {
            let (_folder, opened) = file(&whole[..length]);
            let ends_a_line = whole[..length].ends_with('\n');
            assert_eq!(opened.is_ok(), ends_a_line, "{:?}", &whole[..length]);
        }
        // A comment before it changes nothing.
        assert!(matches!(file("# who\n0123456789abcdef-bot").1, Err(TokenFileError::Cut(_))));
    }

    /// `printf %s`, and what has no newline in a cluster's secrets.
    #[test]
    fn a_token_that_no_name_begins_like_needs_no_newline() {
        let long = "x".repeat(65);
        for token in ["0123456789abcdef0123456789abcdef", "MDEyMzQ1Njc4OWFiY2Rl+w", "MDEyMzQ1Njc4OWFiY2Rl==", &long] {
            let (_folder, tokens) = file(token);
            assert!(tokens.unwrap().holder(token.as_bytes()).is_some(), "{token}");
        }
        let named = file("0123456789abcdef0123456789abcdef-x admin 0123456789abcdef-dana\n").1;
        assert!(matches!(named, Err(TokenFileError::Line { .. })));
    }

    #[test]
    fn a_file_that_could_be_read_in_two_ways_is_none() {
        for broken in [
            "",
            "short",
            "# nothing\n",
            "0123456789abcdef0123\n0123456789abcdef0124\n",
            "dana admin 0123456789abcdef-dana\n0123456789abcdef0123\n",
            "dana admin short\n",
            "dana Admin 0123456789abcdef-dana\n",
            "dana root 0123456789abcdef-dana\n",
            "dana admin 0123456789abcdef-dana\ndana viewer 0123456789abcdef-lee\n",
            "dana admin 0123456789abcdef-dana\nlee viewer 0123456789abcdef-dana\n",
            "dana,x admin 0123456789abcdef-dana\n",
            "dana admin\n0123456789abcdef-dana\n",
        ] {
            let (_folder, opened) = file(broken);
            let error = opened.err().unwrap_or_else(|| panic!("{broken:?} was taken")).to_string();
            assert!(!error.contains("0123456789abcdef"), "{error}");
        }
        let (_folder, long) = file(&"# x\n".repeat(20_000));
        assert!(matches!(long, Err(TokenFileError::Long(_))));
    }
}
