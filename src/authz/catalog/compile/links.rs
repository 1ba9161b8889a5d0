//! Checks what a catalog says of links, and compiles for each operation what holds in its answers.

use std::collections::HashMap;
use std::sync::Arc;

use super::names::Names;
use crate::authz::catalog::OperationId;
use crate::authz::catalog::compact::{self, Compact, Word};
use crate::authz::catalog::links::{
    ANY, LinkEntry, LinkRules, Links, NAME_BYTES_MAX, NAMES_MAX, REDIRECT_HOSTS_MAX, RedirectHost,
};
use crate::authz::origin::Origin;
use crate::problem::did_you_mean;

/// The model, and the rules of each operation.
pub struct Compiled {
    pub model: Links,
    rules: Vec<Option<Arc<LinkRules>>>,
}

impl Compiled {
    pub fn of(&self, operation: OperationId) -> Option<Arc<LinkRules>> {
        self.rules.get(usize::from(operation.0)).cloned().flatten()
    }
}

pub fn compile(compact: &Compact, names: &mut Names<'_>) -> Compiled {
    let ids: HashMap<&str, usize> =
        compact.operations.iter().enumerate().map(|(index, operation)| (operation.id.text.as_str(), index)).collect();
    let rewritten = entries(&compact.links.rewritten, &ids, names);
    let stays = entries(&compact.links.stays, &ids, names);
    for (written, entry) in compact.links.rewritten.iter().zip(&rewritten) {
        rewrites_something_told(written, entry, names);
    }
    for (written, entry) in compact.links.stays.iter().zip(&stays) {
        if entry.members.is_empty() && entry.operations.is_empty() {
            names.problem(written.spot, "it names neither members nor operations");
        }
    }
    each_once(compact, names);
    let mut model = Links { rewritten, stays, redirects: redirects(&compact.redirects, names), unknown: None };
    let mut made = HashMap::new();
    model.unknown = rules(&model, None, &mut made, names);
    let operations = (0..compact.operations.len()).filter_map(|index| u16::try_from(index).ok().map(OperationId));
    let rules = operations.map(|operation| rules(&model, Some(operation), &mut made, names)).collect();
    Compiled { model, rules }
}

fn entries(written: &[compact::LinkEntry], ids: &HashMap<&str, usize>, names: &mut Names<'_>) -> Box<[LinkEntry]> {
    written.iter().map(|entry| self::entry(entry, ids, names)).collect()
}

fn entry(written: &compact::LinkEntry, ids: &HashMap<&str, usize>, names: &mut Names<'_>) -> LinkEntry {
    if written.why.trim().is_empty() {
        names.problem(written.spot, "an entry of `links` needs a reason");
    }
    let mut operations = Vec::new();
    for word in &written.operations {
        let found = ids.get(word.text.as_str()).and_then(|index| u16::try_from(*index).ok());
        operations.extend(found.map(OperationId));
        if found.is_none() {
            let near = did_you_mean(&word.text, ids.keys().copied()).map(|near| format!("did you mean `{near}`?"));
            let problem = names.sources.problem(word.spot, format!("no operation is called `{}`", word.text));
            names.problems.push(match near {
                Some(near) => problem.help(near),
                None => problem,
            });
        }
    }
    for member in &written.members {
        path(member, names);
    }
    LinkEntry {
        members: written.members.iter().map(|member| member.text.as_str().into()).collect(),
        operations: operations.into(),
        why: written.why.as_str().into(),
    }
}

fn path(member: &Word, names: &mut Names<'_>) {
    let name = |name: &str| {
        let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && plain && (name == ANY || !name.contains('*'))
    };
    if !member.text.split('.').all(name) {
        let message =
            format!("`{}` is no path of members: names in ASCII, `*` for any one, with dots between them", member.text);
        names.problem(member.spot, message);
    }
}

fn rewrites_something_told(written: &compact::LinkEntry, entry: &LinkEntry, names: &mut Names<'_>) {
    if entry.members.is_empty() {
        names.problem(written.spot, "it names no members: what is rewritten is said by name");
    }
    let all = |member: &&Word| member.text.split('.').all(|name| name == ANY);
    if let Some(member) = written.members.iter().find(all).filter(|_| written.operations.is_empty()) {
        let message = format!("`{}` is every member of every answer: name the operations", member.text);
        names.problem(member.spot, message);
    }
}

/// What is said twice of all operations would win by its place in the file.
fn each_once(compact: &Compact, names: &mut Names<'_>) {
    let mut said: HashMap<&str, u32> = HashMap::new();
    for entry in compact.links.rewritten.iter().chain(&compact.links.stays).filter(|entry| entry.operations.is_empty())
    {
        for member in &entry.members {
            if let Some(line) = said.insert(&member.text, member.spot.at.line) {
                names.problem(member.spot, format!("`{}` stands in line {line} already", member.text));
            }
        }
    }
}

fn redirects(written: &[compact::RedirectHost], names: &mut Names<'_>) -> Box<[RedirectHost]> {
    let mut redirects: Vec<RedirectHost> = Vec::new();
    for one in written {
        let Some(origin) = Origin::parse(&format!("https://{}", one.host.text)) else {
            let message = format!("`{}` is no host: write a whole name, and a port where it is not 443", one.host.text);
            names.problem(one.host.spot, message);
            continue;
        };
        if redirects.iter().any(|other| other.host == origin.host && other.port == origin.port) {
            names.problem(one.host.spot, format!("`{}` is written twice", one.host.text));
        }
        if one.why.trim().is_empty() {
            names.problem(one.host.spot, format!("`{}` needs a reason", one.host.text));
        }
        redirects.push(RedirectHost { host: origin.host, port: origin.port, why: one.why.as_str().into() });
    }
    if let Some(one) = written.get(REDIRECT_HOSTS_MAX) {
        names.problem(one.host.spot, format!("{} `redirects`: at most {REDIRECT_HOSTS_MAX}", written.len()));
    }
    redirects.into()
}

/// The entries that speak of an operation, by their places in the catalog.
type Speaking = (Vec<usize>, Vec<usize>);

/// What holds in the answers of an operation; of one that the catalog does not know, what is said of all.
fn rules(
    links: &Links,
    operation: Option<OperationId>,
    made: &mut HashMap<Speaking, Option<Arc<LinkRules>>>,
    names: &mut Names<'_>,
) -> Option<Arc<LinkRules>> {
    let speaks = |entry: &LinkEntry| {
        entry.operations.is_empty() || operation.is_some_and(|operation| entry.operations.contains(&operation))
    };
    let speaking = |all: &[LinkEntry]| -> Vec<usize> {
        all.iter().enumerate().filter(|(_, entry)| speaks(entry)).map(|(index, _)| index).collect()
    };
    let key = (speaking(&links.rewritten), speaking(&links.stays));
    if let Some(known) = made.get(&key) {
        return known.clone();
    }
    let rewritten: Vec<&LinkEntry> = links.rewritten.iter().filter(|entry| speaks(entry)).collect();
    let stays: Vec<&LinkEntry> = links.stays.iter().filter(|entry| speaks(entry)).collect();
    let left_alone = rewritten.is_empty() || stays.iter().any(|entry| entry.members.is_empty());
    let members = |entries: &[&LinkEntry]| -> Vec<Box<str>> {
        entries.iter().flat_map(|entry| entry.members.iter().cloned()).collect()
    };
    let (rewritten, stays) = (members(&rewritten), members(&stays));
    let rules = match left_alone {
        true => None,
        false => {
            let rules = LinkRules::of(rewritten.iter().map(|path| &**path), stays.iter().map(|path| &**path));
            if rules.is_none() && !rewritten.is_empty() {
                let message = format!("the members of `links` that speak of one operation have over {NAMES_MAX} names");
                names.problem(Default::default(), message);
            }
            rules.map(Arc::new)
        }
    };
    made.insert(key, rules.clone());
    rules
}
