//! From shadow to enforced: the same act without its `mode: shadow`, so that it takes what it only recorded before.

use super::draft::{Refused, RefusedCode};
use super::{Act, Kind};

/// As `draft` writes it; commands write nothing else.
const SHADOW: &str = ", mode: shadow";

/// The act as it would be enforced.
///
/// # Errors
/// It is enforced already, or is no revocation that a command wrote.
pub fn promoted(act: &Act) -> Result<Act, Box<Refused>> {
    let mut parts = act.text.split(SHADOW);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(before), Some(after), None) => Ok(Act { id: act.id.clone(), text: format!("{before}{after}").into() }),
        (_, None, _) => {
            let message = format!("{} is not in shadow mode", act.id);
            Err(Box::new(Refused::new(RefusedCode::Order, message, "`scopegate overrides` shows what it says")))
        }
        _ => {
            let message = format!("{} says `mode: shadow` more than once", act.id);
            Err(Box::new(Refused::new(RefusedCode::Unsound, message, "restore it, and revoke anew without --shadow")))
        }
    }
}

/// What sort of act an id is of. Commands name the sort in it.
pub fn kind_of(act: &Act) -> Option<Kind> {
    act.id.kind()
}
