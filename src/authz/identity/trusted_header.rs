//! Header fields in which a proxy before the gate says who calls. Whoever else sends them says nothing.
//!
//! They are taken out of every request, in every spelling, before anything else sees it: neither an upstream nor a later
//! step can read in them what was not judged.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::claims::{Claims, UserTold};
use crate::authz::policy::credentials::ClientMethod;

/// Bytes of an app's, tenant's, user's or group's name.
const NAME_BYTES_MAX: usize = 256;
/// Groups of one field.
const GROUPS_MAX: usize = 256;

/// Who is believed, and which fields say what. Names are in lower case and differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedHeader {
    pub from: Box<[Front]>,
    pub app: Box<str>,
    pub tenant: Option<Box<str>>,
    pub user: Option<Box<str>>,
    pub groups: Option<Box<str>>,
}

/// Where a proxy stands that is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// Behind the gate's Unix socket.
    Socket,
    Range(AddressRange),
}

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    network: IpAddr,
    bits: u8,
}

impl AddressRange {
    /// `10.0.0.0/8`, `fd00::/8`, or one address. `None`: it is none, or one with bits behind its length, which has two readings.
    pub fn parse(text: &str) -> Option<Self> {
        let (network, bits) = match text.split_once('/') {
            None => (text.parse::<IpAddr>().ok()?, None),
            Some((network, bits)) => (network.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?)),
        };
        let whole = if network.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(whole);
        let range = Self { network, bits };
        let is_plain = bits <= whole && network.to_canonical() == network && range.masked(network) == bits_of(network);
        is_plain.then_some(range)
    }

    /// Whether whatever runs beside the gate is in it.
    pub fn is_loopback(&self) -> bool {
        self.network.is_loopback()
    }

    /// Everybody is no proxy of somebody's.
    pub fn is_everybody(&self) -> bool {
        self.bits == 0
    }

    pub fn holds(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4() && self.masked(address) == bits_of(self.network)
    }

    fn masked(&self, address: IpAddr) -> u128 {
        let whole: u32 = if address.is_ipv4() { 32 } else { 128 };
        let behind = whole.saturating_sub(u32::from(self.bits));
        let kept = u128::MAX.checked_shl(behind).unwrap_or(0);
        bits_of(address) & kept
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// What a proxy before the gate says of a request.
#[derive(Debug, Clone, Default)]
pub enum Vouched {
    /// Nothing, or nobody says it who is believed.
    #[default]
    Nothing,
    For(Arc<Claims>),
    /// It says something, and not who calls.
    Failed,
}

impl TrustedHeader {
    /// Takes the fields out of a request, and says what they say. `from`: the peer's address; `None` behind a Unix socket.
    ///
    /// # Errors
    /// One who is believed wrote them in two ways.
    pub fn take(&self, headers: &mut HeaderMap, from: Option<IpAddr>) -> Result<Vouched, &'static str> {
        let is_believed = self.from.iter().any(|front| match (front, from) {
            (Front::Socket, None) => true,
            (Front::Range(range), Some(address)) => range.holds(address),
            (Front::Socket, Some(_)) | (Front::Range(_), None) => false,
        });
        let said = if is_believed { self.said(headers) } else { Ok(Vouched::Nothing) };
        let named: Vec<HeaderName> = headers.keys().filter(|name| self.names(name.as_str())).cloned().collect();
        for name in named {
            headers.remove(name);
        }
        said
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        let optional = [&self.tenant, &self.user, &self.groups].into_iter().flatten();
        std::iter::once(&self.app).chain(optional).map(|name| &**name)
    }

    /// Whether some reader takes a name for one of the fields.
    fn names(&self, name: &str) -> bool {
        self.fields().any(|field| is_spelling_of(field, name))
    }

    fn said(&self, headers: &HeaderMap) -> Result<Vouched, &'static str> {
        let exact = |name: &HeaderName| self.fields().any(|field| field == name.as_str());
        if headers.keys().any(|name| self.names(name.as_str()) && !exact(name)) {
            return Err("a field that says who calls is spelled in another way");
        }
        let named_there = |value: &HeaderValue| {
            let mut options = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            options.any(|option| std::str::from_utf8(option).is_ok_and(|option| self.names(option)))
        };
        if headers.get_all(header::CONNECTION).iter().any(named_there) {
            return Err("Connection names a field that says who calls");
        }
        let app = one(headers, Some(&self.app))?;
        let (tenant, user) = (one(headers, self.tenant.as_deref())?, one(headers, self.user.as_deref())?);
        let groups = one(headers, self.groups.as_deref())?;
        if [app, tenant, user, groups].iter().all(Option::is_none) {
            return Ok(Vouched::Nothing);
        }
        let claims = self.claims(app, tenant, user, groups);
        Ok(claims.map_or(Vouched::Failed, |claims| Vouched::For(Arc::new(claims))))
    }

    /// `None`: it does not say who calls.
    fn claims(
        &self,
        app: Option<&HeaderValue>,
        tenant: Option<&HeaderValue>,
        user: Option<&HeaderValue>,
        groups: Option<&HeaderValue>,
    ) -> Option<Claims> {
        let app = name(app?)?;
        let tenant = match (&self.tenant, tenant) {
            (None, _) => None,
            (Some(_), tenant) => Some(name(tenant?)?.into()),
        };
        let user = match (&self.user, user) {
            // Nothing is ever said of users: the proxy stands for apps.
            (None, _) => UserTold::Nobody,
            (Some(_), None) => UserTold::Unknown,
            (Some(_), Some(user)) => match name(user)? {
                user if user == app => UserTold::Nobody,
                user => UserTold::Id(user.into()),
            },
        };
        let groups = match groups {
            None => None,
            Some(listed) => groups_of(listed)?,
        };
        let (by, issuer) = (ClientMethod::TrustedHeader, Arc::from(""));
        Some(Claims { by, issuer, app: app.into(), tenant, user, groups, until_ms: i64::MAX })
    }
}

/// A list with commas; an empty one is that of nobody. More than anybody is in are as good as none told.
fn groups_of(listed: &HeaderValue) -> Option<Option<Box<[Box<str>]>>> {
    let listed = listed.to_str().ok()?;
    if listed.is_empty() {
        return Some(Some(Box::default()));
    }
    let groups: Option<Vec<Box<str>>> = listed.split(',').map(|one| plain(one.trim()).map(Box::from)).collect();
    let groups = groups?;
    Some((groups.len() <= GROUPS_MAX).then(|| groups.into()))
}

fn one<'h>(headers: &'h HeaderMap, name: Option<&str>) -> Result<Option<&'h HeaderValue>, &'static str> {
    let Some(name) = name else { return Ok(None) };
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err("a field that says who calls stands there twice") } else { Ok(first) }
}

fn name(value: &HeaderValue) -> Option<&str> {
    plain(value.to_str().ok()?)
}

fn plain(text: &str) -> Option<&str> {
    (!text.is_empty() && text.len() <= NAME_BYTES_MAX).then_some(text)
}

/// CGI, WSGI and their like fold `_` and `.` to `-`.
fn is_spelling_of(field: &str, name: &str) -> bool {
    let fold = |byte: u8| if matches!(byte, b'_' | b'.') { b'-' } else { byte.to_ascii_lowercase() };
    field.len() == name.len() && field.bytes().zip(name.bytes()).all(|(one, other)| one == fold(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fronts() -> TrustedHeader {
        TrustedHeader {
            from: Box::new([Front::Range(AddressRange::parse("10.0.0.0/8").unwrap()), Front::Socket]),
            app: "x-app".into(),
            tenant: Some("x-tenant".into()),
            user: Some("x-user".into()),
            groups: Some("x-groups".into()),
        }
    }

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let each = fields.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        each.collect()
    }

    /// What is said, and what is left of the fields.
    fn taken(fields: &[(&str, &str)], from: Option<&str>) -> (Result<Vouched, &'static str>, usize) {
        let mut headers = headers(fields);
        let said = fronts().take(&mut headers, from.map(|from| from.parse().unwrap()));
        (said, headers.len())
    }

    const ALL: [(&str, &str); 4] = [("x-app", "a"), ("x-tenant", "t"), ("x-user", "u"), ("x-groups", "g, h")];

    #[test]
    fn one_who_is_believed_says_who_calls() {
        for from in [Some("10.1.2.3"), None] {
            let (said, left) = taken(&ALL, from);
            let Ok(Vouched::For(claims)) = said else { panic!("{said:?}") };
            assert_eq!((&*claims.app, claims.tenant.as_deref(), left), ("a", Some("t"), 0));
            assert_eq!(
                (claims.user().map(|user| &**user), claims.groups.as_ref().map(|all| all.len())),
                (Some("u"), Some(2))
            );
        }
        let said = |fields: &[(&str, &str)]| match taken(fields, None).0 {
            Ok(Vouched::For(claims)) => (claims.user.clone(), claims.groups.clone()),
            other => panic!("{other:?}"),
        };
        assert_eq!(said(&ALL[..2]), (UserTold::Unknown, None), "what is left out is not told");
        assert_eq!(said(&[ALL[0], ALL[1], ("x-user", "a")]).0, UserTold::Nobody);
        assert_eq!(said(&[ALL[0], ALL[1], ("x-groups", "")]).1.as_deref(), Some(&[][..]));
    }

    #[test]
    fn nobody_else_says_anything_in_any_spelling() {
        let spelled = [
            ("x_app", "a"),
            ("X.Tenant", "t"),
            ("x-user", "u"),
            ("x_user", "root"),
            ("x.groups", "g"),
            ("x-other", "1"),
        ];
        for from in ["192.0.2.1", "11.0.0.1", "::1", "fd00::1"] {
            let (said, left) = taken(&spelled, Some(from));
            assert!(matches!(said, Ok(Vouched::Nothing)), "{said:?}");
            assert_eq!(left, 1, "they are taken out all the same");
        }
    }

    #[test]
    fn what_one_who_is_believed_says_in_two_ways_is_refused() {
        for more in
            [("x_user", "root"), ("x.app", "a"), ("x-app", "b"), ("x-user", "u"), ("connection", "close, X-User")]
        {
            let fields: Vec<(&str, &str)> = ALL.into_iter().chain([more]).collect();
            let (said, _) = taken(&fields, Some("10.0.0.1"));
            assert!(said.is_err(), "{more:?}: {said:?}");
        }
    }

    #[test]
    fn what_does_not_say_who_calls_proves_nothing() {
        for fields in [
            &ALL[1..],
            &ALL[..1],
            &[("x-app", ""), ALL[1]],
            &[ALL[0], ("x-tenant", "")],
            &[ALL[0], ALL[1], ("x-user", "")],
            &[ALL[0], ALL[1], ("x-groups", "g,,h")],
        ] {
            let (said, _) = taken(fields, None);
            assert!(matches!(said, Ok(Vouched::Failed)), "{fields:?}: {said:?}");
        }
        assert!(matches!(taken(&[("accept", "*/*")], None).0, Ok(Vouched::Nothing)));
    }

    #[test]
    fn a_range_has_one_reading() {
        for text in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/",
            "x",
            "::ffff:10.0.0.0/104",
            "fd00::1/8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(AddressRange::parse(text), None, "{text}");
        }
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
        ] {
            let range = AddressRange::parse(text).unwrap();
            assert!(range.holds(inside.parse().unwrap()) && !range.holds(outside.parse().unwrap()), "{text}");
        }
        assert!(AddressRange::parse("0.0.0.0/0").unwrap().is_everybody());
    }
}
