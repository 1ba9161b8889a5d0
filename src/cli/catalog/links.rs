//! What becomes of the links in a product's answers, for people and for programs.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::authz::catalog::links::{LinkEntry, RedirectHost};
use crate::authz::catalog::{Catalog, OperationId};
use crate::authz::origin::Origin;

/// Columns of a line of reasons: what fits beside an indent in a terminal of 120.
const WIDTH: usize = 110;

const REWRITTEN: &str = "Rewritten: where they name the product, they are made to name the gate";
const FOLLOWED: &str = "Followed: redirects to these hosts, by HTTPS and without any credential";
const NOT_FOLLOWED: &str = "Other redirects to other origins are passed on under gate:mint, and refused without it";
const STAYS: &str = "Stays as it is, with all that lies below it";

pub fn json(catalog: &Catalog) -> Value {
    let entries = |all: &[LinkEntry]| all.iter().map(|entry| entry_json(catalog, entry)).collect::<Vec<_>>();
    let host = |one: &RedirectHost| json!({ "host": authority(one), "why": &*one.why });
    json!({
        "product": &*catalog.product,
        "release": catalog.release,
        "rewritten": entries(&catalog.links.rewritten),
        "followed": catalog.links.redirects.iter().map(host).collect::<Vec<_>>(),
        "stays": entries(&catalog.links.stays),
    })
}

fn entry_json(catalog: &Catalog, entry: &LinkEntry) -> Value {
    let mut object = Map::new();
    if !entry.members.is_empty() {
        object.insert("members".to_owned(), json!(entry.members));
    }
    if !entry.operations.is_empty() {
        let ids: Vec<&str> = entry.operations.iter().map(|id| operation(catalog, *id)).collect();
        object.insert("operations".to_owned(), json!(ids));
    }
    object.insert("why".to_owned(), json!(&*entry.why));
    Value::Object(object)
}

pub fn text(catalog: &Catalog, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}@{}", catalog.product, catalog.release)?;
    section(catalog, REWRITTEN, &catalog.links.rewritten, out)?;
    writeln!(out, "\n{FOLLOWED}")?;
    if catalog.links.redirects.is_empty() {
        writeln!(out, "  none")?;
    }
    for host in &catalog.links.redirects {
        writeln!(out, "  {}", authority(host))?;
        folded(&host.why, out)?;
    }
    writeln!(out, "  {NOT_FOLLOWED}")?;
    section(catalog, STAYS, &catalog.links.stays, out)
}

fn section(catalog: &Catalog, title: &str, entries: &[LinkEntry], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{title}")?;
    if entries.is_empty() {
        writeln!(out, "  nothing")?;
    }
    for entry in entries {
        let members = if entry.members.is_empty() { "everything".to_owned() } else { entry.members.join(", ") };
        writeln!(out, "  {members}")?;
        if !entry.operations.is_empty() {
            let ids: Vec<&str> = entry.operations.iter().map(|id| operation(catalog, *id)).collect();
            folded(&format!("in the answers of {}", ids.join(", ")), out)?;
        }
        folded(&entry.why, out)?;
    }
    Ok(())
}

/// Text in lines of at most [`WIDTH`] columns, below what it speaks of.
pub fn folded(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            writeln!(out, "      {line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "      {line}")
}

fn operation(catalog: &Catalog, id: OperationId) -> &str {
    catalog.operations.get(usize::from(id.0)).map_or("?", |operation| &operation.id)
}

fn authority(host: &RedirectHost) -> String {
    Origin { secure: true, host: host.host.clone(), port: host.port }.authority()
}
