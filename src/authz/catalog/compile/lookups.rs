//! Numbers the look-ups of a catalog, and finds what is wrong with them.

use http::Method;

use super::names::Names;
use super::whole;
use crate::authz::catalog::compact::{self, Compact, Spot, Word};
use crate::authz::catalog::lookups::{Answer, Errors, HomeAt, Identity, Lookup, LookupId, Piece, Target, Tells};
use crate::authz::catalog::matcher::{Found, Matcher};
use crate::authz::catalog::{VariantMask, lookups};

pub fn compile(compact: &Compact, names: &mut Names<'_>) -> Box<[Lookup]> {
    let mut compiled = Vec::with_capacity(compact.lookups.len());
    for written in &compact.lookups {
        compiled.extend(lookup(written, names));
        for operation in written.changed_by.iter().chain(written.one_changed_by.iter().flat_map(|one| &one.operations))
        {
            if !compact.operations.iter().any(|known| known.id.text == operation.text) {
                names.problem(operation.spot, format!("no operation is called `{}`", operation.text));
            }
        }
    }
    without_end(compact, names);
    compiled.into()
}

fn lookup(written: &compact::Lookup, names: &mut Names<'_>) -> Option<Lookup> {
    let (name, spot) = (&written.name.text, written.name.spot);
    if written.why.trim().is_empty() {
        names.problem(spot, format!("look-up `{name}` needs a reason"));
    }
    let tells = match (written.answer.is_empty(), written.then.is_empty()) {
        (false, true) => Tells::Homes(written.answer.iter().filter_map(|one| home(one, spot, names)).collect()),
        (true, false) => {
            let next = written.then.iter().filter_map(|then| {
                pointer(&then.at, spot, names);
                Some((names.lookup(&then.lookup)?, then.at.as_str().into()))
            });
            Tells::Then(next.collect())
        }
        (true, true) | (false, false) => {
            names.problem(spot, format!("look-up `{name}` has one of `answer` and `then`"));
            return None;
        }
    };
    written.ok.iter().for_each(|ok| pointer(ok, spot, names));
    if written.ok.is_some() != written.errors.is_some() {
        names.problem(
            spot,
            format!("look-up `{name}` has `ok` and `errors`, or neither: an error is no fact by itself"),
        );
    }
    if !written.one_changed_by.is_empty() && written.identity.is_none() {
        names.problem(spot, format!("look-up `{name}` has `one_changed_by`: it needs an `identity`"));
    }
    if written.one_changed_by.iter().any(|one| one.at.is_none()) {
        names.problem(spot, "`one_changed_by` has exactly one of `path` and `argument`");
    }
    let variants = written.variants.iter().map(|(at, means)| {
        pointer(at, spot, names);
        (at.as_str().into(), names.variants(means))
    });
    let variants: Box<[(Box<str>, VariantMask)]> = variants.collect();
    Some(Lookup {
        name: name.as_str().into(),
        why: written.why.as_str().into(),
        kind: names.container(&written.kind)?,
        written: whole(&written.written, spot, names)?,
        target: target(&written.request, names)?,
        ok: written.ok.as_deref().map(Into::into),
        errors: written.errors.as_ref().map(|written| errors(written, spot, names)),
        identity: match &written.identity {
            Some(one) => Some(identity(one, written, spot, names)?),
            None => None,
        },
        tells,
        none_is_tenant: written.none_is_tenant,
        variants,
    })
}

fn errors(written: &compact::Errors, spot: Spot, names: &mut Names<'_>) -> Errors {
    pointer(&written.at, spot, names);
    let compact::Errors { none, hidden, too_many, dead, .. } = written;
    let meanings =
        [(none, Answer::Nowhere), (hidden, Answer::Hidden), (too_many, Answer::TooMany), (dead, Answer::Dead)];
    let mut words: Vec<(Box<str>, Answer)> = Vec::new();
    for (word, means) in meanings.iter().flat_map(|(words, means)| words.iter().map(move |word| (word, means))) {
        if words.iter().any(|(known, _)| **known == **word) {
            names.problem(spot, format!("the error `{word}` means two things"));
        }
        words.push((word.as_str().into(), means.clone()));
    }
    Errors { at: written.at.as_str().into(), words: words.into() }
}

fn identity(
    written: &compact::Identity,
    lookup: &compact::Lookup,
    spot: Spot,
    names: &mut Names<'_>,
) -> Option<Identity> {
    written.at.iter().for_each(|at| pointer(at, spot, names));
    if written.at.is_none() && written.written != lookup.written {
        let message = format!(
            "look-up `{}`: a thing may have another name: say where an answer tells its `identity`",
            lookup.name.text
        );
        names.problem(spot, message);
    }
    Some(Identity { written: whole(&written.written, spot, names)?, at: written.at.as_deref().map(Into::into) })
}

fn home(written: &compact::Answer, spot: Spot, names: &mut Names<'_>) -> Option<HomeAt> {
    let (id, key) = (written.id.as_deref(), written.key.as_deref());
    for at in [id, key].into_iter().flatten() {
        pointer(at, spot, names);
        let stars = at.split('/').filter(|token| *token == "*").count();
        if stars > 1 || stars == 1 && id.is_some() && key.is_some() {
            names.problem(spot, format!("`{at}`: one list is looked through, for ids or for names"));
        }
    }
    if id.is_none() && key.is_none() {
        names.problem(spot, "an answer says where the `id` or the `key` of a container stands");
        return None;
    }
    if written.reading.is_some() && (id.is_some() || key.is_none()) {
        names.problem(spot, "`as:` is for a `key` alone");
    }
    Some(HomeAt { id: id.map(Into::into), key: key.map(Into::into), reading: written.reading })
}

fn pointer(text: &str, spot: Spot, names: &mut Names<'_>) {
    if !text.starts_with('/') {
        names.problem(spot, format!("`{text}` is not a JSON pointer: it starts with `/`"));
    }
}

fn target(request: &Word, names: &mut Names<'_>) -> Option<Target> {
    let help = "a look-up asks `GET /path?query` with `{id}` in it once";
    let Some(target) = request.text.strip_prefix("GET /") else {
        names.problem(request.spot, format!("`{}`: {help}", request.text));
        return None;
    };
    let mut pieces = vec![Piece::Text("/".into())];
    let mut rest = target;
    while let Some((text, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        pieces.push(Piece::Text(text.into()));
        match name {
            "id" => pieces.push(Piece::Id),
            "tenant" => pieces.push(Piece::Tenant),
            _ => {
                names.problem(request.spot, format!("`{{{name}}}`: {help}; `{{tenant}}` may stand beside it"));
                return None;
            }
        }
        rest = after;
    }
    pieces.push(Piece::Text(rest.into()));
    let ids = pieces.iter().filter(|piece| **piece == Piece::Id).count();
    let plain = rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}' | b'#'));
    if ids != 1 || !plain {
        names.problem(request.spot, help);
        return None;
    }
    Some(Target(pieces.into()))
}

/// A look-up by name that tells of this kind of container.
pub fn of_kind(name: &Word, kind: &Word, compact: &Compact, names: &mut Names<'_>) -> Option<LookupId> {
    let id = names.lookup(name)?;
    let told = compact.lookups.get(usize::from(id.0)).map(|lookup| lookup.kind.text.as_str());
    if told != Some(kind.text.as_str()) {
        let told = told.unwrap_or("?");
        names.problem(name.spot, format!("look-up `{}` tells of a {told}, not of a {}", name.text, kind.text));
    }
    Some(id)
}

/// What is asked on must end, and tell of the same kind of container.
fn without_end(compact: &Compact, names: &mut Names<'_>) {
    let of = |name: &str| compact.lookups.iter().find(|lookup| lookup.name.text == name);
    for lookup in &compact.lookups {
        for then in &lookup.then {
            if of(&then.lookup.text).is_some_and(|next| next.kind.text != lookup.kind.text) {
                names.problem(then.lookup.spot, format!("`{}` tells of another kind of container", then.lookup.text));
            }
        }
        let mut reached: Vec<&compact::Lookup> = vec![lookup];
        for _ in 0..lookups::CHAIN_MAX {
            reached = reached.iter().flat_map(|one| &one.then).filter_map(|then| of(&then.lookup.text)).collect();
            reached.dedup_by(|one, other| one.name == other.name);
        }
        if !reached.is_empty() {
            let most = lookups::CHAIN_MAX;
            names.problem(lookup.name.spot, format!("what `{}` asks on does not end after {most}", lookup.name.text));
        }
    }
}

/// A look-up asks what the product has.
pub fn ask_what_is_there(compact: &Compact, compiled: &[Lookup], matcher: &Matcher, names: &mut Names<'_>) {
    // Where one is wrong there are fewer, and what is wrong has been said.
    let all = compact.lookups.iter().zip(compiled).filter(|_| compact.lookups.len() == compiled.len());
    for (written, lookup) in all {
        let target = lookup.target.of("t", "1");
        let path = target.split_once('?').map_or(target.as_str(), |(path, _)| path);
        if !matches!(matcher.find(&Method::GET, path), Found::Operation(_)) {
            names.problem(written.request.spot, format!("`{}` is no operation of this product", written.request.text));
        }
    }
}
