//! What a command says: the cells that change, what goes with them, and where it holds.

use std::io;

use serde_json::Value;

use crate::acts::Kind;
use crate::acts::done::{Done, Listed};
use crate::cli::words::count;
use crate::cli::{Answer, Format, Output};

/// So many operations are named, the others counted.
const OPERATIONS_MAX: usize = 12;

/// A refusal, as the core or the gate worded it.
pub fn refused(refusal: &Value, format: Format, output: &mut Output<'_>) -> Answer {
    match format {
        Format::Json => writeln!(output.out, "{refusal}")?,
        Format::Human => {
            let text = |key: &str| refusal.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
            let message = text("error").or_else(|| text("message")).unwrap_or("refused without a reason");
            writeln!(output.err, "{} {message}", output.paint.red("not done:"))?;
            if let Some(help) = text("help") {
                writeln!(output.err, "  {help}")?;
            }
        }
    }
    Ok(false)
}

/// What was done. Yes only if it holds everywhere.
pub fn done(word: &str, done: &Done, format: Format, output: &mut Output<'_>) -> Answer {
    if format == Format::Json {
        writeln!(output.out, "{}", serde_json::to_value(done).unwrap_or_default())?;
        return Ok(done.is_done());
    }
    would_have_refused(done, output)?;
    head(word, done, output)?;
    for line in &done.cells {
        writeln!(output.out, "  {line}")?;
    }
    if done.more_cells > 0 {
        writeln!(output.out, "  and {} more", count(done.more_cells, "cell"))?;
    }
    if done.cells.is_empty() && done.more_cells == 0 {
        writeln!(output.out, "  no cell changes: nobody holds it there, or something else takes it already")?;
    }
    stops(done, output)?;
    if !done.used.is_empty() {
        writeln!(output.out, "used in the last 30 days:")?;
        done.used.iter().try_for_each(|line| writeln!(output.out, "  {line}"))?;
    }
    if !done.outlasting.is_empty() {
        writeln!(output.out, "{}", output.paint.yellow("made before, and not reached by it:"))?;
        done.outlasting.iter().try_for_each(|line| writeln!(output.out, "  {line}"))?;
    }
    for note in &done.notes {
        writeln!(output.out, "{}", output.paint.dim(note))?;
    }
    where_it_holds(word, done, output)?;
    Ok(done.is_done())
}

/// Whom an act that is promoted would have refused until now.
pub fn would_have_refused(done: &Done, output: &mut Output<'_>) -> io::Result<()> {
    if !done.would_have_refused.is_empty() {
        writeln!(output.out, "{}", output.paint.bold("would have refused, in shadow mode:"))?;
    }
    done.would_have_refused.iter().try_for_each(|line| writeln!(output.out, "  {line}"))
}

fn head(word: &str, done: &Done, output: &mut Output<'_>) -> io::Result<()> {
    let what = match (word, done.act) {
        ("restore", _) => "taken back",
        ("promote", _) => "promoted: enforced from now on",
        (_, Kind::Revoke) if done.text.contains(", mode: shadow") => "revoked in shadow: recorded, nothing is taken",
        (_, Kind::Revoke) => "revoked",
        (_, Kind::Suspend) => "suspended",
        (_, Kind::Grant) => "granted",
        (_, Kind::InstallWindow) => "install window open",
    };
    let what = if done.dry_run { format!("would be {what}") } else { what.to_owned() };
    let tenants: Vec<String> = done.tenants.iter().map(ToString::to_string).collect();
    let whom = match (&done.apps[..], tenants.is_empty()) {
        ([], _) => String::new(),
        ([app], false) => format!(": {app} in {}", tenants.join(", ")),
        (apps, _) => format!(": {} in {}", count(apps.len(), "app"), tenants.join(", ")),
    };
    writeln!(output.out, "{}{whom}", output.paint.bold(&what))
}

fn stops(done: &Done, output: &mut Output<'_>) -> io::Result<()> {
    let named = |ids: &[std::sync::Arc<str>]| {
        let shown: Vec<&str> = ids.iter().take(OPERATIONS_MAX).map(|id| &**id).collect();
        let more = ids.len().saturating_sub(OPERATIONS_MAX);
        if more > 0 { format!("{}, and {more} more", shown.join(", ")) } else { shown.join(", ") }
    };
    let stops = &done.stops;
    if !stops.operations.is_empty() && !stops.everything {
        let number = count(stops.operations.len(), "operation");
        writeln!(output.out, "with it {} {number}: {}", go(stops.operations.len()), named(&stops.operations))?;
    }
    if !stops.whole_tenant.is_empty() {
        let number = count(stops.whole_tenant.len(), "operation");
        let reach = if stops.whole_tenant.len() == 1 { "reaches" } else { "reach" };
        writeln!(output.out, "among them {number} that {reach} the whole tenant: {}", named(&stops.whole_tenant))?;
    }
    if !stops.in_part.is_empty() && !stops.everything {
        let number = count(stops.in_part.len(), "operation");
        writeln!(output.out, "of {number} what asks for it by an argument: {}", named(&stops.in_part))?;
    }
    for side in &stops.sides {
        writeln!(output.out, "{side}")?;
    }
    if done.act == Kind::Revoke && !stops.anything() && !done.text.is_empty() && !done.apps.is_empty() {
        writeln!(output.out, "{}", output.paint.yellow("no operation needs it: the gate refuses nothing by this"))?;
    }
    Ok(())
}

fn go(number: usize) -> &'static str {
    if number == 1 { "goes" } else { "go" }
}

fn where_it_holds(word: &str, done: &Done, output: &mut Output<'_>) -> io::Result<()> {
    if done.dry_run {
        return writeln!(output.out, "nothing was written");
    }
    let reached = &done.in_force;
    if reached.of > 0 {
        let gates = count(reached.of, "gate");
        let verb = if word == "restore" { "no longer in force" } else { "in force" };
        let mut text = format!("{verb} on {} of {gates} after {} ms", reached.gates, reached.after_ms);
        if reached.streams_cut > 0 {
            let cut = count(usize::try_from(reached.streams_cut).unwrap_or(usize::MAX), "stream");
            text.push_str(&format!("; {cut} cut"));
        }
        let all = reached.gates == reached.of;
        writeln!(output.out, "{}", if all { output.paint.green(&text) } else { output.paint.red(&text) })?;
    }
    for missing in &reached.missing {
        writeln!(output.out, "{} {missing}", output.paint.red("not reached:"))?;
    }
    if word.is_empty() {
        writeln!(output.out, "to take it back: scopegate restore {} --reason …", done.id)?;
    }
    Ok(())
}

/// Acts as YAML to commit, each with its id.
pub fn listed(acts: &[Listed], output: &mut Output<'_>) -> io::Result<()> {
    if acts.is_empty() {
        return writeln!(output.err, "no act stands: nothing was revoked, granted or suspended by command");
    }
    for (number, act) in acts.iter().enumerate() {
        if number > 0 {
            writeln!(output.out, "---")?;
        }
        let standing = match (&act.problem, act.in_force) {
            (Some(why), _) => format!("NOT in force: {why}"),
            (None, true) => "in force".to_owned(),
            (None, false) => "not known to be in force: no gate answers".to_owned(),
        };
        writeln!(output.out, "# {}: {standing}", act.id)?;
        write!(output.out, "{}", act.text)?;
    }
    Ok(())
}
