//! Checks that several kinds of document share.

use crate::authz::policy::document::{Signed, Tenants, Valid};
use crate::problem::{At, Spanned};
use crate::yaml::field::{AllOr, Field, Id, List};
use crate::yaml::time::Moment;
use crate::yaml::typed::Reader;

use super::mirror::ValidMirror;

/// What must be written. Notes its absence at `at`; a broken one is noted already.
pub fn required<T>(reader: &Reader<'_>, field: Field<T>, at: At, lacks: &str, help: &str) -> Option<Spanned<T>> {
    if field.is_absent() {
        reader.error_with_help(at, lacks, help);
    }
    field.into_spanned()
}

/// Text that must say something.
pub fn said(reader: &Reader<'_>, field: Field<String>) -> Option<Spanned<String>> {
    let written = field.into_spanned()?;
    if written.value.trim().is_empty() {
        reader.error_with_help(written.at, "this says nothing", "write a text, or delete the key");
        return None;
    }
    Some(written)
}

pub fn text_of(id: Spanned<Id>) -> Spanned<String> {
    Spanned { value: id.value.0, at: id.at }
}

pub fn id(field: Field<Id>) -> Option<Spanned<String>> {
    field.into_spanned().map(text_of)
}

/// The items of a list that must hold one. Broken items are noted already and left out.
pub fn items<T>(reader: &Reader<'_>, list: Spanned<List<T>>) -> Option<Vec<Spanned<T>>> {
    if list.value.is_empty() {
        let help = "delete the key where absence says what you mean, or write `all` where that word is allowed";
        reader.error_with_help(list.at, "an empty list never means all", help);
        return None;
    }
    Some(list.value.into_iter().filter_map(Field::into_spanned).collect())
}

/// The ids of a list that must hold one. `all` among them is no id.
pub fn ids(reader: &Reader<'_>, list: Spanned<List<Id>>) -> Option<Vec<Spanned<String>>> {
    let ids: Vec<_> = items(reader, list)?.into_iter().map(text_of).collect();
    for id in ids.iter().filter(|id| id.value == "all") {
        let help = "where all is meant and allowed, write the word `all` in place of the list";
        reader.error_with_help(id.at, "`all` is no item of a list", help);
    }
    Some(ids)
}

/// The ids under a key that may be absent.
pub fn optional_ids(reader: &Reader<'_>, field: Field<List<Id>>) -> Option<Vec<Spanned<String>>> {
    field.into_spanned().and_then(|list| ids(reader, list))
}

pub fn tenants(reader: &Reader<'_>, field: Field<AllOr<Id>>) -> Option<Tenants> {
    let Spanned { value, at } = field.into_spanned()?;
    match value {
        AllOr::All => Some(Tenants::All(at)),
        AllOr::Listed(list) => ids(reader, Spanned { value: list, at }).map(Tenants::Named),
    }
}

pub fn signed(by: Field<String>, at: Field<Moment>) -> Signed {
    Signed { by: by.into_value(), at: at.into_value().map(|Moment(ms)| ms) }
}

pub fn valid(reader: &Reader<'_>, field: Field<ValidMirror>) -> Valid {
    let Some(Spanned { value: ValidMirror { from, until, after_install }, at }) = field.into_spanned() else {
        return Valid::default();
    };
    if from.is_absent() && until.is_absent() && after_install.is_absent() {
        reader.error_with_help(at, "`valid` says nothing", "write `from`, `until` or `after_install`, or delete it");
    }
    if let (Some(Moment(start)), Some(end)) = (from.value(), until.spanned())
        && *start >= end.value.0
    {
        reader.error_with_help(end.at, "`until` is not later than `from`", "this would never be in force; mend one");
    }
    if let Some(span) = after_install.spanned()
        && span.value.0 == 0
    {
        reader.error_with_help(span.at, "`after_install` has no length", "write a time such as 24h");
    }
    Valid {
        from: from.into_value().map(|moment| moment.0),
        until: until.into_value().map(|moment| moment.0),
        after_install_ms: after_install.into_value().map(|span| span.0),
        at,
    }
}

/// `product/app`, both `[a-z0-9][a-z0-9._-]*`.
pub fn app_name(reader: &Reader<'_>, name: &Spanned<String>) -> bool {
    let ok = name.value.split_once('/').is_some_and(|(product, app)| is_word(product) && is_word(app));
    if !ok {
        let message = format!("`{}` is no app name", name.value);
        reader.error_with_help(name.at, message, "write product/app in lower case, such as `slack/assist`");
    }
    ok
}

fn is_word(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
}

/// A product's name, as in `jira`.
pub fn product_name(reader: &Reader<'_>, name: &Spanned<String>) {
    if !is_word(&name.value) {
        let message = format!("`{}` is no product name", name.value);
        reader.error_with_help(name.at, message, "write it in lower case, such as `jira`");
    }
}
