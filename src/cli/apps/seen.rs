//! `scopegate apps --seen`: whom a gate under `observe` passes though no policy ever named its credential, and the YAML that
//! would describe each.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::AppsArgs;
use crate::acts::text::{list, scalar};
use crate::authz::catalog::Needs;
use crate::authz::policy::compile::Catalogs;
use crate::cli::load::Loaded;
use crate::cli::words::{count, time_text};
use crate::cli::{Answer, Failure, Format, Output};
use crate::control::usage::database::FILE;
use crate::control::usage::reading::Reader;
use crate::control::usage::strangers::{KEPT_MAX, Seen, UsedBy};
use crate::problem::escaped;
use crate::usage::strangers::Fingerprint;

/// Operations that are shown for a person; the YAML holds all that are kept.
const SHOWN: usize = 8;

/// Lists them, the last heard of first.
pub fn run(args: &AppsArgs, loaded: &Loaded, output: &mut Output<'_>) -> Answer {
    let Some(config) = &loaded.config else {
        let message = "who was seen stands in the state folder of a gate: name its configuration with --config";
        return Err(Failure::Usage(message.to_owned()));
    };
    let Some(state) = &config.state else {
        let message = "the configuration has no `state`: without it no gate is under `observe`, and nobody is seen";
        return Err(Failure::Other(message.to_owned()));
    };
    let (seen, more) = read(state)?;
    let named = named(loaded);
    match args.format {
        Format::Json => {
            let all: Vec<Value> = seen.iter().map(|one| shown(one, &named, &loaded.catalogs)).collect();
            writeln!(output.out, "{}", json!({ "seen": all, "more": more }))?;
        }
        Format::Human => {
            seen.iter().try_for_each(|one| human(one, &named, &loaded.catalogs, output))?;
            writeln!(output.out, "{} that no policy named when they were seen", count(seen.len(), "credential"))?;
            if more > 0 {
                writeln!(output.out, "{more} more were given up: at most {KEPT_MAX} are kept, those that ask most")?;
            }
            if seen.is_empty() && !config.gates.iter().any(|gate| gate.observe_until_ms.is_some()) {
                writeln!(output.out, "no gate is under `observe`: such callers are refused, and not kept")?;
            }
        }
    }
    Ok(true)
}

fn read(state: &Path) -> Result<(Vec<Seen>, u64), Failure> {
    let file = state.join(FILE);
    if !file.exists() {
        return Ok(Default::default());
    }
    let read = Reader::open(state).and_then(|reader| reader.strangers());
    read.map_err(|error| Failure::Other(format!("{}: {error}", file.display())))
}

/// Whose credential begins so, by now.
fn named(loaded: &Loaded) -> HashMap<String, Arc<str>> {
    let products = loaded.policy().into_iter().flat_map(|policy| {
        loaded.catalogs.iter().filter_map(|product| policy.product(product.id)).map(|product| &product.credentials)
    });
    let known = products.flat_map(|credentials| credentials.by_digest.iter());
    known
        .map(|(digest, credential)| (Fingerprint::of(&digest.0).to_string(), Arc::clone(&credential.holder.app)))
        .collect()
}

fn shown(one: &Seen, named: &HashMap<String, Arc<str>>, catalogs: &Catalogs) -> Value {
    let mut value = serde_json::to_value(one).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.insert("first".to_owned(), json!(time_text(one.first_ms)));
        members.insert("last".to_owned(), json!(time_text(one.last_ms)));
        members.insert("named_since_by".to_owned(), json!(named.get(&one.fingerprint).map(|app| &**app)));
        members.insert("yaml".to_owned(), json!(yaml(one, catalogs)));
    }
    value
}

fn human(
    one: &Seen,
    named: &HashMap<String, Arc<str>>,
    catalogs: &Catalogs,
    output: &mut Output<'_>,
) -> std::io::Result<()> {
    let Seen { fingerprint, gate, tenant, first_ms, last_ms, requests, refused, operations, .. } = one;
    let paint = output.paint;
    let out = &mut output.out;
    writeln!(
        out,
        "{}  at {} in {}: {requests} requests from {} to {}",
        paint.bold(fingerprint),
        escaped(gate),
        escaped(tenant),
        time_text(*first_ms),
        time_text(*last_ms)
    )?;
    if *refused > 0 {
        writeln!(out, "  {refused} of them the product answered with 401: it may be no credential of its own")?;
    }
    let used: Vec<String> =
        operations.iter().take(SHOWN).map(|used| format!("{} {}", called(used), used.requests)).collect();
    let more = operations.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    writeln!(out, "  used {}{more}", escaped(&used.join(", ")))?;
    match named.get(fingerprint) {
        Some(app) => writeln!(out, "  by now {} has a credential whose digest begins so", escaped(app))?,
        None => {
            writeln!(out, "  whose it is: `scopegate credential hash < TOKEN` begins with {fingerprint}; then")?;
            yaml(one, catalogs).lines().try_for_each(|line| writeln!(out, "    {}", escaped(line)))?;
        }
    }
    writeln!(out)
}

fn called(used: &UsedBy) -> &str {
    if used.operation.is_empty() { "(unknown to the catalog)" } else { &used.operation }
}

/// What would describe it. The whole digest is not known here, so nobody can be it before a person has put that in.
fn yaml(one: &Seen, catalogs: &Catalogs) -> String {
    let Seen { fingerprint, product, tenant, operations, .. } = one;
    let catalog = catalogs.by_name(product).map(|product| &product.catalog);
    // What states no scope can be granted by nobody, and what the catalog does not know has no name.
    let can = |used: &&UsedBy| {
        catalog.is_some_and(|catalog| {
            let found = catalog.operations.iter().find(|operation| *operation.id == *used.operation);
            found.is_some_and(|operation| !matches!(operation.needs, Needs::Unknown))
        })
    };
    let guards = catalog.into_iter().flat_map(|catalog| {
        let used = catalog
            .operations
            .iter()
            .filter(|operation| operations.iter().any(|used| *used.operation == *operation.id));
        used.flat_map(|operation| operation.guards.iter().map(|guard| catalog.scope_name(*guard)))
    });
    let mut guards: Vec<&str> = guards.collect();
    guards.sort_unstable();
    guards.dedup();
    let granted = list(operations.iter().filter(can).map(|used| used.operation.as_str()));
    let kinds = catalog.map_or_else(String::new, |catalog| {
        catalog.kinds.iter().map(|kind| &*kind.name).collect::<Vec<_>>().join(", ")
    });
    let mut yaml = format!(
        "version: 1\n\
         app: {product}/seen-{fingerprint}   # what it is called\n\
         name: Seen {fingerprint}\n\
         contact: platform@example.com\n\
         installations:\n\
         \x20 - tenant: {}\n\
         \x20   credentials: []\n\
         \x20   #  - {{method: token, kind: KIND, sha256: \"{fingerprint}…\"}}   # kind: one of {kinds}\n",
        scalar(tenant)
    );
    match granted.as_str() {
        "[]" => yaml.push_str("grants: []\n"),
        granted => {
            yaml.push_str("grants:\n");
            yaml.push_str(&format!(
                "  - {{for: what it did under observe, operations: {granted}, actors: [app, user], in: all}}\n"
            ));
        }
    }
    if !guards.is_empty() {
        yaml.push_str(&format!("  # of these some need besides: {}\n", guards.join(", ")));
    }
    yaml
}
