//! `scopegate usage --app A`: which operations an app used in the last 30 days, and what it made that a revocation does not
//! reach any more.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::log::PlaceArgs;
use super::words::{count, time_text};
use super::{Answer, Failure, Format, Output};
use crate::authz::catalog::{Catalog, builtin};
use crate::authz::policy::compile::Catalogs;
use crate::control::usage::database::{DAYS, FILE};
use crate::control::usage::reading::{Older, Outlasts, Reader, Used};
use crate::problem::escaped;

/// Things that are shown for a person; the rest is counted.
const SHOWN: usize = 50;

#[derive(Debug, Args)]
pub struct UsageArgs {
    #[arg(long)]
    pub app: String,
    #[command(flatten)]
    pub place: PlaceArgs,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Something that outlasts a revocation, and what removes it.
#[derive(Debug)]
pub struct Left {
    pub made: Outlasts,
    pub undo: Undo,
}

/// What removes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// `DELETE /webhook`, of the operation `deleteWebhookById`.
    Call { operation: String, request: String },
    /// Nothing does, for this reason.
    None { why: String },
    /// The catalog does not know the operation any more.
    Unknown,
}

/// Lists both.
pub fn run(args: &UsageArgs, output: &mut Output<'_>) -> Answer {
    let state = args.place.state()?;
    let catalogs = catalogs(&args.place)?;
    let now_ms = crate::clock::unix_ms();
    let reader = Reader::open(&state);
    let reader = reader.map_err(|error| Failure::Other(format!("{}: {error}", state.join(FILE).display())))?;
    let failed = |error| Failure::Other(format!("what is known of the use of rights cannot be read: {error}"));
    let used = reader.recent(&args.app, None, now_ms).map_err(failed)?;
    let (left, older) = left(&state, Some(&args.app), &catalogs)?;
    let lost = reader.lost().map_err(failed)?;
    match args.format {
        Format::Json => {
            let left: Vec<Value> = left.iter().map(Left::json).collect();
            let told =
                json!({"app": args.app, "days": DAYS, "used": used, "outlasting": left, "older": older, "lost": lost});
            writeln!(output.out, "{told}")?;
        }
        Format::Human => human(args, &used, &left, &older, lost, output)?,
    }
    Ok(true)
}

/// What was made and is not known to be gone, with what removes each. Empty where nothing was ever kept.
///
/// # Errors
/// The file cannot be read.
pub fn left(state: &Path, app: Option<&str>, catalogs: &Catalogs) -> Result<(Vec<Left>, Vec<Older>), Failure> {
    if !state.join(FILE).exists() {
        return Ok(Default::default());
    }
    let read = Reader::open(state).and_then(|reader| reader.outlasting(app));
    let (made, older) = read.map_err(|error| Failure::Other(format!("{}: {error}", state.join(FILE).display())))?;
    let with_undo = |made: Outlasts| {
        let undo = undo(catalogs, &made.app, &made.operation);
        Left { made, undo }
    };
    Ok((made.into_iter().map(with_undo).collect(), older))
}

fn catalogs(place: &PlaceArgs) -> Result<Catalogs, Failure> {
    let known = |name: &str| builtin::catalog(name).is_some();
    let broken = |problems: Vec<_>| Failure::Other(crate::problem::render_human(&problems, false));
    let config =
        place.config.exists().then(|| crate::config::load(&place.config, &known)).transpose().map_err(broken)?;
    Ok(Catalogs::new(crate::app::catalogs(config.as_ref()).map_err(broken)?))
}

/// What removes what an operation makes.
pub fn undo(catalogs: &Catalogs, app: &str, operation: &str) -> Undo {
    let product = app.split_once('/').map_or("", |(product, _)| product);
    let found = catalogs.by_name(product).and_then(|product| {
        let catalog: &Catalog = &product.catalog;
        let undo = catalog.operations.get(usize::from(catalog.operation(operation)?.0))?.undo.as_ref()?;
        Some(match undo.by.and_then(|by| catalog.operations.get(usize::from(by.0))) {
            Some(by) => Undo::Call { operation: by.id.to_string(), request: format!("{} {}", by.method, by.template) },
            None => Undo::None { why: undo.why.to_string() },
        })
    });
    found.unwrap_or(Undo::Unknown)
}

impl Left {
    pub fn json(&self) -> Value {
        let mut value = serde_json::to_value(&self.made).unwrap_or_default();
        if let Value::Object(members) = &mut value {
            members.insert("at".to_owned(), json!(time_text(self.made.at_ms)));
            let (by, request, none) = match &self.undo {
                Undo::Call { operation, request } => (Some(operation), Some(request), None),
                Undo::None { why } => (None, None, Some(why)),
                Undo::Unknown => (None, None, None),
            };
            members.insert("undo".to_owned(), json!({"operation": by, "request": request, "none": none}));
        }
        value
    }

    /// `createWebhook 1000 of 2026-11-22T08:00:00Z in acme: deleteWebhookById (DELETE /webhook)`
    pub fn words(&self) -> String {
        let Outlasts { operation, id, at_ms, tenant, .. } = &self.made;
        let id = id.as_ref().map_or_else(String::new, |id| format!(" {id}"));
        let undo = match &self.undo {
            Undo::Call { operation, request } => format!("{operation} ({request}) removes it"),
            Undo::None { why } => format!("nothing removes it: {why}"),
            Undo::Unknown => "the catalog does not say what removes it".to_owned(),
        };
        format!("{operation}{id} of {} in {tenant}: {undo}", time_text(*at_ms))
    }
}

fn human(
    args: &UsageArgs,
    used: &[Used],
    left: &[Left],
    older: &[Older],
    lost: u64,
    output: &mut Output<'_>,
) -> std::io::Result<()> {
    let out = &mut output.out;
    writeln!(out, "{} in the last {DAYS} days: {} used", escaped(&args.app), count(used.len(), "operation"))?;
    for one in used {
        let last = |at: Option<i64>| at.map_or_else(String::new, |at| format!(", last {}", time_text(at)));
        let denials = match one.denials {
            0 => String::new(),
            denials => format!("; {denials} refused{}", last(one.last_denial_ms)),
        };
        writeln!(out, "  {}  {} permitted{}{denials}", escaped(&one.operation), one.permits, last(one.last_permit_ms))?;
    }
    if !left.is_empty() || !older.is_empty() {
        writeln!(out, "made, and not known to be gone:")?;
    }
    for one in left.iter().take(SHOWN) {
        writeln!(out, "  {}", escaped(&one.words()))?;
    }
    if left.len() > SHOWN {
        writeln!(out, "  and {} more", left.len() - SHOWN)?;
    }
    for Older { tenant, operation, number, newest_ms, .. } in older {
        let until = time_text(*newest_ms);
        writeln!(out, "  {}", escaped(&format!("{operation} in {tenant}, {number} older ones until {until}")))?;
    }
    if lost > 0 {
        writeln!(out, "{} found no room and are not in these numbers", count(lost as usize, "call"))?;
    }
    Ok(())
}
