//! Turns `config/catalogs/*.yaml`, each with its overlay, into the compact form that the binary carries.
//!
//! It includes the readers of the library itself, so that there is one way to read a catalog. What a
//! catalog names is checked when it is compiled: a test does that for each.

#![allow(dead_code, reason = "the readers are included whole; the build needs only a part of them")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "src/authz/catalog/arguments.rs"]
mod arguments;
#[path = "src/authz/catalog/compact.rs"]
mod compact;
#[path = "src/authz/catalog/file.rs"]
mod file;
#[path = "src/authz/catalog/merge.rs"]
mod merge;
#[path = "src/authz/catalog/name_lists.rs"]
mod name_lists;
#[path = "src/problem.rs"]
mod problem;

const CATALOGS: &str = "config/catalogs";

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    println!("cargo::rerun-if-changed={CATALOGS}");
    for source in [
        "src/problem.rs",
        "src/authz/catalog/arguments.rs",
        "src/authz/catalog/compact.rs",
        "src/authz/catalog/file.rs",
        "src/authz/catalog/merge.rs",
        "src/authz/catalog/name_lists.rs",
    ] {
        println!("cargo::rerun-if-changed={source}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let paths = catalogs()?;
    let mut listing = format!("static EMBEDDED: [Embedded; {}] = [\n", paths.len());
    for path in paths {
        let compact = read(&path)?;
        let (product, release, name) = (&compact.product, &compact.release, format!("{}.catalog", compact.product));
        fs::write(out.join(&name), postcard::to_allocvec(&compact)?)?;
        // Beside the listing, wherever the folder is moved to.
        writeln!(listing, "    Embedded::new({product:?}, {release:?}, include_bytes!({name:?})),")?;
    }
    listing.push_str("];\n");
    fs::write(out.join("catalogs.rs"), listing)?;
    Ok(())
}

/// In the order of their names.
fn catalogs() -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(CATALOGS)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".yaml") && !name.ends_with(".overlay.yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<compact::Compact, Failure> {
    let beside = path.with_extension("overlay.yaml");
    let sources = merge::Sources {
        catalog: problem::file_name(path),
        overlay: beside.exists().then(|| problem::file_name(&beside)),
    };
    let catalog = file::catalog(&sources.catalog, &fs::read_to_string(path)?).map_err(said)?;
    let overlay = match &sources.overlay {
        Some(name) => Some(file::overlay(name, &fs::read_to_string(&beside)?).map_err(said)?),
        None => None,
    };
    let merged = merge::merge(&catalog, overlay.as_ref(), &sources);
    merged.map_err(|problems| problems.into_iter().map(|problem| said(problem) + "\n").collect::<String>().into())
}

fn said(problem: problem::Problem) -> String {
    format!("{}:{}:{}: {}", problem.file.display(), problem.at.line, problem.at.column, problem.message)
}
