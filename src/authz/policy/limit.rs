//! `where: {webhook_host: [hooks.example.com]}`: what the arguments of a request must be, so that a grant holds for it.

use std::collections::BTreeMap;
use std::fmt;

use crate::authz::catalog::LimitReading;
use crate::authz::catalog::limits::{LimitId, Limited, is_host_name};

/// The most values of one limit in one grant: each is compared with.
pub const VALUES_MAX: usize = 100;

/// What a limit allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allowed {
    /// This host, and no other.
    Host(Box<str>),
    /// Every host whose name ends in a dot and this: never the name itself.
    HostsBelow(Box<str>),
}

impl Allowed {
    /// Reads one value as the policy writes it.
    ///
    /// # Errors
    /// It is none, and why.
    pub fn parse(text: &str, reading: LimitReading) -> Result<Self, &'static str> {
        match reading {
            LimitReading::UrlHost => Self::host(text),
        }
    }

    fn host(text: &str) -> Result<Self, &'static str> {
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix("*.") {
            // Nobody means every host below `com`.
            Some(below) if is_host_name(below) && below.contains('.') => Ok(Self::HostsBelow(below.into())),
            Some(_) => Err("after `*.` stands a whole name of at least two parts, such as `*.example.com`"),
            None if is_host_name(&lower) => Ok(Self::Host(lower.into())),
            None if lower.contains(['/', ':', '@']) => {
                Err("write the name of the host alone, without scheme, port and path")
            }
            None if !lower.is_ascii() => Err("write the name as DNS has it, beginning with `xn--`"),
            None => Err("it is not the name of a host; an address is none"),
        }
    }

    /// Whether it allows a value as requests tell it.
    pub fn allows(&self, value: &str) -> bool {
        match self {
            Self::Host(host) => **host == *value,
            Self::HostsBelow(below) => is_below(value, below),
        }
    }

    /// Whether it allows all that another one does.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (one, Self::Host(host)) => one.allows(host),
            (Self::HostsBelow(above), Self::HostsBelow(below)) => above == below || is_below(below, above),
            (Self::Host(_), Self::HostsBelow(_)) => false,
        }
    }
}

fn is_below(name: &str, above: &str) -> bool {
    name.strip_suffix(above).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty())
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.write_str(host),
            Self::HostsBelow(below) => write!(f, "*.{below}"),
        }
    }
}

/// The limits of a grant, each by what it allows. Sorted, each once; none: whatever the arguments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Limits(Box<[(LimitId, Box<[Allowed]>)]>);

impl Limits {
    pub fn none() -> Self {
        Self::default()
    }

    pub fn new(written: BTreeMap<LimitId, Vec<Allowed>>) -> Self {
        let sorted = |mut allowed: Vec<Allowed>| -> Box<[Allowed]> {
            allowed.sort_unstable();
            allowed.dedup();
            allowed.into()
        };
        Self(written.into_iter().map(|(limit, allowed)| (limit, sorted(allowed))).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (LimitId, &[Allowed])> {
        self.0.iter().map(|(limit, allowed)| (*limit, &**allowed))
    }

    /// Whether a request that tells this stays within them. What it does not tell does not.
    #[inline]
    pub fn met(&self, told: &[Limited]) -> bool {
        self.0.is_empty() || self.all_met(told)
    }

    #[inline(never)]
    fn all_met(&self, told: &[Limited]) -> bool {
        self.0.iter().all(|(limit, allowed)| {
            let mut values = told.iter().filter(|one| one.limit == *limit).peekable();
            let is_allowed = |value: &str| allowed.iter().any(|one| one.allows(value));
            values.peek().is_some() && values.all(|one| one.value.as_deref().is_some_and(is_allowed))
        })
    }

    /// Whether whatever stays within these stays within others.
    pub fn are_within(&self, others: &Self) -> bool {
        others.iter().all(|(limit, theirs)| {
            let own = self.iter().find(|(one, _)| *one == limit);
            let covered = |one: &Allowed| theirs.iter().any(|other| other.covers(one));
            own.is_some_and(|(_, own)| own.iter().all(covered))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(text: &str) -> Allowed {
        Allowed::parse(text, LimitReading::UrlHost).expect(text)
    }

    fn limits(hosts: &[&str]) -> Limits {
        Limits::new(BTreeMap::from([(LimitId(0), hosts.iter().map(|host| allowed(host)).collect())]))
    }

    fn told(limit: u8, host: Option<&str>) -> Limited {
        Limited { limit: LimitId(limit), value: host.map(Into::into) }
    }

    #[test]
    fn a_host_is_itself_and_a_star_is_what_lies_below() {
        for (written, hosts, others) in [
            (
                "Hooks.Example.com",
                &["hooks.example.com"][..],
                &["a.hooks.example.com", "example.com", "hooks.example.com.evil.example", "xhooks.example.com"][..],
            ),
            (
                "*.example.com",
                &["hooks.example.com", "a.b.example.com", "xn--bcher-kva.example.com"],
                &["example.com", "evilexample.com", ".example.com", "example.com.evil.example", "com"],
            ),
        ] {
            for host in hosts {
                assert!(allowed(written).allows(host), "{written} {host}");
            }
            for host in others {
                assert!(!allowed(written).allows(host), "{written} {host}");
            }
        }
    }

    #[test]
    fn what_is_no_host_is_said() {
        for text in [
            "",
            "*",
            "*.",
            "*.com",
            "**.example.com",
            "a.*.com",
            "hooks.*",
            "*hooks.example.com",
            "https://hooks.example.com",
            "hooks.example.com/in",
            "hooks.example.com:443",
            "user@hooks.example.com",
            "127.0.0.1",
            "[::1]",
            "::1",
            "0x7f.1",
            "hooks.example.com.",
            ".example.com",
            "hooks..example.com",
            "b\u{fc}cher.example",
            "hooks example.com",
            "*.127.0.0.1",
        ] {
            assert!(Allowed::parse(text, LimitReading::UrlHost).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_a_request_does_not_tell_is_not_within_a_limit() {
        let limits = limits(&["hooks.example.com", "*.example.org"]);
        assert!(limits.met(&[told(0, Some("hooks.example.com"))]));
        assert!(limits.met(&[told(0, Some("a.example.org")), told(1, None)]));
        for told in [
            &[][..],
            &[told(0, None)],
            &[told(1, Some("hooks.example.com"))],
            &[told(0, Some("evil.example"))],
            &[told(0, Some("hooks.example.com")), told(0, Some("evil.example"))],
            &[told(0, Some("hooks.example.com")), told(0, None)],
        ] {
            assert!(!limits.met(told), "{told:?}");
        }
        assert!(Limits::none().met(&[]) && Limits::none().met(&[told(0, None)]));
    }

    #[test]
    fn limits_lie_within_others_where_each_host_does() {
        for (one, other, within) in [
            (&["a.example.com"][..], &["a.example.com", "b.example.com"][..], true),
            (&["a.example.com"], &["*.example.com"], true),
            (&["*.a.example.com"], &["*.example.com"], true),
            (&["*.example.com"], &["*.example.com"], true),
            (&["*.example.com"], &["a.example.com"], false),
            (&["*.example.com"], &["*.a.example.com"], false),
            (&["example.com"], &["*.example.com"], false),
            (&["a.example.com", "evil.example"], &["*.example.com"], false),
        ] {
            assert_eq!(limits(one).are_within(&limits(other)), within, "{one:?} {other:?}");
        }
        assert!(limits(&["a.example.com"]).are_within(&Limits::none()));
        assert!(!Limits::none().are_within(&limits(&["a.example.com"])));
    }
}
