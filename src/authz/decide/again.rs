//! What was permitted and is still under way is judged again: by each new snapshot, and when a term ends by the clock.

use std::sync::Arc;

use super::{Denial, Permit, Who, decide, is_same, product_of};
use crate::authz::gate::GateRules;
use crate::authz::now::Now;
use crate::authz::policy::Policy;
use crate::authz::policy::app::{App, Installation};
use crate::authz::policy::compile::Product;
use crate::authz::reason::Reason;
use crate::authz::request::{Facts, RequestView};
use crate::authz::snapshot::{Snapshot, States};

/// Judges a request again that was begun for `who`, whole, by one snapshot.
///
/// The request says when its credential was shown ([`RequestView::shown_at`]): a token that proves one request is not
/// expected to live as long as that takes.
///
/// # Errors
/// The denial: it is no longer permitted, or its credential has become another caller's.
pub fn decide_again(
    snapshot: &Snapshot,
    gate: &GateRules,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
    who: &Who,
) -> Result<Permit, Box<Denial>> {
    let permit = decide(snapshot, gate, request, facts)?;
    // A credential that nobody had named (a gate under `observe`) may get a name while it is in use.
    let is_named_now = who.app().is_none() && permit.who.tenant() == who.tenant();
    if is_named_now || is_same(&permit.who, who) {
        return Ok(permit);
    }
    let why = Some("the credential is another caller's now");
    Err(Box::new(Denial { why, who: Some(who.clone()), operation: permit.operation, ..Denial::of(Reason::UnknownApp) }))
}

/// The next moment, in Unix milliseconds, at which what is judged for `who` may be taken by the clock alone. `None`: there
/// is none. It may name one at which nothing changes, never miss one.
pub fn next_change_ms(snapshot: &Snapshot, gate: &GateRules, who: &Who, now: Now) -> Option<i64> {
    let States { newest, whole } = snapshot.states.as_ref()?;
    let product = product_of(snapshot, gate)?;
    let states = [Some(newest), whole.as_ref()].into_iter().flatten();
    let changes = states.filter_map(|policy| next_of_policy(policy, product, who, now));
    let evidence_ends = who.claims().map(|claims| claims.until_ms).filter(|until| *until > now.ms);
    changes.chain(gate.observe_until_ms.filter(|until| *until > now.ms)).chain(evidence_ends).min()
}

fn next_of_policy(policy: &Policy, product: &Product, who: &Who, now: Now) -> Option<i64> {
    let (now_ms, gives_ms) = (now.ms, now.gives_ms());
    let app: Option<(u32, &Arc<App>)> = who.app().and_then(|name| policy.app(name));
    let of_tenant = |installation: &&Installation| *installation.tenant == **who.tenant();
    let installation = app.and_then(|(_, app)| app.installations.iter().find(of_tenant));
    let own = app.iter().flat_map(|(_, app)| app.parts.iter());
    let guardrails = policy.product(product.id).map_or(&[][..], |product| &product.guardrails[..]);
    let reaching = guardrails.iter().filter(|guardrail| guardrail.apps.reaches(app.map(|(index, _)| index)));
    let parts = own.chain(reaching.map(|guardrail| &guardrail.linked));
    let of_rules = parts.filter_map(|linked| linked.part.moments.next_ms(now_ms, gives_ms, installation));
    of_rules.chain(installation.and_then(|installation| installation.next_change_ms(now_ms))).min()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::OnceLock;

    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::authz::catalog::{Catalog, builtin};
    use crate::authz::gate::{Identify, TenantRule};
    use crate::authz::looked_up::LookedUp;
    use crate::authz::policy::compile::Catalogs;
    use crate::authz::policy::file::Origin;
    use crate::authz::policy::link::Secrets;
    use crate::authz::policy::store::{Change, Content, Store};
    use crate::authz::request::BodyFacts;

    /// 2026-12-01, in seconds. All moments lie within [`SPAN_S`] after it.
    const BASE_S: i64 = 1_796_083_200;
    const SPAN_S: i64 = 40;

    fn at(second: i64) -> String {
        let time = time::OffsetDateTime::from_unix_timestamp(BASE_S + second).unwrap();
        time.format(&time::format_description::well_known::Rfc3339).unwrap()
    }

    /// Moments of everything that can be limited in time, each absent or somewhere in the span.
    type Moments = [Option<i64>; 9];

    fn texts(moments: &Moments) -> [(Origin, String); 3] {
        let digest: String = Sha256::digest("tracker").iter().map(|byte| format!("{byte:02x}")).collect();
        let [from, until, span, taken, given_back, window, opened, observed, rail] = moments;
        let line =
            |key: &str, value: Option<String>| value.map_or(String::new(), |value| format!("    {key}: {value}\n"));
        let seconds = |length: &Option<i64>| length.map(|length| format!("{}s", length.max(1)));
        let term = |key: &str, moment: &Option<i64>| moment.map(|it| format!("{key}: '{}'", at(it)));
        let valid = |terms: [Option<String>; 3]| {
            let terms: Vec<String> = terms.into_iter().flatten().collect();
            if terms.is_empty() { String::new() } else { format!(", valid: {{{}}}", terms.join(", ")) }
        };
        // A term that ends before it begins is an error.
        let until = until.map(|until| until.max(from.unwrap_or(0) + 1));
        let given_back = given_back.map(|end| end.max(taken.unwrap_or(0) + 1));
        let app = format!(
            "version: 1\napp: jira/tracker\nname: t\ncontact: c\ninstallations:\n  - tenant: acme\n    installed_at: \
             '{}'\n{}{}    credentials: [{{method: token, kind: oauth, sha256: \"{digest}\"}}]\ngrants:\n  \
             - {{scopes: ['read:jira-work'], actors: [app], in: all{}}}\nrevocations:\n  \
             - {{scopes: ['read:jira-work'], in: {{project: [SEC]}}, reason: x{}}}\n",
            at(0),
            line("install_window", seconds(window)),
            line("observe", observed.map(|end| format!("{{until: '{}'}}", at(end)))),
            valid([term("from", from), term("until", &until), seconds(span).map(|it| format!("after_install: {it}"))]),
            valid([term("from", taken), term("until", &given_back), None]),
        );
        let guardrail = format!(
            "version: 1\nguardrail: g\napps: all\ntenants: [acme]\nrevocations:\n  - {{scopes: ['read:jira-work'], in: \
             {{project: [OPS]}}, unless: install_window, reason: x{}}}\n",
            valid([term("from", rail), None, None]),
        );
        let act = opened.map_or(String::new(), |opened| {
            format!(
                "version: 1\napp: jira/tracker\ninstall_windows:\n  - {{tenant: acme, from: '{}', until: '{}', reason: x, \
                 by: d, at: '{}'}}\n",
                at(opened),
                at(opened + 7),
                at(0),
            )
        });
        [(Origin::Policy, app), (Origin::Policy, guardrail), (Origin::Override, act)]
    }

    fn snapshot(moments: &Moments) -> (Snapshot, GateRules) {
        static CATALOG: OnceLock<Arc<Catalog>> = OnceLock::new();
        let catalog = Arc::clone(CATALOG.get_or_init(|| builtin::catalog("jira").unwrap()));
        let catalogs = Arc::new(Catalogs::new([Arc::clone(&catalog)]));
        let mut store = Store::new(catalogs);
        let changes =
            ["a.yaml", "g.yaml", "o.yaml"].into_iter().zip(texts(moments)).filter(|(_, (_, text))| !text.is_empty());
        let changes = changes.map(|(name, (origin, text))| Change {
            file: Arc::from(Path::new(name)),
            origin,
            content: Content::Text(text.into()),
        });
        store.apply(changes.collect(), BASE_S * 1000);
        let errors: Vec<_> = store.problems().into_iter().filter(|problem| problem.is_error()).collect();
        assert!(errors.is_empty(), "{errors:#?} in {:?}", texts(moments));
        store.settle();
        let rules = GateRules {
            name: "jira".into(),
            catalog,
            identify: Identify { gate_key: false, token: true, connect_jwt: false, ..Identify::default() },
            tenant: TenantRule::Fixed("acme".into()),
            issue_keys_prefix: true,
            names_as_written: true,
            channel_types_prefix: false,
            observe_until_ms: None,
        };
        (store.snapshot(&Secrets::new()), rules)
    }

    /// What becomes of a read in each of three projects.
    fn judged(snapshot: &Snapshot, rules: &GateRules, now_ms: i64) -> Vec<(Option<Reason>, Option<Who>)> {
        let judge = |key: &&str| {
            let request = http::Request::builder()
                .uri(format!("/rest/api/3/issue/{key}-1"))
                .header("host", "gate")
                .header("authorization", "Bearer tracker");
            let (head, ()) = request.body(()).unwrap().into_parts();
            let facts = Facts { now_ms, behind_ms: 0, body: BodyFacts::NotHeld, looked_up: LookedUp::nothing() };
            match decide(snapshot, rules, &RequestView::of(&head).unwrap(), &facts) {
                Ok(permit) => (permit.would.map(|would| would.reason), Some(permit.who)),
                Err(denial) => (Some(denial.reason), None),
            }
        };
        ["PROJ", "SEC", "OPS"].iter().map(judge).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn between_now_and_the_next_change_the_clock_changes_nothing(
            moments in proptest::array::uniform9(proptest::option::weighted(0.6, 0..SPAN_S)),
        ) {
            let (snapshot, rules) = snapshot(&moments);
            let outcome = |second: i64| -> Vec<(Option<Reason>, bool)> {
                let judged = judged(&snapshot, &rules, (BASE_S + second) * 1000);
                judged.into_iter().map(|(reason, who)| (reason, who.is_some())).collect()
            };
            // Some second at which it passes tells who it is; where there is none, there is no stream.
            let end = 2 * SPAN_S + 10;
            let seconds = 0..end;
            let who = seconds.clone().find_map(|second| judged(&snapshot, &rules, (BASE_S + second) * 1000).remove(0).1);
            prop_assume!(who.is_some());
            let who = who.unwrap();
            let mut second = 0;
            while second < end {
                let next = next_change_ms(&snapshot, &rules, &who, Now::at((BASE_S + second) * 1000));
                let next = next.map_or(end, |next| next / 1000 - BASE_S);
                prop_assert!(next > second);
                for later in second..next.min(end) {
                    prop_assert_eq!(outcome(later), outcome(second), "at {} as at {}: {:?}", later, second, moments);
                }
                second = next;
            }
        }
    }
}
