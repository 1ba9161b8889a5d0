//! Checks the questions that list containers with their names.

use http::Method;

use super::names::Names;
use crate::authz::catalog::compact::{Compact, Spot};
use crate::authz::catalog::lookups::{Piece, Target};
use crate::authz::catalog::matcher::{Found, Matcher};
use crate::authz::catalog::name_lists::{NameListWords, PagesAt};
use crate::authz::catalog::naming::{NameList, Named, NextPage, Pages};

pub fn compile(compact: &Compact, matcher: &Matcher, names: &mut Names<'_>) -> Box<[NameList]> {
    let compiled = compact.names.iter().filter_map(|written| list(written, matcher, names));
    compiled.collect()
}

fn list(written: &NameListWords, matcher: &Matcher, names: &mut Names<'_>) -> Option<NameList> {
    let spot = written.kind.spot;
    if written.why.trim().is_empty() {
        names.problem(spot, format!("the names of `{}` need a reason", written.kind.text));
    }
    if written.named.is_empty() {
        names.problem(spot, "`named` says where the id and the name of an item stand");
    }
    let pointers = [Some(&written.items), written.ok.as_ref()].into_iter().flatten();
    let within = written.named.iter().flat_map(|named| [&named.id, &named.name]);
    for text in pointers.chain(within) {
        pointer(text, spot, names);
    }
    let named = written.named.iter().map(|one| Named {
        id: one.id.as_str().into(),
        name: one.name.as_str().into(),
        prefix: one.prefix.as_str().into(),
    });
    Some(NameList {
        kind: names.container(&written.kind)?,
        why: written.why.as_str().into(),
        target: target(written, matcher, names)?,
        ok: written.ok.as_deref().map(Into::into),
        items: written.items.as_str().into(),
        named: named.collect(),
        pages: match &written.pages {
            Some(written) => Some(pages(written, spot, names)?),
            None => None,
        },
    })
}

fn pages(written: &PagesAt, spot: Spot, names: &mut Names<'_>) -> Option<Pages> {
    let PagesAt { argument, cursor, link, last } = written;
    [cursor, link, last].into_iter().flatten().for_each(|text| pointer(text, spot, names));
    let tells = match (cursor, link, last) {
        (Some(at), None, None) => NextPage::Cursor(at.as_str().into()),
        (None, Some(at), None) => NextPage::Link(at.as_str().into()),
        (None, None, Some(at)) => NextPage::Count { last: at.as_str().into() },
        _ => {
            names.problem(spot, "`pages` has exactly one of `cursor`, `link` and `last`");
            return None;
        }
    };
    let is_word =
        !argument.is_empty() && argument.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !is_word {
        names.problem(spot, format!("`{argument}` is no argument of a query"));
    }
    Some(Pages { argument: argument.as_str().into(), tells })
}

fn pointer(text: &str, spot: Spot, names: &mut Names<'_>) {
    if !text.starts_with('/') {
        names.problem(spot, format!("`{text}` is not a JSON pointer: it starts with `/`"));
    }
}

/// It must be a question that the product has.
fn target(written: &NameListWords, matcher: &Matcher, names: &mut Names<'_>) -> Option<Target> {
    let request = &written.request;
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}' | b'#'));
    let pieces = request.text.strip_prefix("GET /").map(|target| {
        let mut pieces = vec![Piece::Text("/".into())];
        for (index, text) in target.split("{tenant}").enumerate() {
            if index > 0 {
                pieces.push(Piece::Tenant);
            }
            pieces.push(Piece::Text(text.into()));
        }
        pieces
    });
    let plain = pieces.filter(|pieces| {
        pieces.iter().all(|piece| match piece {
            Piece::Text(text) => is_plain(text),
            Piece::Id | Piece::Tenant => true,
        })
    });
    let Some(pieces) = plain else {
        names.problem(request.spot, "names are asked for by `GET /path?query`; `{tenant}` may stand in it");
        return None;
    };
    let target = Target(pieces.into());
    let asked = target.of("t", "");
    let path = asked.split_once('?').map_or(asked.as_str(), |(path, _)| path);
    if !matches!(matcher.find(&Method::GET, path), Found::Operation(_)) {
        names.problem(request.spot, format!("`{}` is no operation of this product", request.text));
    }
    Some(target)
}
