//! Two admins at once: neither lays what gives over what the other has just done, and nothing of either is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use scopegate::control::journal::history::History;

use super::*;

#[test]
fn what_gives_needs_the_generation_that_was_looked_at_and_what_takes_does_not() {
    let gate = on_tcp().start();
    let post = |path: &str, body: &Value| Ask::post(path).json(&body.to_string());
    let stale = |ask: Ask| ask.with("if-match", "\"4711\"");
    let code = |ask: &Ask| {
        let (status, answer) = tell(&gate, ADMIN, ask);
        (status, answer["code"].clone())
    };
    let needed = || (428, json!("if_match_needed"));
    let changed = || (412, json!("changed"));
    assert_eq!(code(&post("/api/v1/acts", &grant())), needed());
    assert_eq!(code(&stale(post("/api/v1/acts", &grant()))), changed());
    assert_eq!(code(&stale(post("/api/v1/acts?dry_run=true", &grant()))), changed());
    assert_eq!(code(&stale(post("/api/v1/acts", &revoke()))), changed(), "where it is said it counts for all");
    let window = json!({"act": "install-window", "app": "jira/tracker", "for": "1h", "reason": "x"});
    assert_eq!(code(&post("/api/v1/acts", &window)), needed());
    assert_eq!(acts(&gate), 0);
    let (status, done) = tell(&gate, ADMIN, &post("/api/v1/acts", &revoke()));
    assert_eq!(status, 200, "{done}");
    let restore = format!("/api/v1/acts/{}/restore", done["id"].as_str().expect("an id"));
    let why = json!({"reason": "over"});
    assert_eq!(code(&post(&restore, &why)), needed());
    assert_eq!(code(&stale(post(&restore, &why))), changed());
    for tag in ["*", "17", "W/\"1\"", "\"1\", \"2\"", ""] {
        assert_eq!(code(&post(&restore, &why).with("if-match", tag)), (400, json!("question")), "{tag}");
    }
    assert_eq!(acts(&gate), 1);
}

#[test]
fn every_write_says_why() {
    let gate = on_tcp().start();
    let mut shadow = revoke();
    shadow["shadow"] = json!(true);
    let (_, done) = tell(&gate, ADMIN, &order(&gate, &shadow));
    let id = done["id"].as_str().expect("an id");
    let before = (generation(&gate), acts(&gate));
    for reason in [Value::Null, json!(""), json!("  \n"), json!("x".repeat(501)), json!(7)] {
        for act in [revoke(), grant()] {
            let mut act = act;
            act["reason"] = reason.clone();
            assert_eq!(tell(&gate, ADMIN, &order(&gate, &act)).0, 422, "{act}");
        }
        for what in ["restore", "promote"] {
            let tag = format!("\"{}\"", generation(&gate));
            let ask = Ask::post(&format!("/api/v1/acts/{id}/{what}")).with("if-match", &tag);
            let status = tell(&gate, ADMIN, &ask.json(&json!({"reason": reason}).to_string())).0;
            assert!(matches!(status, 400 | 422), "{what} {reason}: {status}");
        }
    }
    let none = Ask::post(&format!("/api/v1/acts/{id}/promote")).json("{}");
    assert_eq!(tell(&gate, ADMIN, &none).0, 422);
    assert_eq!((generation(&gate), acts(&gate)), before);
}

/// What one thread of an admin saw and did.
#[derive(Default)]
struct Tally {
    done: AtomicUsize,
    changed: AtomicUsize,
    gone: AtomicUsize,
    /// Every generation that a write which needs it was laid upon.
    matched: Mutex<Vec<u64>>,
    made: Mutex<BTreeMap<String, &'static str>>,
    restored: Mutex<BTreeSet<String>>,
}

const THREADS: usize = 6;
const TURNS: usize = 12;

/// Half of the threads are dana's, half are lee's. Each looks, and then writes by what it saw, which may be old by then.
fn hammer(gate: &Gate, number: usize, tally: &Tally) {
    let (token, name) =
        if number.is_multiple_of(2) { (ADMIN, "token:dana") } else { ("0123456789abcdef-lee", "token:lee") };
    for turn in 0..TURNS {
        let looked = raw(gate, &Ask::get("/api/v1/acts").bearer(token));
        let tag = looked.field("etag").expect("a tag").to_owned();
        let standing = looked.json();
        let first = standing.as_array().and_then(|acts| acts.first()).and_then(|act| act["id"].as_str());
        let ask = match ((number + turn) % 3, first) {
            (0, _) | (2.., None) => Ask::post("/api/v1/acts").with("if-match", &tag).json(&grant().to_string()),
            (1, _) => Ask::post("/api/v1/acts").json(&revoke().to_string()),
            (2.., Some(id)) => {
                let path = format!("/api/v1/acts/{id}/restore");
                Ask::post(&path).with("if-match", &tag).json(r#"{"reason": "over"}"#)
            }
        };
        let (status, answer) = tell(gate, token, &ask);
        let text = ask.text();
        match status {
            200 => {
                tally.done.fetch_add(1, Ordering::Relaxed);
                if text.contains("if-match") {
                    let seen = tag.trim_matches('"').parse().expect("a generation");
                    tally.matched.lock().expect("whole").push(seen);
                }
                let id = answer["id"].as_str().expect("an id").to_owned();
                if text.contains("/restore") {
                    assert!(tally.restored.lock().expect("whole").insert(id), "taken back twice");
                } else {
                    tally.made.lock().expect("whole").insert(id, name);
                }
            }
            412 => {
                tally.changed.fetch_add(1, Ordering::Relaxed);
            }
            404 => {
                tally.gone.fetch_add(1, Ordering::Relaxed);
            }
            other => panic!("{other}: {answer}"),
        }
    }
}

#[test]
fn of_two_admins_with_many_hands_nothing_is_lost_or_laid_over_unseen() {
    let tokens = format!("{TOKENS}lee admin 0123456789abcdef-lee\n");
    let gate = on_tcp().file("tokens", &tokens).start();
    let tally = Tally::default();
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let (gate, tally) = (&gate, &tally);
            scope.spawn(move || hammer(gate, number, tally));
        }
    });
    let (done, changed) = (tally.done.into_inner(), tally.changed.into_inner());
    assert_eq!(done + changed + tally.gone.into_inner(), THREADS * TURNS);
    assert!(done >= THREADS * TURNS / 3, "every revocation went through, and some of the rest: {done}");
    // No two writes that needed it were laid upon the same generation: one of them had not seen the other.
    let mut matched = tally.matched.into_inner().expect("whole");
    matched.sort_unstable();
    assert!(matched.windows(2).all(|pair| pair[0] < pair[1]), "{matched:?}");
    let (made, restored) = (tally.made.into_inner().expect("whole"), tally.restored.into_inner().expect("whole"));
    let expected: BTreeSet<String> = made.keys().filter(|id| !restored.contains(*id)).cloned().collect();
    let (_, listed) = tell(&gate, VIEWER, &Ask::get("/api/v1/acts"));
    let listed = listed.as_array().expect("a list");
    assert!(listed.iter().all(|act| act["in_force"] == true));
    let standing: BTreeSet<String> = listed.iter().filter_map(|act| Some(act["id"].as_str()?.to_owned())).collect();
    assert_eq!(standing, expected, "what was answered 200 stands, and nothing else");
    agrees(&gate, &made, &restored);
}

/// The journal tells of every act once when it came and once when it went, by whom, and of what stands now.
fn agrees(gate: &Gate, made: &BTreeMap<String, &str>, restored: &BTreeSet<String>) {
    let history = History::open(&gate.path("state")).expect("a journal");
    history.verify().expect("it holds");
    let (mut came, mut went) = (BTreeMap::new(), BTreeSet::new());
    for (entry, _) in history.entries(0).expect("entries") {
        for file in &entry.files {
            let Some(id) = file.path.strip_suffix(".yaml").filter(|id| made.contains_key(*id)) else { continue };
            assert_eq!(entry.source.as_str(), "api", "{entry:?}");
            match (&file.before, &file.after) {
                (None, Some(_)) => drop(came.insert(id.to_owned(), entry.principals.clone())),
                (Some(_), None) => assert!(went.insert(id.to_owned())),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(&went, restored);
    let expected: BTreeMap<String, Vec<String>> =
        made.iter().map(|(id, name)| (id.clone(), vec![(*name).to_owned()])).collect();
    assert_eq!(came, expected);
}
