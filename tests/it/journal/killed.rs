//! A gate that is killed at any moment: the journal holds after each, and what was acknowledged is in it and in force.
//! `cargo bench --bench revoke -- killed` kills it a thousand times.

#[path = "../../../benches/revoke/killed.rs"]
mod gate;

/// How often the suite kills it.
const TIMES: u32 = 30;

#[test]
fn a_gate_that_is_killed_loses_nothing_that_it_acknowledged() {
    let told = gate::kill(TIMES);
    assert!(told.journaled >= TIMES as usize && told.acknowledged > 0 && told.edits > 0 && told.lines > 0, "{told:?}");
}
