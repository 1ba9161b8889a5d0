//! `scopegate catalog`: imports a vendor's description, lists, shows and compares catalogs.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};

use crate::authz::catalog::{Catalog, builtin};
use crate::import::{self, Combine, DESCRIPTION_BYTES_MAX, Settings, Vendor};
use crate::problem::{Problem, escaped};

pub mod asked;
mod coverage;
mod diff;
mod links;
mod view;

pub use diff::{DiffArgs, diff};

/// What may be asked of catalogs.
#[derive(Debug, Subcommand)]
pub enum CatalogCommand {
    /// Turns a vendor's API description into a catalog; what it cannot tell is printed to stderr.
    Import(ImportArgs),
    /// The built-in catalogs.
    List(ListArgs),
    /// The operations of a catalog: what each needs and touches.
    Show(ShowArgs),
    /// What changes from one catalog to another: operations, scopes, and what may be permitted
    ///
    /// Exit code 0: nothing widens; 1: something does, or a side cannot be read. Wider is what the old catalog refused
    /// and the new one may permit, whatever the policy: a new operation, a scope less, an alternative more, a guard
    /// less, a smaller reach, another implication. What cannot be shown to be covered by the old one counts as wider.
    /// How links in answers are treated is not compared.
    Diff(DiffArgs),
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Whose description it is.
    #[arg(long, value_enum)]
    pub vendor: Vendor,
    /// The description; for Confluence those of v1 and v2.
    #[arg(required = true, num_args = 1..)]
    pub spec: Vec<PathBuf>,
    /// Where to write the catalog; without it, standard output.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// What to call this release of the API (2025-12).
    #[arg(long)]
    pub release: Option<String>,
    /// What to call the product, where the description is anybody's (openapi, table); absent, as its title says.
    #[arg(long)]
    pub product: Option<String>,
    /// Where an operation states its scopes (openapi): `security`, an extension's name (x-scopes), or a JSON pointer
    /// into the operation (/x-auth/scopes).
    #[arg(long, default_value = "security")]
    pub scopes_from: String,
    /// What several scopes of one operation mean (openapi). Never guessed: where it matters, it must be said.
    #[arg(long, value_enum)]
    pub combine: Option<Combine>,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[arg(long, value_enum, default_value_t = CatalogFormat::Text)]
    pub format: CatalogFormat,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A built-in product (`jira`, `jira@2025-12`) or the path of a catalog file.
    pub product: String,
    /// The links in its answers instead: which are made to name the gate, which hosts' redirects are followed, and what
    /// stays as it is, with the reason.
    #[arg(long, conflicts_with = "coverage")]
    pub links: bool,
    /// How the container that a request touches is found instead: operations counted by it, and those that touch the
    /// whole tenant or nothing, by the reason.
    #[arg(long)]
    pub coverage: bool,
    #[arg(long, value_enum, default_value_t = CatalogFormat::Text)]
    pub format: CatalogFormat,
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CatalogFormat {
    #[value(name = "human")]
    Text,
    Json,
}

/// Runs one of the commands. `Ok(false)` is exit code 1.
pub fn run(command: &CatalogCommand, out: &mut dyn Write, errors: &mut dyn Write) -> io::Result<bool> {
    match command {
        CatalogCommand::Import(args) => import(args, out, errors),
        CatalogCommand::List(args) => list(args, out),
        CatalogCommand::Show(args) => show(args, out, errors),
        CatalogCommand::Diff(args) => diff(args, out, errors),
    }
}

/// Imports a description. The catalog is written whole or not at all.
pub fn import(args: &ImportArgs, out: &mut dyn Write, errors: &mut dyn Write) -> io::Result<bool> {
    let named = args.spec.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let mut texts = Vec::new();
    for path in &args.spec {
        match read(path) {
            Ok(text) => texts.push(text),
            Err(error) => {
                writeln!(errors, "{}: cannot be read: {error}", path.display())?;
                return Ok(false);
            }
        }
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let scopes_from = Some(args.scopes_from.as_str()).filter(|from| *from != "security");
    if args.vendor != Vendor::Openapi && (scopes_from.is_some() || args.combine.is_some()) {
        writeln!(errors, "--scopes-from and --combine are for --vendor openapi: the others' rules are their own")?;
        return Ok(false);
    }
    let settings = Settings {
        release: args.release.as_deref(),
        product: args.product.as_deref(),
        scopes_from,
        combine: args.combine,
    };
    let imported = match import::import(args.vendor, &texts, settings) {
        Ok(imported) => imported,
        Err(error) => {
            writeln!(errors, "{named}: {}", escaped(&error.to_string()))?;
            return Ok(false);
        }
    };
    match &args.output {
        Some(path) => std::fs::write(path, imported.yaml.as_bytes())?,
        None => out.write_all(imported.yaml.as_bytes())?,
    }
    for note in &imported.notes {
        writeln!(errors, "{:>5}  {}", note.about.len(), note.what)?;
        note.about.iter().try_for_each(|about| writeln!(errors, "         {}", escaped(about)))?;
    }
    if imported.no_scopes {
        writeln!(
            errors,
            "WARNING: {named} states no scope at all: this catalog refuses every request until an overlay"
        )?;
        writeln!(errors, "         beside it (NAME.overlay.yaml, `needs:`) says what each operation needs")?;
    }
    Ok(true)
}

/// A file that is no larger than any description.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(DESCRIPTION_BYTES_MAX).unwrap_or(u64::MAX);
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Lists the built-in catalogs.
pub fn list(args: &ListArgs, out: &mut dyn Write) -> io::Result<bool> {
    let catalogs = || builtin::products().filter_map(|(product, _)| builtin::catalog(product));
    match args.format {
        CatalogFormat::Json => {
            let all: Vec<_> = catalogs().map(|catalog| view::summary(&catalog)).collect();
            writeln!(out, "{}", serde_json::json!({ "catalogs": all }))?;
        }
        CatalogFormat::Text => {
            for catalog in catalogs() {
                view::summary_line(&catalog, out)?;
            }
        }
    }
    Ok(true)
}

/// Shows what each operation of a catalog needs and touches, what becomes of the links in its answers, or how
/// containers are found.
pub fn show(args: &ShowArgs, out: &mut dyn Write, errors: &mut dyn Write) -> io::Result<bool> {
    let catalog = match find(&args.product) {
        Ok(catalog) => catalog,
        Err(problems) => {
            say(&problems, errors)?;
            return Ok(false);
        }
    };
    // Both at once are refused where the arguments are read.
    match (args.format, args.links, args.coverage) {
        (CatalogFormat::Json, false, false) => writeln!(out, "{}", view::json(&catalog))?,
        (CatalogFormat::Text, false, false) => view::table(&catalog, out)?,
        (CatalogFormat::Json, true, _) => writeln!(out, "{}", links::json(&catalog))?,
        (CatalogFormat::Text, true, _) => links::text(&catalog, out)?,
        (CatalogFormat::Json, false, true) => writeln!(out, "{}", coverage::json(&catalog))?,
        (CatalogFormat::Text, false, true) => coverage::text(&catalog, out)?,
    }
    Ok(true)
}

fn say(problems: &[Problem], errors: &mut dyn Write) -> io::Result<()> {
    problems.iter().try_for_each(|problem| {
        let place = format!("{}:{}:{}", problem.file.display(), problem.at.line, problem.at.column);
        writeln!(errors, "{place}: {}", problem.message)
    })
}

fn find(product: &str) -> Result<Arc<Catalog>, Vec<Problem>> {
    match builtin::catalog(product) {
        Some(catalog) => Ok(catalog),
        None => Catalog::load(Path::new(product)).map(Arc::new),
    }
}
