//! From the mirror to the model: how a gate asks the product about things that requests name.

use std::time::Duration;

use super::check::{Context, duration};
use super::file::{LookupCredentialMirror, LookupsMirror, ProxySchemeWord};
use super::model::{LookupCredential, Lookups, Tenant};
use crate::authz::policy::document::UpstreamScheme;
use crate::problem::Spanned;
use crate::yaml::field::Field;
use crate::yaml::time::Span;

const PER_SECOND: std::ops::RangeInclusive<u32> = 1..=10_000;
/// A request waits for it.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// As long, what was moved or renamed past the gate may be taken for what it was.
const FACT_AGE_MAX: Duration = Duration::from_secs(300);

/// `None`: nothing is asked.
pub fn lookups(context: &Context<'_>, field: Field<LookupsMirror>, tenants: &[Tenant]) -> Option<Lookups> {
    let unwritten = Lookups::default();
    let map = match field.into_value() {
        None => return Some(unwritten),
        Some(LookupsMirror::Off) => return None,
        Some(LookupsMirror::Map(map)) => map,
    };
    let bounded = |field: &Field<Span>, unwritten: Duration, most: Duration, help: &str| {
        let Some(written) = field.spanned() else { return unwritten };
        let span = duration(written.value);
        if span.is_zero() || span > most {
            context.error(written.at, format!("this is longer than 0 and at most {}s", most.as_secs()), help);
        }
        span
    };
    let timeout = bounded(&map.timeout, unwritten.timeout, TIMEOUT_MAX, "write a time such as 2s");
    let max_fact_age = bounded(&map.max_fact_age, unwritten.max_fact_age, FACT_AGE_MAX, "write a time such as 30s");
    let per_second = match map.per_second.spanned() {
        None => unwritten.per_second,
        Some(written) => {
            if !PER_SECOND.contains(&written.value) {
                let message = format!("this limit is from {} to {}", PER_SECOND.start(), PER_SECOND.end());
                context.error(written.at, message, "write a number between them, or delete the key");
            }
            written.value
        }
    };
    let credential = map.credential.into_spanned().and_then(|written| {
        if tenants.len() > 1 {
            let help =
                "give each tenant a gate of its own, or delete it: callers' own credentials are used where they can be";
            context.error(written.at, "one credential for look-ups stands beside several tenants", help);
        }
        credential(context, written)
    });
    Some(Lookups { credential, per_second, timeout, max_fact_age })
}

fn credential(context: &Context<'_>, written: Spanned<LookupCredentialMirror>) -> Option<LookupCredential> {
    let help = "write the path of a file that holds a token";
    let file = context.required(written.value.file, written.at, "`credential` lacks `file`", help)?;
    let scheme = match written.value.scheme.into_value() {
        Some(ProxySchemeWord::Basic) => UpstreamScheme::Basic,
        Some(ProxySchemeWord::Bearer) | None => UpstreamScheme::Bearer,
    };
    Some(LookupCredential { scheme, file: context.folder.join(file.value.0) })
}
