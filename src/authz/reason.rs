//! Why a request was refused. The codes are stable; the class fixes the answer, the reason only its text.

/// The group of reasons that gets one kind of answer from a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    Who,
    Scope,
    Container,
    Terms,
    Operation,
    Request,
    ForNow,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    Unidentified,
    UnknownApp,
    UnknownTenant,
    MissingScope,
    ScopeRevoked,
    Expired,
    NotYetValid,
    InstallWindowClosed,
    MigrationDeadline,
    ContainerNotGranted,
    ContainerRevoked,
    ContainerUnreadable,
    ActorNotAllowed,
    UserNotAllowed,
    PipelineNotAllowed,
    OperationNotAllowed,
    ArgumentNotAllowed,
    AppSuspended,
    UnknownOperation,
    BadRequest,
    BodyTooLarge,
    NoPolicy,
    StalePolicy,
    IdentityUnresolved,
    ContainerUnresolved,
    Overloaded,
    Draining,
    NarrowingFailed,
    UpstreamUnreachable,
    UpstreamTimeout,
    UpstreamBroken,
    RateLimited,
}

impl Reason {
    /// Every reason, in the order of the class table.
    pub const ALL: [Self; 32] = [
        Self::Unidentified,
        Self::UnknownApp,
        Self::UnknownTenant,
        Self::MissingScope,
        Self::ScopeRevoked,
        Self::Expired,
        Self::NotYetValid,
        Self::InstallWindowClosed,
        Self::MigrationDeadline,
        Self::ContainerNotGranted,
        Self::ContainerRevoked,
        Self::ContainerUnreadable,
        Self::ActorNotAllowed,
        Self::UserNotAllowed,
        Self::PipelineNotAllowed,
        Self::OperationNotAllowed,
        Self::ArgumentNotAllowed,
        Self::AppSuspended,
        Self::UnknownOperation,
        Self::BadRequest,
        Self::BodyTooLarge,
        Self::NoPolicy,
        Self::StalePolicy,
        Self::IdentityUnresolved,
        Self::ContainerUnresolved,
        Self::Overloaded,
        Self::Draining,
        Self::NarrowingFailed,
        Self::UpstreamUnreachable,
        Self::UpstreamTimeout,
        Self::UpstreamBroken,
        Self::RateLimited,
    ];

    /// The stable code: header value, metric label, log value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unidentified => "unidentified",
            Self::UnknownApp => "unknown_app",
            Self::UnknownTenant => "unknown_tenant",
            Self::MissingScope => "missing_scope",
            Self::ScopeRevoked => "scope_revoked",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::InstallWindowClosed => "install_window_closed",
            Self::MigrationDeadline => "migration_deadline",
            Self::ContainerNotGranted => "container_not_granted",
            Self::ContainerRevoked => "container_revoked",
            Self::ContainerUnreadable => "container_unreadable",
            Self::ActorNotAllowed => "actor_not_allowed",
            Self::UserNotAllowed => "user_not_allowed",
            Self::PipelineNotAllowed => "pipeline_not_allowed",
            Self::OperationNotAllowed => "operation_not_allowed",
            Self::ArgumentNotAllowed => "argument_not_allowed",
            Self::AppSuspended => "app_suspended",
            Self::UnknownOperation => "unknown_operation",
            Self::BadRequest => "bad_request",
            Self::BodyTooLarge => "body_too_large",
            Self::NoPolicy => "no_policy",
            Self::StalePolicy => "stale_policy",
            Self::IdentityUnresolved => "identity_unresolved",
            Self::ContainerUnresolved => "container_unresolved",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::NarrowingFailed => "narrowing_failed",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamBroken => "upstream_broken",
            Self::RateLimited => "rate_limited",
        }
    }

    /// The class that fixes the answer.
    pub fn class(self) -> Class {
        match self {
            Self::Unidentified | Self::UnknownApp | Self::UnknownTenant => Class::Who,
            Self::MissingScope
            | Self::ScopeRevoked
            | Self::Expired
            | Self::NotYetValid
            | Self::InstallWindowClosed
            | Self::MigrationDeadline => Class::Scope,
            Self::ContainerNotGranted | Self::ContainerRevoked | Self::ContainerUnreadable => Class::Container,
            Self::ActorNotAllowed
            | Self::UserNotAllowed
            | Self::PipelineNotAllowed
            | Self::OperationNotAllowed
            | Self::ArgumentNotAllowed
            | Self::AppSuspended => Class::Terms,
            Self::UnknownOperation => Class::Operation,
            Self::BadRequest | Self::BodyTooLarge => Class::Request,
            Self::NoPolicy
            | Self::StalePolicy
            | Self::IdentityUnresolved
            | Self::ContainerUnresolved
            | Self::Overloaded
            | Self::Draining
            | Self::NarrowingFailed
            | Self::UpstreamUnreachable
            | Self::UpstreamTimeout
            | Self::UpstreamBroken
            | Self::RateLimited => Class::ForNow,
        }
    }
}

impl std::str::FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == code).ok_or(UnknownReason)
    }
}

/// The text names no reason code.
#[derive(Debug, thiserror::Error)]
#[error("not a reason code")]
pub struct UnknownReason;

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
