//! The commands that change what is in force: revoke, restore, suspend, grant, promote, install-window, overrides.
//!
//! They ask the running gate, which answers once the act is in force in every worker. Where none runs they write the act
//! themselves, for the next one that starts.

mod after;
mod api;
mod named;
mod offline;
mod proof;
mod shown;
mod store;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{Answer, Failure, Format, Output, load};
use crate::acts::done::{Done, Listed};
use crate::acts::order::{Actor, Order};
use crate::acts::{ActId, Kind};
use crate::config::Config;
use api::Api;
use named::{Found, Taken};
use proof::Proof;

/// What every one of them takes.
#[derive(Debug, Args)]
pub struct How {
    /// The configuration of the gate
    #[arg(long, default_value = load::CONFIG)]
    pub config: std::path::PathBuf,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub proof: Proof,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Why, and who says so.
#[derive(Debug, Args)]
pub struct Signed {
    /// Why: a ticket or a sentence. It stands beside the rule and in the journal
    #[arg(long)]
    pub reason: String,
    /// Who does it [default: the user of this process]
    #[arg(long)]
    pub by: Option<String>,
}

/// In which tenants.
#[derive(Debug, Args)]
pub struct InTenants {
    /// A tenant by its id; more than once for several
    #[arg(long = "tenant", value_name = "TENANT", conflicts_with = "all_tenants")]
    pub tenants: Vec<String>,
    /// Every tenant, where there are several
    #[arg(long)]
    pub all_tenants: bool,
}

/// What, where, as whom.
#[derive(Debug, Args)]
pub struct What {
    /// A scope; more than once for several
    #[arg(long = "scope", value_name = "SCOPE", num_args = 1.., conflicts_with = "all_scopes")]
    pub scopes: Vec<String>,
    /// Every scope
    #[arg(long)]
    pub all_scopes: bool,
    /// An operation by its id; more than once for several
    #[arg(long = "operation", value_name = "OPERATION", num_args = 1..)]
    pub operations: Vec<String>,
    /// A container, such as project:SEC or channel:C0EXEC; more than once for several
    #[arg(long = "in", value_name = "KIND:ID", num_args = 1..)]
    pub within: Vec<String>,
    /// Only as `app`, or only as `user`
    #[arg(long, value_enum)]
    pub actor: Option<ActorWord>,
}

/// Until when.
#[derive(Debug, Args)]
pub struct Term {
    /// When it ends by itself (RFC 3339)
    #[arg(long, value_name = "TIME", conflicts_with = "span")]
    pub until: Option<String>,
    /// How long it holds, such as 4h, 30m, 2d
    #[arg(long = "for", value_name = "SPAN")]
    pub span: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ActorWord {
    App,
    User,
}

#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The app, as product/app
    #[arg(long, required_unless_present = "all_apps", conflicts_with = "all_apps")]
    pub app: Option<String>,
    /// Every app of the product, also those that come later
    #[arg(long)]
    pub all_apps: bool,
    /// With --all-apps: the product, where apps of several are installed
    #[arg(long, requires = "all_apps")]
    pub product: Option<String>,
    #[command(flatten)]
    pub tenants: InTenants,
    #[command(flatten)]
    pub what: What,
    #[command(flatten)]
    pub term: Term,
    /// Take nothing yet: record what it would refuse
    #[arg(long)]
    pub shadow: bool,
    /// Also what the policy marks as `required: true`: the app stops working
    #[arg(long)]
    pub even_required: bool,
    #[command(flatten)]
    pub signed: Signed,
    #[command(flatten)]
    pub how: How,
}

#[derive(Debug, Args)]
pub struct SuspendArgs {
    /// The app, as product/app
    #[arg(long)]
    pub app: String,
    #[command(flatten)]
    pub tenants: InTenants,
    #[command(flatten)]
    pub signed: Signed,
    #[command(flatten)]
    pub how: How,
}

#[derive(Debug, Args)]
pub struct GrantArgs {
    /// The app, as product/app
    #[arg(long)]
    pub app: String,
    #[command(flatten)]
    pub tenants: InTenants,
    #[command(flatten)]
    pub what: What,
    /// In every container, where none is named
    #[arg(long, conflicts_with = "within")]
    pub everywhere: bool,
    #[command(flatten)]
    pub term: Term,
    #[command(flatten)]
    pub signed: Signed,
    #[command(flatten)]
    pub how: How,
}

#[derive(Debug, Subcommand)]
pub enum WindowCommand {
    /// Opens the install window of an installation, for a while
    Open {
        /// The app, as product/app
        #[arg(long)]
        app: String,
        #[command(flatten)]
        tenants: InTenants,
        #[command(flatten)]
        term: Term,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        how: How,
    },
    /// Closes the install windows that commands opened
    Close {
        /// The app, as product/app
        #[arg(long)]
        app: String,
        /// Only in this tenant
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        how: How,
    },
}

/// Which acts are changed.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// Ids, as `scopegate overrides` lists them
    #[arg(value_name = "ACT", required = true)]
    pub acts: Vec<String>,
    #[command(flatten)]
    pub signed: Signed,
    #[command(flatten)]
    pub how: How,
}

/// What is given back.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Ids, as `scopegate overrides` lists them, or the file and line that `scopegate explain` names
    #[arg(value_name = "ACT", required_unless_present = "app")]
    pub acts: Vec<String>,
    #[command(flatten)]
    pub taken: Taken,
    #[command(flatten)]
    pub signed: Signed,
    #[command(flatten)]
    pub how: How,
}

#[derive(Debug, Args)]
pub struct OverridesArgs {
    /// The configuration of the gate
    #[arg(long, default_value = load::CONFIG)]
    pub config: std::path::PathBuf,
    #[command(flatten)]
    pub proof: Proof,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `scopegate revoke`
pub fn revoke(args: RevokeArgs, output: &mut Output<'_>) -> Answer {
    let mut order = ordered(Kind::Revoke, args.signed);
    (order.app, order.all_apps, order.product) = (args.app, args.all_apps, args.product);
    (order.shadow, order.even_required) = (args.shadow, args.even_required);
    of_tenants(&mut order, args.tenants);
    of_what(&mut order, args.what);
    (order.until, order.span) = (args.term.until, args.term.span);
    carry_out(&order, &args.how, output)
}

/// `scopegate suspend`
pub fn suspend(args: SuspendArgs, output: &mut Output<'_>) -> Answer {
    let mut order = ordered(Kind::Suspend, args.signed);
    order.app = Some(args.app);
    of_tenants(&mut order, args.tenants);
    carry_out(&order, &args.how, output)
}

/// `scopegate grant`
pub fn grant(args: GrantArgs, output: &mut Output<'_>) -> Answer {
    let mut order = ordered(Kind::Grant, args.signed);
    (order.app, order.everywhere) = (Some(args.app), args.everywhere);
    of_tenants(&mut order, args.tenants);
    of_what(&mut order, args.what);
    (order.until, order.span) = (args.term.until, args.term.span);
    carry_out(&order, &args.how, output)
}

/// `scopegate install-window`
pub fn window(command: WindowCommand, output: &mut Output<'_>) -> Answer {
    match command {
        WindowCommand::Open { app, tenants, term, signed, how } => {
            let mut order = ordered(Kind::InstallWindow, signed);
            order.app = Some(app);
            of_tenants(&mut order, tenants);
            (order.until, order.span) = (term.until, term.span);
            carry_out(&order, &how, output)
        }
        WindowCommand::Close { app, tenant, signed, how } => {
            let config = config(&how.config)?;
            let acts = windows_of(&listed(&config, &how.proof)?, &app, tenant.as_deref());
            if acts.is_empty() {
                let whose = tenant.map_or_else(String::new, |tenant| format!(" in {tenant}"));
                writeln!(output.err, "no command has opened an install window of {app}{whose}")?;
                writeln!(
                    output.err,
                    "one that is open since the installation is closed with `install_window: 0s` there"
                )?;
                return Ok(false);
            }
            undo("restore", &config, &acts, &signed, &how, output)
        }
    }
}

/// `scopegate restore`
pub fn restore(args: RestoreArgs, output: &mut Output<'_>) -> Answer {
    let config = config(&args.how.config)?;
    let RestoreArgs { acts, taken, signed, how } = args;
    if taken.app.is_some() {
        let found = named::by_taken(&taken, &how.config, &config)?;
        return give_back(&found, &config, &signed, &how, output);
    }
    let mut all_done = true;
    for text in &acts {
        let found = named::by_text(text, &how.config, &config)?;
        all_done &= give_back(&found, &config, &signed, &how, output)?;
    }
    Ok(all_done)
}

/// Takes back the one act that was found. Several are not chosen from, and what is written by hand is not touched.
fn give_back(found: &Found, config: &Config, signed: &Signed, how: &How, output: &mut Output<'_>) -> Answer {
    let acts: Vec<&ActId> = found.acts.iter().collect();
    let is_done = match acts[..] {
        [act] => undo_one("restore", config, act, signed, how, output)?,
        [] => false,
        [_, _, ..] => {
            writeln!(output.err, "{} several acts take it:", output.paint.red("not done:"))?;
            acts.iter().try_for_each(|act| writeln!(output.err, "  scopegate restore {act}"))?;
            false
        }
    };
    for (file, line) in &found.by_hand {
        let place = format!("{}:{line}", file.display());
        let what = "is written by hand, and commands change only what commands wrote: take it out there";
        writeln!(output.err, "{} {place} {what}", output.paint.red("not done:"))?;
    }
    if acts.is_empty() && found.by_hand.is_empty() {
        writeln!(output.err, "{} no revocation and no suspension is there", output.paint.red("not done:"))?;
    }
    Ok(is_done && found.by_hand.is_empty())
}

/// `scopegate promote`
pub fn promote(args: UndoArgs, output: &mut Output<'_>) -> Answer {
    let config = config(&args.how.config)?;
    undo("promote", &config, &args.acts, &args.signed, &args.how, output)
}

/// `scopegate overrides`: what commands wrote, as YAML to commit.
pub fn overrides(args: &OverridesArgs, output: &mut Output<'_>) -> Answer {
    let acts = listed(&config(&args.config)?, &args.proof)?;
    match args.format {
        Format::Json => writeln!(output.out, "{}", json!({ "acts": acts }))?,
        Format::Human => shown::listed(&acts, output)?,
    }
    Ok(acts.iter().all(|act| act.problem.is_none()))
}

fn ordered(act: Kind, signed: Signed) -> Order {
    let mut order = Order::new(act, signed.reason);
    order.by = signed.by.or_else(user);
    order
}

fn of_tenants(order: &mut Order, tenants: InTenants) {
    (order.tenants, order.all_tenants) = (tenants.tenants, tenants.all_tenants);
}

fn of_what(order: &mut Order, what: What) {
    (order.scopes, order.all_scopes, order.operations) = (what.scopes, what.all_scopes, what.operations);
    order.within = what.within;
    order.actor = what.actor.map(|actor| match actor {
        ActorWord::App => Actor::App,
        ActorWord::User => Actor::User,
    });
}

/// Whoever runs the command, as far as its environment says.
fn user() -> Option<String> {
    let said = |name: &str| std::env::var(name).ok().filter(|user| !user.is_empty());
    said("SUDO_USER").or_else(|| said("USER")).or_else(|| said("LOGNAME"))
}

fn config(path: &std::path::Path) -> Result<Config, Failure> {
    crate::config::load(path, &crate::authz::catalog::builtin::is_there)
        .map_err(|problems| Failure::Other(crate::problem::render_human(&problems, false)))
}

fn carry_out(order: &Order, how: &How, output: &mut Output<'_>) -> Answer {
    let config = config(&how.config)?;
    let mut done = match Api::of(&config, &how.proof)? {
        Some(api) => {
            // What takes away waits for nobody: an edit that comes in between is no reason to refuse it.
            let generation = if order.act.only_takes() { None } else { Some(api.generation()?) };
            let path = format!("/api/v1/acts?dry_run={}", how.dry_run);
            let body = serde_json::to_value(order).unwrap_or_default();
            match api.post(&path, &body, generation)? {
                Ok(answer) => done_of(answer)?,
                Err(refused) => return shown::refused(&refused, how.format, output),
            }
        }
        None => match offline::carry_out(order, &how.config, &config, how.dry_run)? {
            Ok(done) => done,
            Err(refused) => {
                let value = serde_json::to_value(&*refused).unwrap_or_default();
                return shown::refused(&value, how.format, output);
            }
        },
    };
    after::fill(&mut done, "", &config);
    shown::done("", &done, how.format, output)
}

fn undo(
    word: &'static str,
    config: &Config,
    acts: &[String],
    signed: &Signed,
    how: &How,
    output: &mut Output<'_>,
) -> Answer {
    let mut all_done = true;
    for text in acts {
        let id = ActId::parse(text).ok_or_else(|| Failure::Usage(format!("`{text}` is no id of an act")))?;
        all_done &= undo_one(word, config, &id, signed, how, output)?;
    }
    Ok(all_done)
}

fn undo_one(
    word: &'static str,
    config: &Config,
    id: &ActId,
    signed: &Signed,
    how: &How,
    output: &mut Output<'_>,
) -> Answer {
    // Said before anything is changed, for whoever wants to stop there.
    let says_first = word == "promote" && how.format == Format::Human && !how.dry_run;
    if says_first {
        match undone(word, config, id, signed, how, true)? {
            Ok(preview) => shown::would_have_refused(&preview, output)?,
            Err(refused) => return shown::refused(&refused, how.format, output),
        }
        output.out.flush()?;
    }
    match undone(word, config, id, signed, how, how.dry_run)? {
        Ok(mut done) => {
            after::fill(&mut done, word, config);
            if says_first {
                done.would_have_refused.clear();
            }
            shown::done(word, &done, how.format, output)
        }
        Err(refused) => shown::refused(&refused, how.format, output),
    }
}

/// Asks the gate, or does it without one. The refusal is the gate's, or worded as it would.
fn undone(
    word: &'static str,
    config: &Config,
    id: &ActId,
    signed: &Signed,
    how: &How,
    dry_run: bool,
) -> Result<Result<Done, Value>, Failure> {
    let Some(api) = Api::of(config, &how.proof)? else {
        let done = offline::undo(word, id, &how.config, config, dry_run)?;
        return Ok(done.map_err(|refused| serde_json::to_value(&*refused).unwrap_or_default()));
    };
    let generation = if word == "promote" { None } else { Some(api.generation()?) };
    let path = format!("/api/v1/acts/{id}/{word}?dry_run={dry_run}");
    let body = json!({ "reason": signed.reason, "by": signed.by.clone().or_else(user) });
    Ok(match api.post(&path, &body, generation)? {
        Ok(answer) => Ok(done_of(answer)?),
        Err(refused) => Err(refused),
    })
}

fn listed(config: &Config, proof: &Proof) -> Result<Vec<Listed>, Failure> {
    match Api::of(config, proof)? {
        Some(api) => {
            let answer = api.get("/api/v1/acts")?;
            serde_json::from_value(answer).map_err(|error| Failure::Other(format!("the gate's answer: {error}")))
        }
        None => offline::listed(config),
    }
}

/// The acts that opened windows of this app.
fn windows_of(acts: &[Listed], app: &str, tenant: Option<&str>) -> Vec<String> {
    let head = format!("app: {}\n", crate::acts::text::scalar(app));
    let here = tenant.map(|tenant| format!("{{tenant: {},", crate::acts::text::scalar(tenant)));
    let opens = |act: &&Listed| {
        act.text.contains("install_windows:")
            && act.text.contains(&head)
            && here.as_ref().is_none_or(|here| act.text.contains(here))
    };
    acts.iter().filter(opens).map(|act| act.id.clone()).collect()
}

fn done_of(answer: Value) -> Result<Done, Failure> {
    serde_json::from_value(answer).map_err(|error| Failure::Other(format!("the gate's answer: {error}")))
}
