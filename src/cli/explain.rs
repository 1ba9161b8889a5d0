//! `scopegate explain`: whether a request would pass, which rule decides, and the line of YAML that would change it.
//!
//! It needs no credential and sends nothing: the caller is named. It judges by the code that judges requests.

mod change;
mod view;

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::ask::{self, Actor, Answered, Question, Words};
use super::load::{self, Loaded};
use super::{Answer, Failure, Format, Output, SourceArgs};
use crate::authz::gate::GateRules;
use crate::yaml::time::moment;

/// The largest body that is judged, in bytes: what a gate holds by default.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The app, as `product/app`
    #[arg(long)]
    pub app: String,
    /// The tenant: a Jira site, a Slack workspace
    #[arg(long)]
    pub tenant: String,
    /// Whom the caller acts as
    #[arg(long, value_enum)]
    pub actor: Option<Actor>,
    /// The user behind the call
    #[arg(long)]
    pub user: Option<String>,
    /// The kind of credential, where the installation has several
    #[arg(long)]
    pub kind: Option<String>,
    /// The time to judge by (RFC 3339); absent, now
    #[arg(long, value_parser = time_of)]
    pub at: Option<i64>,
    /// What a look-up would have said of a container that the request does not tell, such as project=SEC; of a job that the
    /// request asks about, what the one that started it touched
    #[arg(long, value_name = "KIND=ID")]
    pub container: Vec<String>,
    /// The file with the body; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// The gate of the configuration, where several are for the product
    #[arg(long)]
    pub gate: Option<String>,
    #[command(flatten)]
    pub sources: SourceArgs,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// METHOD PATH, or a URL (which is a GET)
    #[arg(required = true, num_args = 1..=2, value_name = "REQUEST")]
    pub request: Vec<String>,
}

/// A moment as an argument, in Unix milliseconds.
pub fn time_of(text: &str) -> Result<i64, String> {
    let moment = moment(text).ok_or_else(|| "write it like 2026-11-20T09:00:00Z (RFC 3339)".to_owned())?;
    Ok(moment.0)
}

/// Explains one request.
pub fn run(args: &ExplainArgs, output: &mut Output<'_>) -> Answer {
    let now_ms = crate::clock::unix_ms();
    let sources = args.sources.sources()?;
    let loaded = load::load(&sources, now_ms);
    if loaded.has_errors() {
        return super::refuse_broken(&loaded, args.format, output);
    }
    let question = question(args, now_ms)?;
    let gate = gate(&loaded, &question, args.gate.as_deref())?;
    let answered = ask::ask(&loaded, &gate, &question)?;
    let told = Told { loaded: &loaded, gate: &gate, question: &question, answered: &answered };
    match args.format {
        Format::Human => view::human(&told, output)?,
        Format::Json => writeln!(output.out, "{}", view::json(&told))?,
    }
    Ok(answered.explanation.is_permitted())
}

/// Explains one request by what is loaded, as JSON: what a running gate answers on its admin listener.
///
/// # Errors
/// The question makes no sense, or no gate is for it.
pub fn answer(loaded: &Loaded, gate_name: Option<&str>, question: &Question) -> Result<serde_json::Value, Failure> {
    let gate = gate(loaded, question, gate_name)?;
    let answered = ask::ask(loaded, &gate, question)?;
    Ok(view::json(&Told { loaded, gate: &gate, question, answered: &answered }))
}

/// A question with its answer, and what both are about.
#[derive(Clone, Copy)]
pub struct Told<'t> {
    pub loaded: &'t Loaded,
    pub gate: &'t GateRules,
    pub question: &'t Question,
    pub answered: &'t Answered,
}

fn question(args: &ExplainArgs, now_ms: i64) -> Result<Question, Failure> {
    let (method, target) = match &args.request[..] {
        [target] => ("GET", target),
        [method, target, ..] => (method.as_str(), target),
        [] => return Err(Failure::Usage("name a request: METHOD PATH, or a URL".into())),
    };
    Ok(Question {
        app: args.app.clone(),
        tenant: args.tenant.clone(),
        actor: args.actor,
        user: args.user.clone(),
        kind: args.kind.clone(),
        at_ms: args.at.unwrap_or(now_ms),
        containers: args.container.clone(),
        method: method.to_owned(),
        target: target.clone(),
        body: args.body.as_ref().map(body).transpose()?,
        words: Words::Options,
    })
}

fn body(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    let unreadable = |error| Failure::Usage(format!("{} cannot be read: {error}", path.display()));
    let mut bytes = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().lock().take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes),
        false => std::fs::File::open(path).and_then(|file| file.take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes)),
    };
    let read = read.map_err(unreadable)?;
    if read as u64 > BODY_BYTES_MAX {
        return Err(Failure::Usage(format!("the body is larger than {BODY_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// The gate that the request would come through: the named one, else the only one of the product.
fn gate(loaded: &Loaded, question: &Question, named: Option<&str>) -> Result<Arc<GateRules>, Failure> {
    let tenant = &*question.tenant;
    let product = ask::product_of(&question.app)?;
    let names = |gates: &[&Arc<GateRules>]| gates.iter().map(|gate| &*gate.name).collect::<Vec<_>>().join(", ");
    if let Some(name) = named {
        let found = loaded.gates.iter().find(|gate| *gate.name == *name);
        let all: Vec<_> = loaded.gates.iter().collect();
        let gate =
            found.ok_or_else(|| Failure::Usage(format!("no gate is named `{name}`; there are: {}", names(&all))))?;
        if *gate.catalog.product != *product {
            return Err(Failure::Usage(format!(
                "the gate `{name}` is for {}, not for {product}",
                gate.catalog.product
            )));
        }
        return Ok(Arc::clone(gate));
    }
    let gates: Vec<_> = loaded.gates.iter().filter(|gate| *gate.catalog.product == *product).collect();
    let of_tenant: Vec<_> = gates.iter().copied().filter(|gate| gate.tenant.may_tell(tenant)).collect();
    match (&of_tenant[..], &gates[..]) {
        ([first, rest @ ..], _) if rest.iter().all(|gate| judge_alike(first, gate)) => Ok(Arc::clone(first)),
        ([], [first, ..]) => Ok(Arc::clone(first)),
        ([], []) if loaded.gates.is_empty() => Ok(Arc::new(ask::plain_gate(loaded, product, tenant)?)),
        ([], []) => Err(Failure::Usage(format!("no gate of the configuration is for {product}"))),
        (several, _) => Err(Failure::Usage(format!(
            "several gates are for {product} and judge by different settings: say {} with one of {}",
            question.words.place("gate"),
            names(several)
        ))),
    }
}

/// Whether two gates would give a request of an identified caller the same answer, once they know the tenant.
fn judge_alike(one: &GateRules, other: &GateRules) -> bool {
    let settings = |gate: &GateRules| {
        (gate.issue_keys_prefix, gate.names_as_written, gate.channel_types_prefix, gate.observe_until_ms)
    };
    settings(one) == settings(other)
}
