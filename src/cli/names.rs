//! `scopegate names fetch`: a `names` document filled by the product, so that people read #exec beside C0EXEC.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::words::count;
use super::{Answer, Failure, Format, Output, load};
use crate::acts::text::{scalar, tame, time_text};
use crate::app::names::{FetchError, Fetched, Wanted, fetch};
use crate::authz::catalog::Catalog;
use crate::authz::policy::document::Body;
use crate::authz::policy::file::{Origin, parse};
use crate::config::model::{self, Tenant};
use crate::problem::{escaped, file_name};
use crate::yaml::time::{Span, span};

/// How a file begins that this command wrote: it writes over no other.
const MARK: &str = "# Written by `scopegate names fetch`";
/// The longest name that is written, in characters.
const NAME_CHARS_MAX: usize = 80;
/// The most names of one file: beyond it a policy folder is slow to read, and nobody reads them.
const NAMES_MAX: usize = 50_000;

#[derive(Debug, Subcommand)]
pub enum NamesCommand {
    /// Asks the product which names its containers have, and writes them as a `names` document
    Fetch(FetchArgs),
}

#[derive(Debug, Args)]
pub struct FetchArgs {
    /// The configuration of the gate
    #[arg(long, default_value = load::CONFIG)]
    pub config: PathBuf,
    /// The gate through whose upstream it is asked, with its `lookups.credential`; absent, the only one
    #[arg(long)]
    pub gate: Option<String>,
    /// The tenant; absent, the gate's only one
    #[arg(long)]
    pub tenant: Option<String>,
    /// The file to write, such as policies/names-slack.yaml; absent, standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write over a file that this command did not write
    #[arg(long, requires = "output")]
    pub force: bool,
    /// The most names that are written
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000)]
    pub limit: usize,
    /// How long all of it may take
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub timeout: String,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

pub fn run(command: &NamesCommand, output: &mut Output<'_>) -> Answer {
    match command {
        NamesCommand::Fetch(args) => fetch_names(args, output),
    }
}

fn fetch_names(args: &FetchArgs, output: &mut Output<'_>) -> Answer {
    let timeout = match span(&args.timeout) {
        Some(Span(ms)) if ms > 0 => Duration::from_millis(ms.unsigned_abs()),
        Some(_) | None => return Err(Failure::Usage("--timeout is a time such as 10m".to_owned())),
    };
    if args.limit == 0 || args.limit > NAMES_MAX {
        return Err(Failure::Usage(format!("--limit is from 1 to {NAMES_MAX}")));
    }
    let sources = load::Sources { config: Some(args.config.clone()), ..load::Sources::default() };
    let loaded = load::load(&sources, crate::clock::unix_ms());
    let Some(config) = &loaded.config else { return super::refuse_broken(&loaded, args.format, output) };
    let gate = one_gate(&config.gates, args.gate.as_deref())?;
    let tenant = one_tenant(gate, args.tenant.as_deref())?;
    let Some(catalog) = catalog_of(&loaded, gate) else { return super::refuse_broken(&loaded, args.format, output) };
    // Before anything is asked: nobody waits for what cannot be written.
    args.output.as_deref().map_or(Ok(()), |path| may_write(path, args.force))?;
    let kept = named_elsewhere(&loaded, &catalog.product, tenant, args.output.as_deref());
    let wanted = Wanted { tenant, names_max: args.limit, timeout };
    let fetched = fetch(gate, &catalog, wanted).map_err(|error| failed(gate, &error))?;
    let document = Document::of(&fetched, &kept);
    if document.names.is_empty() {
        let why = match fetched.names.is_empty() {
            true => "the product names no container to this credential: there is nothing to write",
            false => "all that the product names is named by hand already: there is nothing to write",
        };
        return Err(Failure::Other(why.to_owned()));
    }
    let yaml = yaml(&catalog, gate, tenant, &document);
    reads_back(&yaml)?;
    match &args.output {
        Some(path) => write_whole(path, yaml.as_bytes(), args.force)?,
        None if args.format == Format::Human => output.out.write_all(yaml.as_bytes())?,
        None => {}
    }
    tell(args, &catalog, tenant, &fetched, &document, &yaml, output)?;
    Ok(true)
}

fn one_gate<'c>(gates: &'c [model::Gate], named: Option<&str>) -> Result<&'c model::Gate, Failure> {
    let names = || gates.iter().map(|gate| gate.name.as_str()).collect::<Vec<_>>().join(", ");
    match (named, gates) {
        (Some(name), _) => gates.iter().find(|gate| gate.name == name).ok_or_else(|| {
            Failure::Usage(format!("there is no gate `{}`: --gate is one of {}", escaped(name), names()))
        }),
        (None, [gate]) => Ok(gate),
        (None, _) => Err(Failure::Usage(format!("there are several gates: say --gate, one of {}", names()))),
    }
}

fn one_tenant<'c>(gate: &'c model::Gate, named: Option<&str>) -> Result<&'c str, Failure> {
    let names = || gate.tenants.iter().map(|tenant| &*tenant.id).collect::<Vec<_>>().join(", ");
    match (named, &gate.tenants[..]) {
        (Some(name), tenants) => {
            let found: Option<&Tenant> = tenants.iter().find(|tenant| *tenant.id == *name);
            let none = || format!("the gate `{}` has no tenant `{}`: it has {}", gate.name, escaped(name), names());
            found.map(|tenant| &*tenant.id).ok_or_else(|| Failure::Usage(none()))
        }
        (None, [tenant]) => Ok(&tenant.id),
        (None, _) => Err(Failure::Usage(format!("the gate has several tenants: say --tenant, one of {}", names()))),
    }
}

fn catalog_of(loaded: &load::Loaded, gate: &model::Gate) -> Option<Arc<Catalog>> {
    let rules = loaded.gates.iter().find(|rules| *rules.name == *gate.name)?;
    Some(Arc::clone(&rules.catalog))
}

fn failed(gate: &model::Gate, error: &FetchError) -> Failure {
    let help = match error {
        FetchError::NoCredential => "; it is asked with the tenant's own, never with an app's",
        FetchError::Page { .. } | FetchError::TooSlow { .. } => "; nothing was written",
        FetchError::NoLists(_) | FetchError::NoTenant(_) | FetchError::Files(_) | FetchError::Io(_) => "",
    };
    // The product's words are in it: a terminal must not obey them. Problems were made fit already, and have lines.
    let said = match error {
        FetchError::Files(_) => error.to_string(),
        _ => escaped(&error.to_string()),
    };
    Failure::Other(format!("gate {}: {said}{help}", gate.name))
}

/// Ids that another document names: what a person wrote stays.
fn named_elsewhere(loaded: &load::Loaded, product: &str, tenant: &str, own: Option<&Path>) -> BTreeSet<String> {
    let same = |path: &Path| own.is_some_and(|own| same_file(own, path));
    // What this command wrote before is nobody's own words, wherever it stands.
    let texts = loaded.policy_texts().filter(|(file, text)| !text.starts_with(MARK) && !same(file));
    let documents = texts.flat_map(|(file, text)| parse(file, text, Origin::Policy).documents);
    documents
        .filter_map(|document| match document.body {
            Body::Names(names) if names.product.value == product && names.tenant.value == tenant => Some(names.names),
            Body::Names(_) | Body::App(_) | Body::Guardrail(_) | Body::Set(_) | Body::Group(_) => None,
        })
        .flatten()
        .map(|(id, _)| id.value)
        .collect()
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        (Err(_), _) | (_, Err(_)) => one == other,
    }
}

/// What is written, and what is not.
struct Document {
    names: BTreeMap<String, String>,
    kept: usize,
    /// Names that were nothing but signs that nobody sees.
    unreadable: usize,
}

impl Document {
    fn of(fetched: &Fetched, kept: &BTreeSet<String>) -> Self {
        let mut document = Self { names: BTreeMap::new(), kept: 0, unreadable: 0 };
        for (id, called) in &fetched.names {
            let name = tame(&called.name, NAME_CHARS_MAX);
            match (kept.contains(id), name.is_empty()) {
                (true, _) => document.kept += 1,
                (false, true) => document.unreadable += 1,
                (false, false) => drop(document.names.insert(id.clone(), format!("{}{name}", called.prefix))),
            }
        }
        document
    }
}

fn yaml(catalog: &Catalog, gate: &model::Gate, tenant: &str, document: &Document) -> String {
    let mut yaml = format!(
        "{MARK} through the gate {} at {}. It is written anew as a whole: names of your own\n\
         # go into another file, and stay.\n\
         version: 1\nnames: {}\ntenant: {}\nentries:\n",
        gate.name,
        time_text(crate::clock::unix_ms()),
        catalog.product,
        scalar(tenant)
    );
    for (id, name) in &document.names {
        yaml.push_str(&format!("  {}: {}\n", scalar(id), scalar(name)));
    }
    yaml
}

/// What is written must be a policy: a product's users call things whatever they like.
fn reads_back(yaml: &str) -> Result<(), Failure> {
    let parsed = parse(&file_name("names.yaml"), yaml, Origin::Policy);
    match parsed.problems.iter().find(|problem| problem.is_error()) {
        None => Ok(()),
        Some(problem) => {
            Err(Failure::Other(format!("what would be written is no policy: {}", escaped(&problem.message))))
        }
    }
}

/// A file that is there must be this command's own.
fn may_write(path: &Path, force: bool) -> Result<(), Failure> {
    let there = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::Other(format!("{}: {error}", path.display()))),
        Ok(there) => there,
    };
    if !there.is_file() {
        return Err(Failure::Other(format!("{} is no regular file: name another", path.display())));
    }
    let mut begin = Vec::new();
    File::open(path)?.take(MARK.len() as u64).read_to_end(&mut begin)?;
    if begin != MARK.as_bytes() && !force {
        let message = "was not written by this command and stays as it is: name another file, or say --force";
        return Err(Failure::Other(format!("{} {message}", path.display())));
    }
    Ok(())
}

/// Beside it first, and then in its place: no gate that watches the folder sees half of it.
fn write_whole(path: &Path, bytes: &[u8], force: bool) -> Result<(), Failure> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::Usage(format!("{} names no file", path.display())))?;
    // A folder of policies is not read for names that start with a dot.
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()
    })();
    let placed = written.map_err(Failure::Io).and_then(|()| {
        // Somebody may have put one there since.
        may_write(path, force)?;
        Ok(fs::rename(&beside, path)?)
    });
    if placed.is_err() {
        let _ = fs::remove_file(&beside);
    }
    placed.map_err(|error| match error {
        Failure::Io(error) => Failure::Other(format!("{}: {error}", path.display())),
        other => other,
    })
}

fn tell(
    args: &FetchArgs,
    catalog: &Catalog,
    tenant: &str,
    fetched: &Fetched,
    document: &Document,
    yaml: &str,
    output: &mut Output<'_>,
) -> io::Result<()> {
    let place = args.output.as_ref().map(|path| path.display().to_string());
    if args.format == Format::Json {
        let listed: BTreeMap<&str, usize> =
            fetched.listed.iter().map(|(kind, items)| (kind.as_str(), *items)).collect();
        let shown = json!({
            "product": &*catalog.product, "tenant": tenant, "file": place, "names": document.names.len(), "listed": listed,
            "kept": document.kept, "passed_over": fetched.passed_over + document.unreadable, "cut": fetched.is_cut,
            "pages": fetched.pages, "yaml": yaml,
        });
        return writeln!(output.out, "{shown}");
    }
    let listed: Vec<String> = fetched.listed.iter().map(|(kind, items)| count(*items, kind)).collect();
    let written = place.as_ref().map_or_else(String::new, |place| format!(" written to {place}"));
    let names = count(document.names.len(), "name");
    writeln!(
        output.err,
        "{names}{written}; the product listed {} on {}",
        listed.join(", "),
        count(fetched.pages, "page")
    )?;
    if document.kept > 0 {
        writeln!(output.err, "  {} named by another document already: left to that", count(document.kept, "id"))?;
    }
    let passed_over = fetched.passed_over + document.unreadable;
    if passed_over > 0 {
        writeln!(output.err, "  {} passed over: no id of the product's, or no name", count(passed_over, "item"))?;
    }
    if fetched.is_cut {
        writeln!(output.err, "  there are more: --limit {} was reached", args.limit)?;
    }
    match place {
        Some(place) => writeln!(output.err, "next:\n  scopegate check {place}"),
        None => Ok(()),
    }
}
