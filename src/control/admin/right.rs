//! Who asked, and what each role may do: the one table.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::fault::{AdminError, Code};
use crate::acts::Kind;
use crate::config::model::admin::Role;

/// What a request does, as far as roles are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Asks, and changes nothing.
    Read,
    /// Takes away: revoke, suspend. A dry run needs what the act would.
    Take,
    /// Gives, or changes what another did: grant, open an install window, restore, promote.
    Give,
}

impl Right {
    pub const ALL: [Self; 3] = [Self::Read, Self::Take, Self::Give];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Take => "take",
            Self::Give => "give",
        }
    }

    /// What it needs to order this.
    pub fn to_order(kind: Kind) -> Self {
        match kind {
            Kind::Revoke | Kind::Suspend => Self::Take,
            Kind::Grant | Kind::InstallWindow => Self::Give,
        }
    }
}

/// The table. An approver can stop an app at night, and cannot undo what another stopped.
pub fn may(role: Role, right: Right) -> bool {
    match (role, right) {
        (Role::Viewer | Role::Approver | Role::Admin, Right::Read) => true,
        (Role::Approver | Role::Admin, Right::Take) => true,
        (Role::Admin, Right::Give) => true,
        (Role::Viewer, Right::Take | Right::Give) | (Role::Approver, Right::Give) => false,
    }
}

/// Who asks, as it was proved. No request says this of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The holder of the only token of a file.
    OnlyToken,
    Token(String),
    Certificate(String),
    Uid(u32),
}

/// `token:dana`, `certificate:spiffe://example.com/oncall`, `uid:1000`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnlyToken => f.write_str("token"),
            Self::Token(name) => write!(f, "token:{name}"),
            Self::Certificate(name) => write!(f, "certificate:{name}"),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
        }
    }
}

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub principal: Principal,
    pub role: Role,
}

impl Caller {
    /// # Errors
    /// Its role may not.
    pub fn must(&self, right: Right) -> Result<(), AdminError> {
        if may(self.role, right) {
            return Ok(());
        }
        let text = format!("{} is {}, who may not {}", self.principal, self.role.as_str(), right.as_str());
        Err(AdminError::plain(Code::Role, text))
    }

    /// What it may do.
    pub fn rights(&self) -> Vec<Right> {
        Right::ALL.into_iter().filter(|right| may(self.role, *right)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_the_one_below_may_and_only_an_admin_gives() {
        let rights = |role| Right::ALL.map(|right| may(role, right));
        assert_eq!(rights(Role::Viewer), [true, false, false]);
        assert_eq!(rights(Role::Approver), [true, true, false]);
        assert_eq!(rights(Role::Admin), [true, true, true]);
    }

    #[test]
    fn whatever_gives_is_not_an_approvers() {
        for kind in Kind::ALL {
            assert_eq!(may(Role::Approver, Right::to_order(kind)), kind.only_takes(), "{kind:?}");
            assert!(!may(Role::Viewer, Right::to_order(kind)));
        }
    }
}
