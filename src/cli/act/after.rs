//! What an admin wants to know besides: what the app used lately of what goes, and what works on in spite of it (law 8).

use crate::acts::Kind;
use crate::acts::done::Done;
use crate::authz::policy::compile::Catalogs;
use crate::cli::usage::left;
use crate::cli::words::time_text;
use crate::config::Config;
use crate::control::usage::reading::Reader;

/// Of so many apps at the most: an act over all of them is not a list of what each did.
const APPS_MAX: usize = 10;
/// Lines of either sort; the rest is counted.
const LINES_MAX: usize = 10;

/// Fills in both, as far as a state folder knows. What cannot be read is a note: the act stands all the same.
pub fn fill(done: &mut Done, word: &str, config: &Config) {
    let takes = word.is_empty() && done.act.only_takes() || word == "promote" && done.act == Kind::Revoke;
    let Some(state) = config.state.as_deref().filter(|_| takes) else { return };
    let mut catalogs = None;
    for app in done.apps.clone().iter().take(APPS_MAX) {
        if let Err(why) = used(done, app, state) {
            done.notes.push(format!("what {app} used lately is not known: {why}"));
        }
        let catalogs =
            catalogs.get_or_insert_with(|| Catalogs::new(crate::app::catalogs(Some(config)).unwrap_or_default()));
        match left(state, Some(app), catalogs) {
            Ok((made, older)) => {
                done.outlasting.extend(made.iter().map(|one| format!("{app}: {}", one.words())));
                let counted = older.iter().map(|one| format!("{app}: {} older ones of {}", one.number, one.operation));
                done.outlasting.extend(counted);
            }
            Err(why) => done.notes.push(format!("what {app} made before is not known: {why}")),
        }
    }
    cut(&mut done.used);
    cut(&mut done.outlasting);
}

fn used(done: &mut Done, app: &str, state: &std::path::Path) -> Result<(), String> {
    // Nothing was ever counted: that is nothing to complain of.
    let Ok(reader) = Reader::open(state) else { return Ok(()) };
    let ids: Vec<&str> = done.stops.operations.iter().map(|id| &**id).collect();
    let only = (!done.stops.everything).then_some(&ids[..]);
    let now_ms = crate::clock::unix_ms();
    let used = reader.recent(app, only, now_ms).map_err(|error| error.to_string())?;
    let permitted = used.iter().filter(|one| one.permits > 0);
    done.used.extend(permitted.map(|one| {
        let last = one.last_permit_ms.map_or_else(String::new, |at| format!(", last {}", time_text(at)));
        format!("{app}: {} {} times{last}", one.operation, one.permits)
    }));
    Ok(())
}

fn cut(lines: &mut Vec<String>) {
    let more = lines.len().saturating_sub(LINES_MAX);
    if more > 0 {
        lines.truncate(LINES_MAX);
        lines.push(format!("and {more} more: `scopegate usage` lists them"));
    }
}
