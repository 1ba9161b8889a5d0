//! The command line. Each command is one file below `cli/`; none holds logic that the library lacks.
//!
//! Exit codes: 0 yes, 1 no (denied, problems found, failed), 2 usage.

pub mod act;
pub mod app;
pub mod apps;
pub mod ask;
pub mod bundle;
pub mod catalog;
pub mod cells;
pub mod check;
pub mod check_output;
pub mod completions;
pub mod credential;
pub mod diff;
pub mod explain;
pub mod health;
pub mod init;
pub mod load;
pub mod log;
pub mod names;
pub mod rollback;
pub mod schema;
pub mod serve;
pub mod test;
pub mod usage;
pub mod version;
pub mod words;

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use load::Sources;
use words::Paint;

/// An authorizing reverse proxy: takes one scope from one app in one container, after the install.
#[derive(Debug, Parser)]
#[command(name = "scopegate", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gate: judges, forwards and refuses until SIGTERM; SIGHUP looks at the policies at once
    Serve {
        #[arg(long, default_value = load::CONFIG)]
        config: PathBuf,
    },
    /// Runs a gate before a made-up Jira and Slack, with sample policies, and says what to try
    Demo {
        /// Leave the folder with configuration and policies where it is at the end
        #[arg(long)]
        keep: bool,
    },
    /// Writes a first configuration, an app and a guardrail, with comments
    Init {
        /// The product that the sample is for
        #[arg(long, default_value = "jira")]
        product: String,
        /// The folder to write into
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Says whether configuration, catalogs and policies are sound, with all problems at once
    Check(check::CheckArgs),
    /// Says whether a request would pass, which rule decides, and which line of YAML would change that
    Explain(explain::ExplainArgs),
    /// Runs policy tests, each with a clock of its own
    Test(test::TestArgs),
    /// Writes a first policy of an app
    #[command(subcommand)]
    App(app::AppCommand),
    /// Lists apps: where they are installed, what rules them
    Apps(apps::AppsArgs),
    /// Lists what each app holds: tenant, scope, container and actor, and what revoked it
    Cells(cells::CellsArgs),
    /// Takes a scope or an operation from an app, or from all, in some containers or everywhere: at once, undoable
    Revoke(act::RevokeArgs),
    /// Takes an act back that a command or the admin API wrote
    Restore(act::RestoreArgs),
    /// Refuses everything of an app until that is restored
    Suspend(act::SuspendArgs),
    /// Gives an app something, for some time or for good
    Grant(act::GrantArgs),
    /// Enforces a revocation that was in shadow mode
    Promote(act::UndoArgs),
    /// Opens and closes install windows
    #[command(subcommand)]
    InstallWindow(act::WindowCommand),
    /// Prints what commands wrote, as YAML to commit to the policy
    Overrides(act::OverridesArgs),
    /// Says which cells change from one policy to another; exit code 1 if anything widens
    Diff(diff::DiffArgs),
    /// Writes a checked policy folder as one file, or as ConfigMaps for a projected volume
    Bundle(bundle::BundleArgs),
    /// Says what changed, who did it and why; `verify` says whether the journal holds
    Log(log::LogArgs),
    /// Gives the policy files as they were, with what was taken since
    Rollback(rollback::RollbackArgs),
    /// Gives ids the names that people know
    #[command(subcommand)]
    Names(names::NamesCommand),
    /// Says which operations an app used lately, and what it made that no revocation reaches
    Usage(usage::UsageArgs),
    /// Makes gate keys and digests
    #[command(subcommand)]
    Credential(CredentialCommand),
    /// Prints the JSON Schema of a sort of file, for the editor
    Schema {
        #[arg(value_enum)]
        kind: SchemaWord,
    },
    /// Imports, lists and shows catalogs
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    /// Asks a running gate whether it is ready
    Health(HealthArgs),
    /// Prints the version
    Version,
    /// Prints a completion script
    Completions { shell: clap_complete::Shell },
}

/// Whose schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemaWord {
    Policy,
    Config,
    Catalog,
}

#[derive(Debug, Subcommand)]
enum CredentialCommand {
    /// Prints a new gate key, once, and the lines to paste into the app's document
    New {
        /// The app, as `product/app`
        #[arg(long)]
        app: String,
        /// The tenant that the key is for
        #[arg(long)]
        tenant: String,
        /// The kind of the real credential that the gate puts in
        #[arg(long)]
        kind: Option<String>,
    },
    /// Prints the digest of the token on standard input
    Hash,
}

#[derive(Debug, Args)]
struct HealthArgs {
    /// The address of the health listener; absent, that of the configuration
    #[arg(long)]
    address: Option<std::net::SocketAddr>,
    #[arg(long, default_value = load::CONFIG)]
    config: PathBuf,
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Human,
    Json,
}

/// Where commands that judge find what they judge by.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The configuration [default: config/scopegate.yaml, if it is there, else the folder policies]
    #[arg(long, conflicts_with = "policies")]
    pub config: Option<PathBuf>,
    /// A folder or file with policies, without any configuration
    #[arg(long)]
    pub policies: Vec<PathBuf>,
    /// A catalog of your own, in place of the built-in one of its product
    #[arg(long)]
    pub catalog: Vec<PathBuf>,
}

impl SourceArgs {
    /// What to read.
    ///
    /// # Errors
    /// Nothing is named, and nothing stands at the usual places.
    pub fn sources(&self) -> Result<Sources, Failure> {
        let named =
            Sources { config: self.config.clone(), policies: self.policies.clone(), catalogs: self.catalog.clone() };
        if named.config.is_some() || !named.policies.is_empty() {
            return Ok(named);
        }
        let usual = Sources::usual().ok_or_else(|| {
            Failure::Usage(format!(
                "there is neither {} nor {}: name one with --config or --policies",
                load::CONFIG,
                load::POLICIES
            ))
        })?;
        Ok(Sources { catalogs: named.catalogs, ..usual })
    }
}

/// Where a command writes.
pub struct Output<'o> {
    pub out: &'o mut dyn Write,
    pub err: &'o mut dyn Write,
    pub paint: Paint,
}

/// Why a command could not answer at all.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Other(String),
}

/// `true` is yes.
pub type Answer = Result<bool, Failure>;

/// Runs one command.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    // Not locked: while `serve` runs, its log writes to the same stream.
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut output = Output { out: &mut out, err: &mut err, paint: Paint { colour } };
    let answer = dispatch(cli.command, &mut output).and_then(|yes| {
        output.out.flush()?;
        Ok(yes)
    });
    match answer {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> ExitCode {
    match failure {
        // Whoever reads has enough; there is nobody left to tell.
        Failure::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(1),
        Failure::Usage(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
        Failure::Io(_) | Failure::Other(_) => {
            eprintln!("error: {failure}");
            ExitCode::from(1)
        }
    }
}

fn dispatch(command: Command, output: &mut Output<'_>) -> Answer {
    match command {
        Command::Serve { config } => serve::run(&config, output),
        Command::Demo { keep } => {
            let options = crate::demo::DemoOptions { keep, colour: output.paint.colour };
            Ok(crate::demo::run(options, output.out)?)
        }
        Command::Init { product, folder } => write_samples(&product, &folder, output),
        Command::Schema { kind } => {
            let kind = match kind {
                SchemaWord::Policy => schema::SchemaKind::Policy,
                SchemaWord::Config => schema::SchemaKind::Config,
                SchemaWord::Catalog => schema::SchemaKind::Catalog,
            };
            writeln!(output.out, "{:#}", schema::schema(kind))?;
            Ok(true)
        }
        Command::Catalog(command) => Ok(catalog::run(&command, output.out, output.err)?),
        Command::Check(args) => check::run(&args, output),
        Command::Explain(args) => explain::run(&args, output),
        Command::Test(args) => test::run(&args, output),
        Command::App(command) => app::run(&command, output),
        Command::Apps(args) => apps::run(&args, output),
        Command::Cells(args) => cells::run(&args, output),
        Command::Revoke(args) => act::revoke(args, output),
        Command::Restore(args) => act::restore(args, output),
        Command::Suspend(args) => act::suspend(args, output),
        Command::Grant(args) => act::grant(args, output),
        Command::Promote(args) => act::promote(args, output),
        Command::InstallWindow(command) => act::window(command, output),
        Command::Overrides(args) => act::overrides(&args, output),
        Command::Diff(args) => diff::run(&args, output),
        Command::Log(args) => log::run(&args, output),
        Command::Rollback(args) => rollback::run(&args, output),
        Command::Names(command) => names::run(&command, output),
        Command::Usage(args) => usage::run(&args, output),
        Command::Bundle(args) => bundle::run(&args, output),
        Command::Credential(command) => credentials(&command, output),
        Command::Health(args) => ask_health(&args, output),
        Command::Version => Ok(version::run(output.out).map(|()| true)?),
        Command::Completions { shell } => Ok(completions::run(shell, Cli::command(), output.out).map(|()| true)?),
    }
}

fn credentials(command: &CredentialCommand, output: &mut Output<'_>) -> Answer {
    let made = match command {
        CredentialCommand::New { app, tenant, kind } => credential::new(app, tenant, kind.as_deref(), output.out),
        CredentialCommand::Hash => credential::hash(&mut io::stdin().lock(), output.out),
    };
    made.map(|()| true).map_err(|error| Failure::Other(error.to_string()))
}

fn write_samples(product: &str, folder: &std::path::Path, output: &mut Output<'_>) -> Answer {
    let written = init::init(folder, product).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Failure::Usage(error.to_string()),
        _ => Failure::Other(error.to_string()),
    })?;
    written.iter().try_for_each(|path| writeln!(output.out, "{}", path.display()))?;
    // Not on standard output, which lists the files for a script.
    writeln!(output.err, "{}", init::next(folder, product))?;
    Ok(true)
}

fn ask_health(args: &HealthArgs, output: &mut Output<'_>) -> Answer {
    let address = match args.address {
        Some(address) => address,
        None => health_address(&args.config)?,
    };
    health::run(address, health::TIMEOUT, output.out).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Io(error),
        _ => Failure::Other(format!("no gate says on {address} whether it is ready: {error}")),
    })
}

fn health_address(path: &std::path::Path) -> Result<std::net::SocketAddr, Failure> {
    use crate::config::model::Listen;
    let known = |name: &str| crate::authz::catalog::builtin::catalog(name).is_some();
    let config = crate::config::load(path, &known)
        .map_err(|problems| Failure::Other(crate::problem::render_human(&problems, false)))?;
    match config.health {
        Some(Listen::Tcp(address)) => Ok(address),
        Some(Listen::Unix(_)) => Err(Failure::Other("`health` listens on a Unix socket; name a TCP --address".into())),
        None => Err(Failure::Other(format!("{} has no `health`: name an --address", path.display()))),
    }
}

/// Prints what keeps a command from judging, and answers no.
fn refuse_broken(loaded: &load::Loaded, format: Format, output: &mut Output<'_>) -> Answer {
    match format {
        Format::Json => writeln!(output.out, "{}", crate::problem::to_json(&loaded.problems))?,
        Format::Human => {
            write!(output.err, "{}", crate::problem::render_human(&loaded.problems, output.paint.colour))?;
            writeln!(output.err, "no gate would start on this; `scopegate check` says the same")?;
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
