//! Revocations while gates are killed, started, cut off and left in silence, and a server dies now and then: no gate is
//! ever ready without an act of which a command said that this gate has it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::e2e::admin::ask as ask_admin;

const GATES: usize = 4;
/// Of the acknowledged acts, so many are tried on each gate each time; at the end all of them.
const TRIED: usize = 8;

fn revocations() -> usize {
    std::env::var("SCOPEGATE_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// xorshift64: the same seed is the same soak, as far as the machine is the same.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("SCOPEGATE_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1);
        println!("SCOPEGATE_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("it is small")
    }
}

struct One {
    gate: Gate,
    way: Way,
    name: String,
    running: bool,
}

/// An act, and which gates a command said to have it.
struct Acknowledged {
    project: String,
    id: String,
    on: Vec<bool>,
}

#[derive(Default)]
struct Counts {
    whole: usize,
    partly: usize,
    unknown: usize,
    restored: usize,
    tried: usize,
    unready: usize,
    events: BTreeMap<&'static str, usize>,
}

struct Soak {
    cluster: Cluster,
    gates: Vec<One>,
    acts: Vec<Acknowledged>,
    dead: Option<usize>,
    dice: Dice,
    counts: Counts,
}

#[test]
#[ignore = "needs nats-server: tests/fleet/run"]
fn no_gate_is_ever_ready_without_an_acknowledged_act() {
    let cluster = Cluster::of_three();
    let gates = (0..GATES).map(|number| {
        let (name, way) = (format!("gw-{number}"), Way::to(cluster.port(number % 3)));
        let gate = setup(&way.url(), &name, ", max_override_age: 10s").laid(StubUpstream::ok());
        One { gate, way, name, running: false }
    });
    let gates = gates.collect();
    let mut soak = Soak { cluster, gates, acts: Vec::new(), dead: None, dice: Dice::new(), counts: Counts::default() };
    for one in &mut soak.gates {
        one.gate.run();
        one.running = true;
    }
    soak.gates.iter().for_each(|one| is_ready(&one.gate));
    for number in 0..revocations() {
        soak.event();
        soak.order(number);
        soak.try_some();
    }
    soak.mend();
    soak.try_all();
    let counts = &soak.counts;
    println!(
        "{} revocations: {} acknowledged by all gates, {} by some, {} not known; {} taken back; {} requests tried on \
         ready gates, {} looks at gates that were not ready; events: {:?}",
        revocations(),
        counts.whole,
        counts.partly,
        counts.unknown,
        counts.restored,
        counts.tried,
        counts.unready,
        counts.events
    );
    // Of a few revocations each may meet a gate that is down.
    assert!(counts.whole + counts.partly > 0 && counts.tried > 0, "nothing was shown");
}

impl Soak {
    /// Something goes wrong, or is mended.
    fn event(&mut self) {
        let index = self.dice.below(GATES);
        let what = match self.dice.below(12) {
            0 | 1 if self.gates[index].running => {
                self.gates[index].gate.take().stop();
                self.gates[index].running = false;
                "killed"
            }
            2 => {
                self.gates[index].way.cut();
                "cut"
            }
            3 => {
                self.gates[index].way.silence();
                "silenced"
            }
            4..=6 => {
                self.gates[index].way.mend();
                "mended"
            }
            7 if self.dead.is_none() => {
                let node = self.dice.below(3);
                self.cluster.kill(node);
                self.dead = Some(node);
                "server killed"
            }
            8 | 9 => match self.dead.take() {
                Some(node) => {
                    self.cluster.start(node);
                    "server started"
                }
                None => "nothing",
            },
            _ => "nothing",
        };
        *self.counts.events.entry(what).or_default() += 1;
        for one in &mut self.gates {
            // It lay still for one order.
            if !one.running && what != "killed" {
                one.gate.run();
                one.running = true;
                *self.counts.events.entry("started").or_default() += 1;
            }
        }
    }

    fn order(&mut self, number: usize) {
        let running: Vec<usize> = (0..GATES).filter(|index| self.gates[*index].running).collect();
        let by = running[self.dice.below(running.len())];
        let project = format!("R{number}");
        let order = json!({"act": "revoke", "app": "jira/tracker", "scopes": ["write:jira-work"],
            "in": [format!("project:{project}")], "reason": "soak"});
        let (status, done) = ask_admin(&self.gates[by].gate, "POST /api/v1/acts", &order);
        if status != 200 {
            self.counts.unknown += 1;
            return;
        }
        let reached = &done["in_force"];
        let missing: Vec<&str> =
            reached["missing"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        // A gate that does not count must not be ready: that is what is tried.
        let is_named = |one: &One| missing.iter().any(|text| text.starts_with(&format!("{} ", one.name)));
        let is_blind = missing.iter().any(|text| text.starts_with("this gate"));
        let on: Vec<bool> = self.gates.iter().map(|one| !is_blind && !is_named(one)).collect();
        if missing.is_empty() && reached["gates"] == reached["of"] {
            self.counts.whole += 1
        } else {
            self.counts.partly += 1
        }
        self.acts.push(Acknowledged { project, id: done["id"].as_str().expect("an id").to_owned(), on });
        if self.dice.below(10) == 0 {
            self.restore(by);
        }
    }

    /// One that is taken back may be in force or not from then on.
    fn restore(&mut self, by: usize) {
        let act = self.acts.remove(self.dice.below(self.acts.len()));
        let (status, snapshot) = ask_admin(&self.gates[by].gate, "GET /api/v1/snapshot", &Value::Null);
        assert_eq!(status, 200, "{snapshot}");
        let head = format!("POST /api/v1/acts/{}/restore HTTP/1.1\r\nif-match: \"{}\"", act.id, snapshot["generation"]);
        let (status, _) = ask_admin(&self.gates[by].gate, &head, &json!({"reason": "soak"}));
        self.counts.restored += usize::from(status == 200);
    }

    fn try_some(&mut self) {
        for _ in 0..4 {
            for gate in 0..GATES {
                let newest = self.acts.len().saturating_sub(TRIED / 2)..self.acts.len();
                let mut chosen: Vec<usize> = newest.collect();
                chosen
                    .extend((0..TRIED / 2).filter(|_| !self.acts.is_empty()).map(|_| self.dice.below(self.acts.len())));
                chosen.into_iter().for_each(|act| self.try_one(gate, act));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ready, and then without the act: at the time that it said to be ready it did not have it.
    fn try_one(&mut self, gate: usize, act: usize) {
        let (one, act) = (&self.gates[gate], &self.acts[act]);
        if !one.running || !act.on[gate] {
            return;
        }
        if !one.gate.running().readiness.report().ready {
            self.counts.unready += 1;
            return;
        }
        let answer = one.gate.ask(&ask(&format!("{}-1", act.project)));
        self.counts.tried += 1;
        let is_refused = answer.reason() == Some("container_revoked");
        assert!(is_refused, "{} is ready without {}: {}", one.name, act.project, self.told(gate, act, &answer));
    }

    /// What it takes to find out why.
    fn told(&self, gate: usize, act: &Acknowledged, answer: &crate::support::client::Answer) -> String {
        let one = &self.gates[gate];
        let file = one.gate.path(&format!("state/fleet/acts/{}.yaml", act.id));
        let keys = self.cluster.all_keys();
        let in_bucket = keys.iter().filter(|key| key.contains(&act.id)).count();
        let (_, listed) = ask_admin(&one.gate, "GET /api/v1/acts", &Value::Null);
        format!(
            "answered {answer:?}; the act {} is {} its copy, {in_bucket} times in the bucket of {} keys; the gate says {} \
             and lists {listed}; the dead server: {:?}; events so far: {:?}",
            act.id,
            if file.exists() { "in" } else { "not in" },
            keys.len(),
            standing(&one.gate),
            self.dead,
            self.counts.events,
        )
    }

    fn mend(&mut self) {
        if let Some(node) = self.dead.take() {
            self.cluster.start(node);
        }
        for one in &mut self.gates {
            one.way.mend();
            if !one.running {
                one.gate.run();
                one.running = true;
            }
        }
        self.gates.iter().for_each(|one| is_ready(&one.gate));
        wait("all gates to be in sync", || self.gates.iter().all(|one| standing(&one.gate)["connected"] == true));
    }

    /// In the end every act that any command wrote is on every gate.
    fn try_all(&mut self) {
        for act in 0..self.acts.len() {
            self.acts[act].on.fill(true);
        }
        wait("the last act to be everywhere", || {
            let last = &self.acts[self.acts.len() - 1].project;
            self.gates.iter().all(|one| one.gate.ask(&ask(&format!("{last}-1"))).reason() == Some("container_revoked"))
        });
        (0..GATES).for_each(|gate| (0..self.acts.len()).for_each(|act| self.try_one(gate, act)));
    }
}
