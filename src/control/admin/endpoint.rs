//! Every route there is: one table, which the router, the roles and the description are made of.

use axum::routing::MethodFilter;

use super::fault::Code;
use super::right::Right;

/// A method of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    Whoami,
    Snapshot,
    Explain,
    Acts,
    Order,
    Restore,
    Promote,
    Apps,
    App,
    Cells,
    History,
    Description,
}

impl Endpoint {
    pub const ALL: [Self; 12] = [
        Self::Whoami,
        Self::Snapshot,
        Self::Explain,
        Self::Acts,
        Self::Order,
        Self::Restore,
        Self::Promote,
        Self::Apps,
        Self::App,
        Self::Cells,
        Self::History,
        Self::Description,
    ];

    pub fn path(self) -> &'static str {
        match self {
            Self::Whoami => "/api/v1/whoami",
            Self::Snapshot => "/api/v1/snapshot",
            Self::Explain => "/api/v1/explain",
            Self::Acts | Self::Order => "/api/v1/acts",
            Self::Restore => "/api/v1/acts/{id}/restore",
            Self::Promote => "/api/v1/acts/{id}/promote",
            Self::Apps => "/api/v1/apps",
            Self::App => "/api/v1/apps/{product}/{app}",
            Self::Cells => "/api/v1/cells",
            Self::History => "/api/v1/history",
            Self::Description => "/api/v1/openapi.json",
        }
    }

    /// Whether it is asked with a body. Nothing else is a POST.
    pub fn has_body(self) -> bool {
        match self {
            Self::Explain | Self::Order | Self::Restore | Self::Promote => true,
            Self::Whoami
            | Self::Snapshot
            | Self::Acts
            | Self::Apps
            | Self::App
            | Self::Cells
            | Self::History
            | Self::Description => false,
        }
    }

    pub fn method(self) -> &'static str {
        if self.has_body() { "POST" } else { "GET" }
    }

    pub(super) fn filter(self) -> MethodFilter {
        if self.has_body() { MethodFilter::POST } else { MethodFilter::GET }
    }

    /// What everybody needs who uses it. An order that gives needs more: see [`Right::to_order`].
    pub fn least(self) -> Right {
        match self {
            Self::Whoami
            | Self::Snapshot
            | Self::Explain
            | Self::Acts
            | Self::Apps
            | Self::App
            | Self::Cells
            | Self::History
            | Self::Description => Right::Read,
            Self::Order => Right::Take,
            Self::Restore | Self::Promote => Right::Give,
        }
    }

    pub fn summary(self) -> &'static str {
        match self {
            Self::Whoami => "Who asks, and what it may do",
            Self::Snapshot => "What is in force",
            Self::Explain => "Why a call is permitted or refused, by the snapshot in force",
            Self::Acts => "The acts that stand",
            Self::Order => "Revokes, suspends, grants or opens an install window; answered once it is in force",
            Self::Restore => "Takes an act back",
            Self::Promote => "From shadow to enforced",
            Self::Apps => "The apps, a page of them",
            Self::App => "One app",
            Self::Cells => "What apps hold, a page of it",
            Self::History => "The journal, the newest first, a page of it",
            Self::Description => "This description",
        }
    }

    /// Every code that it may answer, besides those of `ANYWHERE`.
    pub fn codes(self) -> &'static [Code] {
        use Code as C;
        match self {
            Self::Whoami | Self::Description => &[],
            Self::Snapshot => &[C::NoPolicy],
            Self::Explain => &[C::Question, C::BodyTooLarge, C::BodySlow, C::MediaType, C::NoPolicy, C::Overloaded],
            Self::Acts => &[C::Order, C::NotWritten],
            Self::Order => &[
                C::Question,
                C::BodyTooLarge,
                C::BodySlow,
                C::MediaType,
                C::Body,
                C::IfMatchNeeded,
                C::Changed,
                C::NotFound,
                C::NoPolicy,
                C::NotWritten,
                C::Order,
                C::SeveralTenants,
                C::SeveralProducts,
                C::Required,
                C::Unsound,
            ],
            // `Unsound` is of what an act would say, and what is taken back says nothing.
            Self::Restore => &[
                C::Question,
                C::BodyTooLarge,
                C::BodySlow,
                C::MediaType,
                C::Body,
                C::IfMatchNeeded,
                C::Changed,
                C::NotFound,
                C::NoPolicy,
                C::NotWritten,
                C::Order,
            ],
            // It takes away, so `If-Match` counts where it is written, and need not be.
            Self::Promote => &[
                C::Question,
                C::BodyTooLarge,
                C::BodySlow,
                C::MediaType,
                C::Body,
                C::Changed,
                C::NotFound,
                C::NoPolicy,
                C::NotWritten,
                C::Order,
                C::Unsound,
            ],
            Self::Apps => &[C::Question, C::NoPolicy, C::Overloaded],
            Self::App | Self::Cells => &[C::Question, C::NotFound, C::NoPolicy, C::Overloaded],
            Self::History => &[C::Question, C::NoJournal, C::JournalUnreadable, C::Overloaded],
        }
    }
}

/// What any request may be answered with, whatever it asks.
pub const ANYWHERE: [Code; 6] =
    [Code::Unauthenticated, Code::Unknown, Code::Browser, Code::Host, Code::Role, Code::Failures];

/// What requests are answered with that meet no endpoint.
pub const NOWHERE: [Code; 2] = [Code::Endpoint, Code::Method];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_endpoints_are_one_and_every_code_is_somewhere() {
        let routes: BTreeSet<_> = Endpoint::ALL.iter().map(|one| (one.method(), one.path())).collect();
        assert_eq!(routes.len(), Endpoint::ALL.len());
        let said = Endpoint::ALL.iter().flat_map(|one| one.codes()).chain(&ANYWHERE).chain(&NOWHERE);
        assert_eq!(said.copied().collect::<BTreeSet<_>>(), Code::ALL.into_iter().collect());
    }

    #[test]
    fn whatever_changes_something_needs_more_than_a_viewers_right() {
        for endpoint in Endpoint::ALL {
            let asks = !endpoint.has_body() || endpoint == Endpoint::Explain;
            assert_eq!(endpoint.least() == Right::Read, asks, "{endpoint:?}");
        }
    }
}
