//! Acts: what commands and the admin API write beside the hand-written policy, one document and one file each.
//!
//! An [`Order`] says what an admin wants; a [`Draft`] is the document that would do it, checked against the policy in
//! force; an [`Act`] is one that was written. Nothing here reads or writes anything.

pub mod done;
pub mod draft;
pub mod order;
pub mod promote;
pub mod text;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use done::Done;
pub use draft::{Draft, Refused, draft};
pub use order::Order;

use crate::authz::policy::document::Body;
use crate::authz::policy::file::{Origin, parse};
use crate::problem::Problem;

/// An id is a file's name without its ending, and part of a key in a bucket: nothing else may be in it.
const ID_MAX: usize = 64;

/// What sort of act it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Revoke,
    Suspend,
    Grant,
    InstallWindow,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Revoke, Self::Suspend, Self::Grant, Self::InstallWindow];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoke => "revoke",
            Self::Suspend => "suspend",
            Self::Grant => "grant",
            Self::InstallWindow => "install-window",
        }
    }

    /// Whether it can only take away. What gives must not be written over what another admin has just done.
    pub fn only_takes(self) -> bool {
        match self {
            Self::Revoke | Self::Suspend => true,
            Self::Grant | Self::InstallWindow => false,
        }
    }
}

/// The name of an act: `20261125T215200123Z-revoke-9f3a61c2`. In the order in which acts were made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActId(Arc<str>);

impl ActId {
    /// The id of an act made at this time; `random` keeps two of one millisecond apart.
    pub fn new(kind: Kind, now_ms: i64, random: u32) -> Self {
        Self(format!("{}-{}-{random:08x}", text::compact_time(now_ms), kind.as_str()).into())
    }

    /// An id as a person or a program wrote it: letters, digits, `-`, `_` and `.`, and no dot first.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let sound = !text.is_empty() && text.len() <= ID_MAX && !text.starts_with('.') && text.bytes().all(plain);
        sound.then(|| Self(text.into()))
    }

    /// The id of the act that stands in this file.
    pub fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        Self::parse(name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"))?)
    }

    pub fn file_name(&self) -> String {
        format!("{}.yaml", self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What sort of act it names. Commands name the sort in it.
    pub fn kind(&self) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| self.0.contains(&format!("-{}-", kind.as_str())))
    }

    /// When it was made, as it says itself: RFC 3339.
    pub fn made_at(&self) -> Option<String> {
        text::spread_time(self.0.split('-').next()?)
    }
}

impl fmt::Display for ActId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An act that was written: its id and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub id: ActId,
    pub text: Arc<str>,
}

impl Act {
    /// Whether all that it says takes away. Its name does not tell: anybody may write a file of any name. What cannot be
    /// read says nothing that could be relied on.
    pub fn only_takes(&self) -> bool {
        let parsed = parse(&Path::new(&self.id.file_name()).into(), &self.text, Origin::Override);
        let sound = !parsed.problems.iter().any(Problem::is_error) && !parsed.documents.is_empty();
        sound && parsed.documents.iter().all(|document| takes(&document.body))
    }
}

fn takes(body: &Body) -> bool {
    match body {
        Body::App(app) => {
            let gives = app.description.is_some()
                || !app.installations.is_empty()
                || !app.grants.is_empty()
                || !app.install_windows.is_empty();
            !gives
        }
        Body::Guardrail(_) => true,
        Body::Set(_) | Body::Group(_) | Body::Names(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn an_id_is_a_file_name_and_nothing_else() {
        let id = ActId::new(Kind::InstallWindow, 1_795_165_200_123, 7);
        assert_eq!(id.as_str(), "20261120T090000123Z-install-window-00000007");
        assert_eq!(ActId::of_file(Path::new("/x").join(id.file_name()).as_path()), Some(id));
        for bad in ["", ".hidden", "a/b", "a b", "../a", "a\n", &"a".repeat(65)] {
            assert_eq!(ActId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn whether_an_act_only_takes_is_what_it_says_and_not_its_name() {
        let only_takes = |kind: Kind, rules: &str| {
            let text = format!("version: 1\napp: jira/a\n{rules}").into();
            Act { id: ActId::new(kind, 1_795_165_200_000, 1), text }.only_takes()
        };
        let revocation = "revocations:\n  - {scopes: all, in: all, reason: x}\n";
        let grant = "grants:\n  - {scopes: [a], actors: [app], in: all, tenants: [t]}\n";
        assert!(only_takes(Kind::Revoke, revocation));
        assert!(only_takes(Kind::Grant, revocation));
        assert!(only_takes(Kind::Suspend, "suspensions:\n  - {tenants: [t], reason: x}\n"));
        for gives in [
            grant,
            &format!("{revocation}{grant}"),
            &format!("name: a\ncontact: c\n{revocation}"),
            &format!("installations:\n  - {{tenant: t, credentials: []}}\n{revocation}"),
            &format!("{revocation}---\nversion: 1\nset: s\ntenant: t\nproject: [P]\n"),
            "revocations: [",
        ] {
            assert!(!only_takes(Kind::Revoke, gives), "{gives}");
        }
    }

    #[test]
    fn ids_sort_by_time() {
        let earlier = ActId::new(Kind::Suspend, 1_795_165_200_123, u32::MAX);
        assert!(earlier < ActId::new(Kind::Grant, 1_795_165_200_124, 0));
    }
}
