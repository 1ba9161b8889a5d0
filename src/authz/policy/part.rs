//! The rules of one document, compiled against one product's catalog: what `decide` reads.
//!
//! Equal conditions, areas and scope sets are kept once and referred to by number, so that a million grants stay
//! small, and grants are found by the scope they give.

use std::path::Path;
use std::sync::Arc;

use super::area::Area;
use super::condition::Condition;
use super::moments::Moments;
use crate::authz::catalog::OperationId;
use crate::authz::scope::{ScopeId, ScopeSet};

/// The compiled rules of one document.
#[derive(Debug, Default)]
pub struct Part {
    pub file: Option<Arc<Path>>,
    pub grants: Box<[Grant]>,
    pub revocations: Box<[Revocation]>,
    pub conditions: Box<[Condition]>,
    pub areas: Box<[Area]>,
    /// Those that may put keys and ids of one kind together: of lists with both, or with sets. Sorted.
    pub areas_of_two_forms: Box<[u32]>,
    pub scope_sets: Box<[ScopeSet]>,
    /// Each sorted.
    pub operation_sets: Box<[Box<[OperationId]>]>,
    /// Enforced grants by each scope they give, sorted; `gate:call` is left out, since every grant gives it.
    pub by_scope: Box<[(ScopeId, u32)]>,
    /// Enforced grants of so many scopes (`scopes: all`) that a line for each would take more room than the grant does:
    /// their sets are asked one by one.
    pub broad: Box<[u32]>,
    /// Names of sets that areas refer to.
    pub set_references: Box<[(Arc<str>, u32)]>,
    /// Names of groups that conditions refer to.
    pub group_references: Box<[(Arc<str>, u32)]>,
    pub has_shadow: bool,
    /// When its rules begin and end by the clock.
    pub moments: Moments,
}

/// A compiled line under `grants`.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// What it gives: the named scopes and all that they imply.
    pub scopes: u32,
    /// Only in these operations.
    pub operations: Option<std::num::NonZeroU32>,
    pub condition: u32,
    pub area: u32,
    pub line: u32,
    pub shadow: bool,
    pub required: bool,
}

/// A compiled line under `revocations`.
#[derive(Debug, Clone, Copy)]
pub struct Revocation {
    pub takes: Takes,
    /// Only in these operations.
    pub operations: Option<std::num::NonZeroU32>,
    pub condition: u32,
    pub area: u32,
    pub line: u32,
    pub shadow: bool,
}

/// What a revocation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Every scope, guard and `gate:call`; with `operations`, these whole.
    Everything,
    /// The named scopes and all that imply them.
    Scopes(u32),
}

impl Part {
    #[inline]
    pub fn condition(&self, index: u32) -> Option<&Condition> {
        self.conditions.get(index as usize)
    }

    #[inline]
    pub fn area(&self, index: u32) -> Option<&Area> {
        self.areas.get(index as usize)
    }

    pub fn scope_set(&self, index: u32) -> Option<&ScopeSet> {
        self.scope_sets.get(index as usize)
    }

    /// Whether a revocation takes any of these scopes, wherever and from whomever it does. One whose set is not there
    /// takes everything, as deciding has it.
    #[inline]
    pub fn takes_any(&self, revocation: &Revocation, scopes: &ScopeSet) -> bool {
        match revocation.takes {
            Takes::Everything => true,
            Takes::Scopes(set) => self.scope_set(set).is_none_or(|set| set.intersects(scopes)),
        }
    }

    /// Whether a rule limited to operations speaks of this one; unlimited ones do.
    #[inline]
    pub fn speaks_of(&self, operations: Option<std::num::NonZeroU32>, operation: OperationId) -> bool {
        let Some(number) = operations else { return true };
        let set = self.operation_sets.get(number.get() as usize - 1);
        set.is_some_and(|set| set.binary_search(&operation).is_ok())
    }

    /// The enforced grants that give a scope, but for the broad ones.
    #[inline]
    pub fn giving(&self, scope: ScopeId) -> impl Iterator<Item = &Grant> {
        let start = self.by_scope.partition_point(|(one, _)| *one < scope);
        self.by_scope
            .get(start..)
            .unwrap_or_default()
            .iter()
            .take_while(move |(one, _)| *one == scope)
            .filter_map(|(_, grant)| self.grants.get(*grant as usize))
    }

    /// The enforced grants that give a scope among very many.
    #[inline]
    pub fn giving_broadly(&self, scope: ScopeId) -> impl Iterator<Item = &Grant> {
        let broad = self.broad.iter().filter_map(|grant| self.grants.get(*grant as usize));
        broad.filter(move |grant| self.scope_set(grant.scopes).is_some_and(|set| set.contains(scope)))
    }
}
