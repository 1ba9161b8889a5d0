//! `scopegate rollback TO`: the policy as it was after an entry of the journal, without giving back what was taken since.
//!
//! The policy folder is never written. The files are written to a folder of their own, for whoever deploys them. Revocations
//! and suspensions that are newer than the target are added to them, each by itself, and go only when they are named. Before
//! anything is written the result is compared: it permits nothing that the target did not, and frees nothing that was not named.

mod kept;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::load::{self, Sources};
use super::log::{PlaceArgs, unreadable};
use super::words::{count, time_text};
use super::{Answer, Failure, Format, Output};
use crate::authz::policy::Policy;
use crate::authz::policy::cells::{FactKind, Widening, widening};
use crate::authz::policy::compile::Catalogs;
use crate::control::journal::entry::{Folder, Manifest};
use crate::control::journal::history::History;
use crate::control::journal::words::{self, Text};
use crate::problem::escaped;
use crate::yaml::time::moment;
use kept::Kept;

#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The number of an entry of the journal, or a time (RFC 3339)
    pub to: String,
    /// Write the files below this folder, which must not be there yet or be empty; absent, only say what would be
    #[arg(long)]
    pub to_folder: Option<PathBuf>,
    /// Let go of a newer revocation or suspension, by the id that is printed beside it. Once for each
    #[arg(long)]
    pub lift: Vec<String>,
    /// Bring back credentials that were taken out since
    #[arg(long)]
    pub with_credentials: bool,
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// The three states that are compared.
struct States<'s> {
    catalogs: &'s Arc<Catalogs>,
    now_ms: i64,
    target: Arc<Policy>,
    current: Arc<Policy>,
}

/// Says, or writes, what the rollback comes to.
pub fn run(args: &RollbackArgs, output: &mut Output<'_>) -> Answer {
    let now_ms = crate::clock::unix_ms();
    let history = args.place.history()?;
    let (sequence, time_ms, manifest) = target(&history, &args.to)?;
    let texts = texts(&history, &manifest)?;
    let loaded = load::load(&Sources { config: Some(args.place.config.clone()), ..Sources::default() }, now_ms);
    let Some(current) = loaded.policy().filter(|_| !loaded.has_errors()).cloned() else {
        return super::refuse_broken(&loaded, Format::Human, output);
    };
    let target = policy(&loaded.catalogs, &texts, now_ms)
        .ok_or_else(|| Failure::Other(format!("what entry {sequence} says does not fit together today")))?;
    let states = States { catalogs: &loaded.catalogs, now_ms, target, current };
    let kept = kept::of(&states.current, &states.target, states.catalogs, now_ms, sequence);
    let lifted = lifted(&kept, &args.lift)?;
    let stays: Vec<&Kept> = kept.iter().filter(|one| !lifted.contains(one.id.as_str())).collect();
    let mut all = texts;
    if !stays.is_empty() {
        let name = format!("kept-by-rollback-to-{sequence}.yaml");
        all.push((Folder::Override, name, kept::yaml(&stays).into()));
    }
    let result = policy(states.catalogs, &all, now_ms)
        .ok_or_else(|| Failure::Other("with what was taken since, the files do not fit together".to_owned()))?;
    let wider = states.check(&result, &lifted, args.with_credentials, sequence)?;
    say(&wider, &kept, &lifted, (sequence, time_ms), output)?;
    let Some(folder) = &args.to_folder else {
        writeln!(output.out, "nothing was written; --to-folder DIR writes the files")?;
        return Ok(true);
    };
    write(folder, &all)?;
    writeln!(output.out, "{} written to {}", count(all.len(), "file"), folder.display())?;
    Ok(true)
}

fn policy(catalogs: &Arc<Catalogs>, texts: &[Text], now_ms: i64) -> Option<Arc<Policy>> {
    words::snapshot(catalogs, texts, now_ms)?.states.map(|states| states.newest)
}

/// The entry, and the files in force after it.
fn target(history: &History, to: &str) -> Result<(u64, i64, Manifest), Failure> {
    let entries = history.entries(0).map_err(unreadable)?;
    let found = match (to.parse::<u64>(), moment(to)) {
        (Ok(number), _) => entries.iter().find(|(entry, _)| entry.sequence == number),
        (Err(_), Some(at)) => entries.iter().rev().find(|(entry, _)| entry.time_ms <= at.0),
        (Err(_), None) => {
            return Err(Failure::Usage(format!("`{to}` is neither the number of an entry nor a time (RFC 3339)")));
        }
    };
    let (entry, _) = found.ok_or_else(|| Failure::Other(format!("the journal has no entry for {to}")))?;
    let manifest = history.files_at(entry.sequence).map_err(unreadable)?;
    let manifest = manifest.ok_or_else(|| Failure::Other(format!("entry {} is not kept", entry.sequence)))?;
    Ok((entry.sequence, entry.time_ms, manifest))
}

fn texts(history: &History, manifest: &Manifest) -> Result<Vec<Text>, Failure> {
    let text = |((folder, path), digest): (&(Folder, String), &String)| {
        let gone = || Failure::Other(format!("what {path} said then is not kept any more"));
        if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Failure::Other(format!("{path} was not below the policy folder")));
        }
        Ok((*folder, path.clone(), history.text(digest).ok_or_else(gone)?.into()))
    };
    manifest.iter().map(text).collect()
}

fn lifted<'a>(kept: &[Kept], named: &'a [String]) -> Result<BTreeSet<&'a str>, Failure> {
    for id in named {
        if !kept.iter().any(|one| one.id == *id) {
            return Err(Failure::Usage(format!("nothing newer than the target has the id `{id}`")));
        }
    }
    Ok(named.iter().map(String::as_str).collect())
}

impl States<'_> {
    /// What the result permits and the current policy does not, once it is certain that this is no more than it may be.
    fn check(
        &self,
        result: &Policy,
        lifted: &BTreeSet<&str>,
        with_credentials: bool,
        sequence: u64,
    ) -> Result<Widening, Failure> {
        let beyond = widening(&self.target, result, self.catalogs, self.now_ms);
        if !beyond.is_empty() {
            let lines = beyond.words(false).join("\n  ");
            return Err(Failure::Other(format!("the result would permit more than entry {sequence} did:\n  {lines}")));
        }
        let freed = kept::of(&self.current, result, self.catalogs, self.now_ms, sequence);
        if let Some(one) = freed.iter().find(|one| !lifted.contains(one.id.as_str())) {
            return Err(Failure::Other(format!("this newer revocation cannot be kept: {}", one.words)));
        }
        let wider = widening(&self.current, result, self.catalogs, self.now_ms);
        let back: Vec<_> = wider.facts.iter().filter(|fact| fact.kind == FactKind::Caller).collect();
        if !back.is_empty() && !with_credentials {
            let of: BTreeSet<String> = back.iter().map(|fact| format!("{} in {}", fact.app, fact.tenant)).collect();
            let of = of.into_iter().collect::<Vec<_>>().join(", ");
            let message = format!("{} taken out since would come back, of {of}", count(back.len(), "credential"));
            return Err(Failure::Other(format!("{message}; --with-credentials brings them back")));
        }
        Ok(wider)
    }
}

fn say(
    wider: &Widening,
    kept: &[Kept],
    lifted: &BTreeSet<&str>,
    (sequence, time_ms): (u64, i64),
    output: &mut Output<'_>,
) -> std::io::Result<()> {
    let paint = output.paint;
    writeln!(output.out, "back to entry {sequence} of {}:", time_text(time_ms))?;
    for line in wider.words(false) {
        writeln!(output.out, "{} {}", paint.red("+"), escaped(&line))?;
    }
    for one in kept {
        let what = if lifted.contains(one.id.as_str()) { "let go " } else { "stays  " };
        writeln!(output.out, "{what}{}  {}", paint.bold(&one.id), escaped(&one.words))?;
    }
    Ok(())
}

fn write(folder: &Path, texts: &[Text]) -> Result<(), Failure> {
    let taken = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if taken {
        return Err(Failure::Usage(format!("{} is not empty", folder.display())));
    }
    for name in ["policies", "overrides"] {
        std::fs::create_dir_all(folder.join(name))?;
    }
    for (of, path, text) in texts {
        let below = match of {
            Folder::Policy => "policies",
            Folder::Override => "overrides",
        };
        let path = folder.join(below).join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, text.as_bytes())?;
    }
    Ok(())
}
