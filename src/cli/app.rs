//! `scopegate app add`: a first policy out of what an app's own manifest asks for.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::words::count;
use super::{Answer, Failure, Format, Output};
use crate::authz::policy::file::{Origin, parse};
use crate::import::manifest::first::{First, LeftOut, Settings, first};
use crate::import::manifest::{self, MANIFEST_BYTES_MAX, ManifestKind};
use crate::problem::{escaped, file_name, render_human};
use crate::yaml::time::moment;

#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Writes a first policy of an app out of its own manifest: its scopes by actor, nothing guessed
    Add(AddArgs),
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// A Slack app manifest (YAML or JSON), an atlassian-connect.json, or a Forge manifest.yml; `-` reads standard input
    #[arg(long, value_name = "MANIFEST")]
    pub from: PathBuf,
    /// Which of the three it is; absent, its content says
    #[arg(long, value_enum)]
    pub kind: Option<ManifestKind>,
    /// The tenant that the app is installed in: Jira site, Slack workspace, Bitbucket workspace
    #[arg(long)]
    pub tenant: Option<String>,
    /// When it was installed there (RFC 3339): Connect's ADMIN is then granted for the day after, and not without
    #[arg(long, value_name = "TIME", requires = "tenant")]
    pub installed_at: Option<String>,
    /// What policies call it, after `product/`; absent, a word made of the manifest's name, key or id
    #[arg(long, value_name = "NAME")]
    pub app: Option<String>,
    /// Whom refused callers are told to ask
    #[arg(long)]
    pub contact: Option<String>,
    /// The product that it is for, where the manifest does not say; several are a document each
    #[arg(long)]
    pub product: Vec<String>,
    /// The file to write, which must not be there; absent, standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

pub fn run(command: &AppCommand, output: &mut Output<'_>) -> Answer {
    match command {
        AppCommand::Add(args) => add(args, output),
    }
}

fn add(args: &AddArgs, output: &mut Output<'_>) -> Answer {
    let installed_at_ms = installed_at(args.installed_at.as_deref())?;
    let name = if args.from.as_os_str() == "-" { Path::new("standard input") } else { &args.from };
    let bytes = read(&args.from).map_err(|error| Failure::Other(format!("{}: {error}", name.display())))?;
    let manifest = match manifest::read(&file_name(name), &bytes, args.kind) {
        Ok(manifest) => manifest,
        Err(problems) => {
            match args.format {
                Format::Json => writeln!(output.out, "{}", crate::problem::to_json(&problems))?,
                Format::Human => write!(output.err, "{}", render_human(&problems, output.paint.colour))?,
            }
            return Ok(false);
        }
    };
    let from = name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let settings = Settings {
        name: args.app.as_deref(),
        tenant: args.tenant.as_deref(),
        contact: args.contact.as_deref(),
        installed_at_ms,
        products: &args.product,
        from: &from,
    };
    let firsts = first(&manifest, settings).map_err(|why| Failure::Usage(format!("{}: {why}", name.display())))?;
    let yaml = firsts.iter().map(|first| first.yaml.as_str()).collect::<Vec<_>>().join("---\n");
    reads_back(&yaml)?;
    if let Some(path) = &args.output {
        write_new(path, &yaml)?;
    }
    match (args.format, &args.output) {
        (Format::Json, _) => writeln!(output.out, "{}", shown(&firsts, manifest.kind, args, &yaml))?,
        (Format::Human, None) => output.out.write_all(yaml.as_bytes())?,
        (Format::Human, Some(_)) => {}
    }
    // Not on standard output, which holds the policy.
    firsts.iter().try_for_each(|first| tell(first, args, output))?;
    next(&firsts, args, output)?;
    Ok(true)
}

fn installed_at(text: Option<&str>) -> Result<Option<i64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let at = moment(text).ok_or_else(|| {
        Failure::Usage(format!("--installed-at: `{}` is no time; write it like 2026-11-20T09:00:00Z", escaped(text)))
    })?;
    match at.0 > crate::clock::unix_ms() {
        true => Err(Failure::Usage("--installed-at is in the future: write when the app was installed".to_owned())),
        false => Ok(Some(at.0)),
    }
}

/// A file or standard input, as far as a manifest goes.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let most = u64::try_from(MANIFEST_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    let mut bytes = Vec::new();
    match path.as_os_str() == "-" {
        true => io::stdin().lock().take(most).read_to_end(&mut bytes)?,
        false => File::open(path)?.take(most).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// What is written must be a policy: a manifest holds whatever its author liked.
fn reads_back(yaml: &str) -> Result<(), Failure> {
    let parsed = parse(&file_name("first-policy.yaml"), yaml, Origin::Policy);
    match parsed.problems.iter().find(|problem| problem.is_error()) {
        None => Ok(()),
        Some(problem) => Err(Failure::Usage(format!(
            "what would be written is no policy: {}{}",
            escaped(&problem.message),
            problem.help.as_deref().map_or_else(String::new, |help| format!(" ({})", escaped(help)))
        ))),
    }
}

/// Nothing is ever overwritten: a person may have worked on it.
fn write_new(path: &Path, yaml: &str) -> Result<(), Failure> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::Other(format!("{} is there already and stays as it is: name another file", path.display()))
        }
        _ => Failure::Other(format!("{}: {error}", path.display())),
    })?;
    Ok(file.write_all(yaml.as_bytes())?)
}

/// How many scopes whom, and what was left out.
fn tell(first: &First, args: &AddArgs, output: &mut Output<'_>) -> io::Result<()> {
    let place = args.output.as_ref().map_or_else(String::new, |path| format!(" in {}", path.display()));
    let of = |wanted: fn(bool, bool) -> bool| first.lines.iter().filter(|line| wanted(line.app, line.user)).count();
    let (app, user, both) = (of(|app, user| app && !user), of(|app, user| !app && user), of(|app, user| app && user));
    writeln!(
        output.err,
        "{}{place}: {} granted: {app} as the app itself, {user} as a user, {both} as both",
        first.app,
        count(first.lines.len(), "scope")
    )?;
    for line in first.lines.iter().filter(|line| line.while_installing) {
        writeln!(output.err, "  {} until 24 h after the install", line.scope)?;
    }
    for LeftOut { scope, whose, why, did_you_mean } in &first.left_out {
        let near = did_you_mean.as_deref().map_or_else(String::new, |near| format!("; did you mean {near}?"));
        writeln!(output.err, "  left out: {} ({whose}): {why}{near}", escaped(scope))?;
    }
    let mut guards: Vec<&str> = first.guarded.iter().map(|one| one.guard.as_str()).collect();
    guards.dedup();
    for guard in guards {
        let operations = first.guarded.iter().filter(|one| one.guard == guard).map(|one| one.operations.len()).sum();
        writeln!(output.err, "  not granted: {guard}, for {} of these scopes", count(operations, "operation"))?;
    }
    first.notes.iter().try_for_each(|note| writeln!(output.err, "  note: {}", escaped(note)))
}

/// What to type next.
fn next(firsts: &[First], args: &AddArgs, output: &mut Output<'_>) -> io::Result<()> {
    let tenant = args.tenant.as_deref().unwrap_or("TENANT");
    writeln!(output.err, "next:")?;
    let file = args.output.as_ref().map_or_else(|| "the file".to_owned(), |path| path.display().to_string());
    writeln!(output.err, "  edit {file}: `for` and `in` of each line, `contact`, `credentials`")?;
    for first in firsts {
        match first.kind {
            "connect" => writeln!(
                output.err,
                "  write its clientKey and a file with its shared secret under `credentials` of {}",
                first.app
            )?,
            kind => writeln!(
                output.err,
                "  scopegate credential new --app {} --tenant {} --kind {kind}",
                first.app,
                escaped(tenant)
            )?,
        }
    }
    match &args.output {
        Some(path) => writeln!(output.err, "  scopegate check {}", path.display()),
        None => writeln!(output.err, "  scopegate check"),
    }
}

fn shown(firsts: &[First], kind: ManifestKind, args: &AddArgs, yaml: &str) -> Value {
    let document = |first: &First| {
        let granted = |wanted: fn(bool, bool) -> bool| {
            let lines = first.lines.iter().filter(move |line| wanted(line.app, line.user));
            lines.map(|line| line.scope.clone()).collect::<Vec<_>>()
        };
        let guarded = first.guarded.iter().map(
            |one| json!({"guard": one.guard, "operations": one.operations, "while_installing": one.while_installing}),
        );
        let left_out = first.left_out.iter().map(|left| {
            json!({"scope": left.scope, "asked_for": left.whose, "why": left.why, "did_you_mean": left.did_you_mean})
        });
        json!({
            "app": first.app,
            "product": &*first.product,
            "kind": first.kind,
            "granted": {"app": granted(|app, _| app), "user": granted(|_, user| user)},
            "while_installing": first.lines.iter().filter(|line| line.while_installing).map(|line| &line.scope).collect::<Vec<_>>(),
            "left_out": left_out.collect::<Vec<_>>(),
            "guards_not_granted": guarded.collect::<Vec<_>>(),
            "notes": first.notes,
        })
    };
    json!({
        "manifest": kind.called(),
        "file": args.output.as_ref().map(|path| path.display().to_string()),
        "documents": firsts.iter().map(document).collect::<Vec<_>>(),
        "yaml": yaml,
    })
}
