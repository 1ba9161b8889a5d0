//! What a verified token says of its caller, in the words of the gate's configuration.
//!
//! A fact that a token leaves out stays unknown; one that it says in a form that nobody agreed on refuses the token.

use std::sync::Arc;

use crate::authz::policy::credentials::ClientMethod;
use crate::authz::request::json::Value;

/// Bytes of an app's, tenant's, user's or group's name in a token.
const NAME_BYTES_MAX: usize = 256;
/// Groups of one token. Issuers leave the claim out beyond some 200, as if there were none: so it is read here too.
const GROUPS_MAX: usize = 256;

/// Where a claim stands: a name at the top, or a JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimName(Box<str>);

impl ClaimName {
    /// `None`: nothing can stand there.
    pub fn new(written: &str) -> Option<Self> {
        let is_named = !written.is_empty() && !written.ends_with('/');
        is_named.then(|| Self(written.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The claim; absent and null are one.
    fn of<'c>(&self, claims: &'c Value<'c>) -> Result<Option<&'c Value<'c>>, Unreadable> {
        if self.0.starts_with('/') {
            return claims.at(&self.0).map_err(|_| Unreadable);
        }
        let Value::Object(members) = claims else { return Err(Unreadable) };
        let found = members.member(&self.0).map_err(|_| Unreadable)?;
        Ok(found.filter(|value| **value != Value::Null))
    }

    fn text<'c>(&self, claims: &'c Value<'c>) -> Result<Option<&'c str>, Unreadable> {
        match self.of(claims)? {
            None => Ok(None),
            Some(Value::Text(text)) => name(text).map(Some),
            Some(_) => Err(Unreadable),
        }
    }
}

/// Which claims say who the caller is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    pub app: ClaimName,
    /// `None`: tokens name no tenant; the gate does.
    pub tenant: Option<ClaimName>,
    pub user: ClaimName,
    /// `None`: tokens name no groups.
    pub groups: Option<ClaimName>,
}

/// A claim that cannot be taken for what it is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// Who stands behind a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserTold {
    /// Nobody: the app calls for itself.
    Nobody,
    Id(Arc<str>),
    /// The token does not say. It may be one for a user all the same.
    Unknown,
}

/// What a token, or whoever else vouches for a caller, says of it, for as long as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub by: ClientMethod,
    pub issuer: Arc<str>,
    /// As the issuer names it.
    pub app: Box<str>,
    pub tenant: Option<Box<str>>,
    pub user: UserTold,
    /// `None`: the token does not say.
    pub groups: Option<Box<[Box<str>]>>,
    /// From this Unix time in milliseconds on it proves nothing.
    pub until_ms: i64,
}

impl Claims {
    /// Reads what a verified token says.
    ///
    /// # Errors
    /// It names no app, or a claim is not what it should be.
    pub fn read(names: &ClaimNames, issuer: &Arc<str>, claims: &Value<'_>, until_ms: i64) -> Result<Self, Unreadable> {
        let app = names.app.text(claims)?.ok_or(Unreadable)?;
        let tenant = names.tenant.as_ref().map(|tenant| tenant.text(claims)).transpose()?.flatten();
        if names.tenant.is_some() && tenant.is_none() {
            return Err(Unreadable);
        }
        let user = match names.user.text(claims)? {
            None => UserTold::Unknown,
            // RFC 9068 §2.2: a client that calls for itself is its own subject.
            Some(user) if user == app => UserTold::Nobody,
            Some(user) => UserTold::Id(user.into()),
        };
        acts_for(names, claims, app, &user)?;
        let groups = names.groups.as_ref().map(|groups| groups_of(groups, claims)).transpose()?.flatten();
        let by = ClientMethod::Jwt;
        Ok(Self {
            by,
            issuer: Arc::clone(issuer),
            app: app.into(),
            tenant: tenant.map(Box::from),
            user,
            groups,
            until_ms,
        })
    }

    pub fn user(&self) -> Option<&Arc<str>> {
        match &self.user {
            UserTold::Id(user) => Some(user),
            UserTold::Nobody | UserTold::Unknown => None,
        }
    }

    pub fn is_live(&self, now_ms: i64) -> bool {
        now_ms < self.until_ms
    }
}

/// `act` (RFC 8693 §4.1) says who acts for the subject: it must be the app that the token is taken for, and somebody must
/// stand behind it. Those that acted before (`act` within `act`) say nothing of this call.
fn acts_for(names: &ClaimNames, claims: &Value<'_>, app: &str, user: &UserTold) -> Result<(), Unreadable> {
    let Value::Object(members) = claims else { return Err(Unreadable) };
    let actor = match members.member("act").map_err(|_| Unreadable)? {
        None => return Ok(()),
        Some(Value::Object(actor)) => actor,
        Some(_) => return Err(Unreadable),
    };
    if !matches!(user, UserTold::Id(_)) {
        return Err(Unreadable);
    }
    // The app itself may be read from within `act`, be it `/act/sub` or `/act/client_id`.
    let is_read_there = names.app.as_str().starts_with("/act/");
    match actor.member("sub").map_err(|_| Unreadable)? {
        Some(Value::Text(acting)) if *acting == *app => Ok(()),
        Some(_) | None if is_read_there => Ok(()),
        Some(_) | None => Err(Unreadable),
    }
}

/// One name, or a list of them. More than anybody is in are as good as none told.
fn groups_of(groups: &ClaimName, claims: &Value<'_>) -> Result<Option<Box<[Box<str>]>>, Unreadable> {
    let text = |value: &Value<'_>| match value {
        Value::Text(text) => name(text).map(Box::from),
        _ => Err(Unreadable),
    };
    match groups.of(claims)? {
        None => Ok(None),
        Some(Value::List(all)) if all.len() > GROUPS_MAX => Ok(None),
        Some(Value::List(all)) => all.iter().map(text).collect::<Result<_, _>>().map(Some),
        Some(one) => Ok(Some(Box::new([text(one)?]))),
    }
}

fn name(text: &str) -> Result<&str, Unreadable> {
    let is_name = !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
    if is_name { Ok(text) } else { Err(Unreadable) }
}
