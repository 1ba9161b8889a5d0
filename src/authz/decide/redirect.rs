//! What becomes of an answer that leads to another origin: the gate follows it, the caller may have it, or it is refused.
//!
//! Such a URL is a credential as a rule: it opens what it names for whoever holds it. So it goes to the caller only
//! under `gate:mint`, held where the request reaches, and the gate follows it only to a host that the catalog names.

use http::{Method, StatusCode};

use super::{Denial, Permit, Sought, decide, decide_with, is_same_caller, unsettled};
use crate::authz::catalog::Catalog;
use crate::authz::catalog::links::RedirectId;
use crate::authz::gate::GateRules;
use crate::authz::origin::Origin;
use crate::authz::request::{Facts, RequestView};
use crate::authz::snapshot::Snapshot;

/// Redirects that the gate follows for one request. A download takes one; two more are room, and a loop ends.
pub const FOLLOWED_MAX: u8 = 3;

/// An answer that leads to another origin than the product's own.
#[derive(Debug, Clone, Copy)]
pub struct Redirect<'r> {
    pub status: StatusCode,
    /// `None`: where it leads cannot be told.
    pub to: Option<&'r Origin>,
    /// Redirects that were followed for this request already.
    pub followed: u8,
    /// What the request was sent by.
    pub permit: &'r Permit,
}

/// What the gate may do. Each is a right that was judged anew, when the redirect had come.
#[derive(Debug)]
pub enum Passage {
    /// Fetch it for the caller, without any credential.
    Follow { permit: Permit, host: RedirectId },
    /// Let the caller have the URL.
    PassOn(Permit),
}

/// Judges a redirect by one snapshot, whole: the newest when it came (law 6), and by the request that it answers.
///
/// # Errors
/// The denial: the request itself is no longer permitted, its credential has become another caller's, or the URL would
/// need `gate:mint`.
pub fn decide_redirect(
    snapshot: &Snapshot,
    gate: &GateRules,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
    redirect: &Redirect<'_>,
) -> Result<Passage, Box<Denial>> {
    // The product answered one caller: nobody else may go on from there.
    let same = |permit: Permit| match is_same_caller(&permit, redirect.permit) {
        true => Ok(permit),
        false => Err(unsettled(permit.who)),
    };
    if let Some(host) = host_to_follow(&gate.catalog, request.method, redirect) {
        let permit = decide(snapshot, gate, request, facts).and_then(same)?;
        return Ok(Passage::Follow { permit, host });
    }
    let sought = Sought { answer_guard: Some(gate.catalog.gate_mint), is_brief: false };
    let passed_on = decide_with(snapshot, gate, request, facts, sought);
    let passed_on = passed_on.map_err(|denial| {
        let why = "the product's answer leads to another origin: only under gate:mint may an app have such a URL";
        Box::new(Denial { why: denial.why.or(Some(why)), ..*denial })
    });
    passed_on.and_then(same).map(Passage::PassOn)
}

/// The host of the catalog's list that a redirect leads to, if it is one to be followed: by HTTPS, and so that nothing
/// is done twice. A 307 or 308 would send the body again; what a 301 or 302 means after it, clients do not agree on.
fn host_to_follow(catalog: &Catalog, method: &Method, redirect: &Redirect<'_>) -> Option<RedirectId> {
    let Redirect { status, to, followed, .. } = *redirect;
    listed(catalog, method, status, to.filter(|_| followed < FOLLOWED_MAX)?)
}

fn listed(catalog: &Catalog, method: &Method, status: StatusCode, to: &Origin) -> Option<RedirectId> {
    let safe = *method == Method::GET || *method == Method::HEAD;
    let repeatable = match status {
        StatusCode::SEE_OTHER => true,
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => safe,
        _ => false,
    };
    let listed = catalog.links.redirects.iter().position(|one| one.host == to.host && one.port == to.port);
    let index = listed.filter(|_| repeatable && to.secure)?;
    u8::try_from(index).ok().map(RedirectId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::catalog::links::{Links, RedirectHost};
    use crate::authz::toy;

    fn followed(method: &Method, status: u16, to: &str) -> bool {
        let mut catalog = toy::catalog();
        let host = RedirectHost { host: "media.example".into(), port: 443, why: "files".into() };
        catalog.links = Links { redirects: Box::new([host]), ..Links::default() };
        let status = StatusCode::from_u16(status).unwrap();
        Origin::parse(to).is_some_and(|to| listed(&catalog, method, status, &to).is_some())
    }

    #[test]
    fn only_a_listed_host_is_followed_and_by_https_alone() {
        assert!(followed(&Method::GET, 303, "https://media.example"));
        assert!(followed(&Method::GET, 302, "https://MEDIA.example.:443"));
        for to in [
            "http://media.example",
            "https://media.example:8443",
            "https://evil.media.example",
            "https://media.example.evil",
            "https://127.0.0.1",
            "media.example",
        ] {
            assert!(!followed(&Method::GET, 303, to), "{to}");
        }
    }

    #[test]
    fn what_would_repeat_a_body_is_never_followed() {
        let to = "https://media.example";
        for status in [301, 302, 303, 307, 308] {
            assert!(followed(&Method::GET, status, to) && followed(&Method::HEAD, status, to), "{status}");
            assert_eq!(followed(&Method::POST, status, to), status == 303, "{status}");
            assert_eq!(followed(&Method::DELETE, status, to), status == 303, "{status}");
        }
        for status in [200, 201, 300, 304, 305, 306] {
            assert!(!followed(&Method::GET, status, to), "{status}");
        }
    }
}
