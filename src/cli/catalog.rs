//! `scopegate catalog`: imports a vendor's description, lists and shows catalogs.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};

use crate::authz::catalog::{Catalog, builtin};
use crate::import::{self, Vendor};
use crate::problem::Problem;

mod links;
mod view;

/// What may be asked of catalogs.
#[derive(Debug, Subcommand)]
pub enum CatalogCommand {
    /// Turns a vendor's API description into a catalog; what it cannot tell is printed to stderr.
    Import(ImportArgs),
    /// The built-in catalogs.
    List(ListArgs),
    /// The operations of a catalog: what each needs and touches.
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Whose description it is.
    #[arg(long, value_enum)]
    pub vendor: Vendor,
    /// The description, as JSON.
    pub spec: PathBuf,
    /// Where to write the catalog; without it, standard output.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// What to call this release of the API (2025-12).
    #[arg(long)]
    pub release: Option<String>,
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
    #[arg(long)]
    pub links: bool,
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
    }
}

/// Imports a description. The catalog is written whole or not at all.
pub fn import(args: &ImportArgs, out: &mut dyn Write, errors: &mut dyn Write) -> io::Result<bool> {
    let description = match std::fs::read_to_string(&args.spec) {
        Ok(description) => description,
        Err(error) => {
            writeln!(errors, "{}: cannot be read: {error}", args.spec.display())?;
            return Ok(false);
        }
    };
    let imported = match import::import(args.vendor, &description, args.release.as_deref()) {
        Ok(imported) => imported,
        Err(error) => {
            writeln!(errors, "{}: {error}", args.spec.display())?;
            return Ok(false);
        }
    };
    match &args.output {
        Some(path) => std::fs::write(path, imported.yaml.as_bytes())?,
        None => out.write_all(imported.yaml.as_bytes())?,
    }
    for note in &imported.notes {
        writeln!(errors, "{:>5}  {}", note.about.len(), note.what)?;
        note.about.iter().try_for_each(|about| writeln!(errors, "         {about}"))?;
    }
    Ok(true)
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

/// Shows what each operation of a catalog needs and touches, or what becomes of the links in its answers.
pub fn show(args: &ShowArgs, out: &mut dyn Write, errors: &mut dyn Write) -> io::Result<bool> {
    let catalog = match find(&args.product) {
        Ok(catalog) => catalog,
        Err(problems) => {
            for problem in problems {
                let place = format!("{}:{}:{}", problem.file.display(), problem.at.line, problem.at.column);
                writeln!(errors, "{place}: {}", problem.message)?;
            }
            return Ok(false);
        }
    };
    match (args.format, args.links) {
        (CatalogFormat::Json, false) => writeln!(out, "{}", view::json(&catalog))?,
        (CatalogFormat::Text, false) => view::table(&catalog, out)?,
        (CatalogFormat::Json, true) => writeln!(out, "{}", links::json(&catalog))?,
        (CatalogFormat::Text, true) => links::text(&catalog, out)?,
    }
    Ok(true)
}

fn find(product: &str) -> Result<Arc<Catalog>, Vec<Problem>> {
    match builtin::catalog(product) {
        Some(catalog) => Ok(catalog),
        None => Catalog::load(Path::new(product)).map(Arc::new),
    }
}
