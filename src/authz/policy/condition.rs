//! On what terms a rule holds: for whom, when, in which tenants.
//!
//! A condition is asked with the caller's facts and the request's time; it reads no clock. One that cannot be told
//! is unmet in a grant and met in a revocation (law 9).

use std::collections::HashSet;
use std::sync::Arc;

use super::app::Installation;
use super::area::Met;
use super::document::ActorWord;
use super::limit::Limits;
use crate::authz::catalog::limits::Limited;

/// Whom the caller acts as; `Unknown` only for a credential that no policy ever named (a gate under `observe`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    App,
    User,
    Unknown,
}

impl Actor {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::User => "user",
            Self::Unknown => "unknown",
        }
    }
}

/// The facts of a caller that conditions ask about.
#[derive(Debug, Clone, Copy)]
pub struct CallerFacts<'c> {
    pub tenant: &'c str,
    /// `None`: no installation is known (a gate under `observe`).
    pub installation: Option<&'c Installation>,
    pub actor: Actor,
    pub user: Option<&'c str>,
    /// As the caller's evidence names them. `None`: it does not say.
    pub groups: Option<&'c [Box<str>]>,
    pub pipeline: Option<&'c str>,
    /// Unix time in milliseconds: what takes by the clock takes by this.
    pub now_ms: i64,
    /// The same, but for what gives: never later.
    pub gives_ms: i64,
}

/// A set of actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Actors {
    pub app: bool,
    pub user: bool,
}

impl Actors {
    pub const ALL: Self = Self { app: true, user: true };

    pub fn of(words: impl IntoIterator<Item = ActorWord>) -> Self {
        words.into_iter().fold(Self { app: false, user: false }, |actors, word| match word {
            ActorWord::App => Self { app: true, ..actors },
            ActorWord::User => Self { user: true, ..actors },
        })
    }

    fn holds(self, actor: Actor) -> Met {
        match actor {
            Actor::App if self.app => Met::Yes,
            Actor::User if self.user => Met::Yes,
            Actor::App | Actor::User => Met::No,
            Actor::Unknown if self == Self::ALL => Met::Yes,
            Actor::Unknown => Met::CannotTell,
        }
    }

    pub fn words(self) -> impl Iterator<Item = &'static str> {
        [self.app.then_some("app"), self.user.then_some("user")].into_iter().flatten()
    }
}

/// A `group` document of one tenant.
#[derive(Debug, PartialEq, Eq)]
pub struct UserGroup {
    pub name: Arc<str>,
    pub tenant: Arc<str>,
    pub users: HashSet<Box<str>>,
    /// What evidence calls the group, where it may tell who is in it besides.
    pub claim: Option<Box<str>>,
}

impl UserGroup {
    /// Those who are in it by what their tokens say, in words.
    pub fn claimed(&self) -> Option<Box<str>> {
        self.claim.as_ref().map(|claim| format!("whoever's token names {claim}").into())
    }

    /// Whether the caller is known to be in it. Who is not listed may be in it by what no evidence was shown of.
    fn holds(&self, user: &str, told: Option<&[Box<str>]>) -> Met {
        match (&self.claim, told) {
            _ if self.users.contains(user) => Met::Yes,
            (None, _) => Met::No,
            (Some(_), None) => Met::CannotTell,
            (Some(claim), Some(told)) if told.contains(claim) => Met::Yes,
            (Some(_), Some(_)) => Met::No,
        }
    }
}

/// The groups that a part refers to: for each reference one group per tenant that has it.
pub type LinkedGroups = Box<[Box<[Arc<UserGroup>]>]>;

/// `users: {ids, groups}`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserSelector {
    /// Sorted.
    pub ids: Box<[Box<str>]>,
    /// Indices into the part's group references.
    pub groups: Box<[u16]>,
}

/// The terms of a rule. Rules of one document share equal ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Condition {
    pub actors: Actors,
    /// `None`: any user, or none.
    pub users: Option<UserSelector>,
    /// `None`: any pipeline, or none.
    pub pipelines: Option<Box<[Box<str>]>>,
    /// `None`: every tenant.
    pub tenants: Option<Box<[Box<str>]>>,
    pub from_ms: Option<i64>,
    pub until_ms: Option<i64>,
    pub after_install_ms: Option<i64>,
    pub unless_install_window: bool,
    /// `where:` what the request's arguments must be.
    pub limits: Limits,
}

/// The first term that fails, in the order in which reasons count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    Tenant,
    NotYetValid,
    Expired,
    Actor,
    User,
    Pipeline,
    Argument,
}

impl Condition {
    /// Whether a grant's terms are met, for a request that tells this of its arguments; what cannot be told is not.
    #[inline(always)]
    pub fn grants_for(&self, caller: &CallerFacts<'_>, groups: &LinkedGroups, told: &[Limited]) -> Result<(), Unmet> {
        self.grants(caller, groups)?;
        if self.limits.met(told) { Ok(()) } else { Err(Unmet::Argument) }
    }

    /// The same for some request, whatever its arguments.
    #[inline(always)]
    pub fn grants(&self, caller: &CallerFacts<'_>, groups: &LinkedGroups) -> Result<(), Unmet> {
        if self.tenant_met(caller.tenant) != Met::Yes {
            return Err(Unmet::Tenant);
        }
        self.grant_time(caller)?;
        if self.actors.holds(caller.actor) != Met::Yes {
            return Err(Unmet::Actor);
        }
        if self.users_met(caller, groups) != Met::Yes {
            return Err(Unmet::User);
        }
        if self.pipelines_met(caller.pipeline) != Met::Yes {
            return Err(Unmet::Pipeline);
        }
        Ok(())
    }

    /// Whether a revocation's terms are met; what cannot be told is. A closed install window is asked separately.
    pub fn revokes(&self, caller: &CallerFacts<'_>, groups: &LinkedGroups) -> bool {
        self.actors.holds(caller.actor) != Met::No
            && self.tenant_met(caller.tenant) != Met::No
            && self.revocation_time(caller)
            && self.users_met(caller, groups) != Met::No
            && self.pipelines_met(caller.pipeline) != Met::No
            && !(self.unless_install_window && window_open(caller))
    }

    #[inline]
    fn tenant_met(&self, tenant: &str) -> Met {
        match &self.tenants {
            None => Met::Yes,
            Some(tenants) if tenants.iter().any(|one| **one == *tenant) => Met::Yes,
            Some(_) => Met::No,
        }
    }

    #[inline]
    fn users_met(&self, caller: &CallerFacts<'_>, groups: &LinkedGroups) -> Met {
        self.users.as_ref().map_or(Met::Yes, |selector| selector.met(caller, groups))
    }

    #[inline]
    fn pipelines_met(&self, pipeline: Option<&str>) -> Met {
        match (&self.pipelines, pipeline) {
            (None, _) => Met::Yes,
            (Some(_), None) => Met::CannotTell,
            (Some(pipelines), Some(pipeline)) if pipelines.iter().any(|one| **one == *pipeline) => Met::Yes,
            (Some(_), Some(_)) => Met::No,
        }
    }

    #[inline]
    fn grant_time(&self, caller: &CallerFacts<'_>) -> Result<(), Unmet> {
        if self.from_ms.is_some_and(|from| caller.gives_ms < from) {
            return Err(Unmet::NotYetValid);
        }
        if self.until_ms.is_some_and(|until| caller.now_ms >= until) {
            return Err(Unmet::Expired);
        }
        let Some(after) = self.after_install_ms else { return Ok(()) };
        // From what has begun to give.
        match caller.installation.and_then(|installation| installation.counted_from(caller.gives_ms)) {
            Some(start) if caller.now_ms < start.saturating_add(after) => Ok(()),
            Some(_) | None => Err(Unmet::Expired),
        }
    }

    /// A span that cannot be told, for want of the time of installation, runs still.
    fn revocation_time(&self, caller: &CallerFacts<'_>) -> bool {
        let begun = self.from_ms.is_none_or(|from| caller.now_ms >= from);
        let runs = self.until_ms.is_none_or(|until| caller.gives_ms < until);
        let installed = caller.installation.and_then(|installation| installation.counted_from(caller.now_ms));
        let runs_after_install = match (self.after_install_ms, installed) {
            (Some(after), Some(start)) => caller.gives_ms < start.saturating_add(after),
            (Some(_), None) | (None, _) => true,
        };
        begun && runs && runs_after_install
    }
}

impl UserSelector {
    fn met(&self, caller: &CallerFacts<'_>, groups: &LinkedGroups) -> Met {
        let Some(user) = caller.user else { return Met::CannotTell };
        if self.ids.binary_search_by(|id| (**id).cmp(user)).is_ok() {
            return Met::Yes;
        }
        self.groups.iter().fold(Met::No, |met, reference| {
            let groups = groups.get(usize::from(*reference)).map_or(&[][..], |groups| &groups[..]);
            // A group that this tenant does not have tells nothing of the user.
            let own = groups.iter().find(|group| *group.tenant == *caller.tenant);
            met.or(own.map_or(Met::CannotTell, |group| group.holds(user, caller.groups)))
        })
    }
}

/// Whether the caller's installation has its install window open. Neither known: closed.
pub fn window_open(caller: &CallerFacts<'_>) -> bool {
    caller.installation.is_some_and(|installation| installation.window_open(caller.gives_ms, caller.now_ms))
}
