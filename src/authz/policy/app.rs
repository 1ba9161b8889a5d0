//! An app as the hot path sees it: its installations, and the linked parts that rule it.

use std::path::Path;
use std::sync::Arc;

use super::area::LinkedSets;
use super::condition::LinkedGroups;
use super::part::Part;

/// A product that policies may speak of, numbered in the order of the catalogs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProductId(pub u8);

/// A third-party program.
#[derive(Debug)]
pub struct App {
    /// `slack/assist`
    pub name: Arc<str>,
    pub title: Arc<str>,
    pub contact: Arc<str>,
    pub product: ProductId,
    pub installations: Box<[Installation]>,
    /// Its own documents and overrides, each linked to the sets and groups it names.
    pub parts: Box<[LinkedPart]>,
}

/// A part with its references resolved.
#[derive(Debug, Clone)]
pub struct LinkedPart {
    pub part: Arc<Part>,
    pub sets: LinkedSets,
    pub groups: LinkedGroups,
}

/// An app in a tenant.
#[derive(Debug, Clone)]
pub struct Installation {
    pub tenant: Arc<str>,
    pub tenant_name: Option<Arc<str>>,
    pub installed_at_ms: Option<i64>,
    pub install_window_ms: i64,
    /// Windows that commands opened, from and until.
    pub windows: Box<[(i64, i64)]>,
    pub observe_until_ms: Option<i64>,
    /// Who suspended it, where that is written.
    pub suspended: Option<(Arc<Path>, u32)>,
    pub file: Arc<Path>,
    pub line: u32,
}

impl Installation {
    /// Whether the install window is open: for a while after the installation, and while a command opened it. It opens by
    /// `gives_ms`, and closes by `now_ms`.
    pub fn window_open(&self, gives_ms: i64, now_ms: i64) -> bool {
        let is_open = |from: i64, until: i64| from <= gives_ms && now_ms < until;
        let after_install = |at: i64| is_open(at, at.saturating_add(self.install_window_ms));
        self.installed_at_ms.is_some_and(after_install)
            || self.windows.iter().any(|(from, until)| is_open(*from, *until))
    }

    /// The moment from which `after_install` counts: the later of the installation and the last window opened, as far as they
    /// are not still to come.
    pub fn counted_from(&self, now_ms: i64) -> Option<i64> {
        let opened = self.windows.iter().map(|(from, _)| *from);
        opened.chain(self.installed_at_ms).filter(|from| *from <= now_ms).max()
    }

    /// The next moment at which a window opens or closes, or `observe` ends.
    pub fn next_change_ms(&self, now_ms: i64) -> Option<i64> {
        let first = self.installed_at_ms.into_iter().flat_map(|at| [at, at.saturating_add(self.install_window_ms)]);
        let opened = self.windows.iter().flat_map(|(from, until)| [*from, *until]);
        first.chain(opened).chain(self.observe_until_ms).filter(|moment| *moment > now_ms).min()
    }

    /// Whether refusals for want of a grant pass, recorded.
    pub fn observed(&self, now_ms: i64) -> bool {
        self.observe_until_ms.is_some_and(|until| now_ms < until)
    }
}
