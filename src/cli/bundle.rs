//! `scopegate bundle`: a checked policy folder as one file, or with `--split` as ConfigMaps for a projected volume.
//!
//! It writes nothing that `check` refuses, and nothing before it has read its own result back and found that it says
//! the same, cell by cell. The same folder gives the same bytes.

mod flat;
mod manifest;
mod pack;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::load::{self, Loaded};
use super::words::count;
use super::{Answer, Failure, Format, Output, SourceArgs};
use crate::control::folder::FILE_BYTES_MAX;
use crate::problem::file_name;
use manifest::Names;
use pack::Map;

/// What one ConfigMap may hold in values is 1,048,576 bytes; keys are counted here too, and some room is left.
pub const MAP_BYTES_MAX: usize = 1_000_000;

/// The files of a bundle that is split, below `--out`.
const MAPS_FILE: &str = "configmaps.yaml";
const VOLUME_FILE: &str = "volume.yaml";

#[derive(Debug, Args)]
pub struct BundleArgs {
    /// ConfigMaps of less than 1 MiB with one flat key for each file, and the volume that brings them together
    #[arg(long)]
    pub split: bool,
    /// A file to write, with --split a folder [default: standard output]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// With --split: what the ConfigMaps are called, before `-1-of-4`
    #[arg(long, default_value = "scopegate-policies", requires = "split")]
    pub name: String,
    /// With --split: the namespace of the ConfigMaps [default: none is written]
    #[arg(long, requires = "split")]
    pub namespace: Option<String>,
    /// With --split: the Deployment that volume.yaml is a patch for
    #[arg(long, default_value = "scopegate", requires = "split")]
    pub deployment: String,
    /// With --split: how many ConfigMaps [default: 1, 2, 4, …: as few as hold all]
    #[arg(long, requires = "split", value_parser = clap::value_parser!(u16).range(1..=i64::from(pack::MAPS_MAX)))]
    pub maps: Option<u16>,
    #[command(flatten)]
    pub sources: SourceArgs,
    /// json: what was written, file by file; needs --out
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// One policy file: its path below the policy folder, with `/`, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    pub path: String,
    pub text: Arc<str>,
}

/// Writes the bundle, or says why there is none.
pub fn run(args: &BundleArgs, output: &mut Output<'_>) -> Answer {
    if args.out.is_none() && args.format == Format::Json {
        return Err(Failure::Usage("--format json says what was written where: name a place with --out".into()));
    }
    let sources = args.sources.sources()?;
    let now_ms = crate::clock::unix_ms();
    let loaded = super::check::checked(&sources, now_ms);
    if loaded.has_errors() {
        return super::refuse_broken(&loaded, args.format, output);
    }
    let files = policy_files(&loaded)?;
    if args.split { split(args, &loaded, &files, now_ms, output) } else { whole(args, &loaded, &files, now_ms, output) }
}

/// The policy files as they were checked, overrides left out: those are acts of one gate.
fn policy_files(loaded: &Loaded) -> Result<Vec<PolicyFile>, Failure> {
    let mut files: BTreeMap<String, (&Path, PolicyFile)> = BTreeMap::new();
    for (path, text) in loaded.policy_texts() {
        let root = loaded.roots.iter().find(|root| path.starts_with(root));
        let below = root.and_then(|root| path.strip_prefix(root).ok()).filter(|below| !below.as_os_str().is_empty());
        // A policy file that was named itself is its own root.
        let below = below.or_else(|| path.file_name().map(Path::new)).unwrap_or(path);
        let name = below.to_str().ok_or_else(|| unnamed(path))?.to_owned();
        let file = PolicyFile { path: name.clone(), text: Arc::clone(text) };
        if let Some((other, _)) = files.insert(name.clone(), (path, file)) {
            let (one, other) = (path.display(), other.display());
            return Err(Failure::Other(format!("{one} and {other} would both be {name}: rename one of them")));
        }
    }
    if files.is_empty() {
        return Err(Failure::Other("there is no policy file to bundle".into()));
    }
    Ok(files.into_values().map(|(_, file)| file).collect())
}

fn unnamed(path: &Path) -> Failure {
    Failure::Other(format!("{}: the name is not UTF-8; rename the file", path.display()))
}

/// One file with all documents.
fn whole(args: &BundleArgs, loaded: &Loaded, files: &[PolicyFile], now_ms: i64, output: &mut Output<'_>) -> Answer {
    let text = pack::joined(files);
    if text.len() as u64 > FILE_BYTES_MAX {
        let message = format!(
            "all documents are {} bytes together, and a gate reads no file of more than {FILE_BYTES_MAX}: use --split",
            text.len()
        );
        return Err(Failure::Other(message));
    }
    says_the_same(loaded, files, &[("bundle.yaml".to_owned(), text.as_str())], now_ms)?;
    match &args.out {
        None => write!(output.out, "{text}")?,
        Some(path) => {
            write(path, &text)?;
            match args.format {
                Format::Json => writeln!(output.out, "{}", json!({"written": [shown(path)], "bytes": text.len()}))?,
                Format::Human => writeln!(output.out, "{}", path.display())?,
            }
        }
    }
    if text.len() > MAP_BYTES_MAX {
        let bytes = text.len();
        writeln!(output.err, "{bytes} bytes are too many for one ConfigMap; --split writes as many as it takes")?;
    }
    Ok(true)
}

/// ConfigMaps, and the patch that mounts them.
fn split(args: &BundleArgs, loaded: &Loaded, files: &[PolicyFile], now_ms: i64, output: &mut Output<'_>) -> Answer {
    let names = Names::new(&args.name, args.namespace.as_deref(), &args.deployment).map_err(Failure::Usage)?;
    let entries = pack::entries(files).map_err(Failure::Other)?;
    let maps = pack::maps(&entries, args.maps.map(usize::from)).map_err(Failure::Other)?;
    let mounted: Vec<(String, &str)> = entries.iter().map(|entry| (entry.key.clone(), &*entry.text)).collect();
    says_the_same(loaded, files, &mounted, now_ms)?;
    let (manifests, volume) = (names.manifests(&maps), names.volume(maps.len()));
    let Some(folder) = &args.out else {
        write!(output.out, "{manifests}")?;
        // A script pipes standard output into `kubectl apply`; this is for whoever wrote the script.
        write!(output.err, "{volume}")?;
        return Ok(true);
    };
    fs::create_dir_all(folder).map_err(|error| unwritten(folder, &error))?;
    let written = [folder.join(MAPS_FILE), folder.join(VOLUME_FILE)];
    written.iter().zip([&manifests, &volume]).try_for_each(|(path, text)| write(path, text))?;
    match args.format {
        Format::Json => writeln!(output.out, "{}", listing(&names, &maps, &written))?,
        Format::Human => {
            written.iter().try_for_each(|path| writeln!(output.out, "{}", path.display()))?;
            let (files, maps) = (count(files.len(), "file"), count(maps.len(), "ConfigMap"));
            writeln!(output.err, "{files} in {maps}; apply with `kubectl apply --server-side`")?;
        }
    }
    Ok(true)
}

fn listing(names: &Names, maps: &[Map<'_>], written: &[PathBuf]) -> serde_json::Value {
    let maps = maps.iter().enumerate().map(|(index, map)| {
        let entries = map.entries.iter().map(|entry| json!({"key": entry.key, "path": entry.path}));
        json!({"name": names.map(index, maps.len()), "bytes": map.bytes, "files": entries.collect::<Vec<_>>()})
    });
    let written: Vec<_> = written.iter().map(|path| shown(path)).collect();
    json!({"maps": maps.collect::<Vec<_>>(), "written": written})
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Compiles folder and bundle alike and compares the cells of both: a fault of ours must not reach a cluster.
fn says_the_same(loaded: &Loaded, files: &[PolicyFile], bundle: &[(String, &str)], now_ms: i64) -> Result<(), Failure> {
    let folder = load::judged_texts(loaded, files.iter().map(|file| (file_name(&file.path), &*file.text)), now_ms);
    let bundle = load::judged_texts(loaded, bundle.iter().map(|(key, text)| (file_name(key), *text)), now_ms);
    let difference = match (&folder, &bundle) {
        (Ok(folder), Ok(bundle)) => load::difference(loaded, folder, bundle),
        (Err(problem), _) | (_, Err(problem)) => Some(problem.clone()),
    };
    match difference {
        None => Ok(()),
        Some(difference) => {
            let message = format!("the bundle would not say what the folder says, so it is not written: {difference}");
            Err(Failure::Other(message))
        }
    }
}

/// Whole or not at all: a half-written manifest must not be applied.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| unwritten(path, &error))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Other(format!("{} cannot be written: {error}", path.display()))
}
