//! What lies in the bucket: keys, and values that anybody may have written who can write to it.
//!
//! `acts.ID` holds an act, as a file of the overrides folder holds it. `gates.INSTANCE` holds what a gate says of
//! itself. `fleet.identity` tells one bucket from another of the same name.

use std::sync::Arc;

use bytes::Bytes;

use crate::acts::{Act, ActId};

/// An act of the longest list of operations is not a tenth of this.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;
/// Where a bucket says which one it is.
pub const IDENTITY: &str = "fleet.identity";
/// What whoever only reads writes, to learn when it has read all that was there before.
pub const BARRIER: &str = "fleet.barrier";
const ACTS: &str = "acts.";
const GATES: &str = "gates.";
/// What is shown of a key that nobody of us wrote.
const SHOWN_MAX: usize = 80;

/// Which key it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Act(ActId),
    /// Below `acts.`, and no id of an act. Already fit to be shown.
    NoAct(String),
    Gate(Instance),
    Identity,
    /// Somebody else's.
    Foreign,
}

/// The name of one gate's state folder: random, so that two gates never speak for one another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(Arc<str>);

/// Hexadecimal digits of an instance.
const INSTANCE_LEN: usize = 16;

impl Instance {
    /// A new one. `None`: the machine has no randomness.
    pub fn random() -> Option<Self> {
        let mut bytes = [0; INSTANCE_LEN / 2];
        getrandom::fill(&mut bytes).ok()?;
        Some(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()))
    }

    pub fn parse(text: &str) -> Option<Self> {
        let sound = text.len() == INSTANCE_LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        sound.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Put,
    /// A marker says that it was taken back. That a key is not there says nothing.
    Delete,
}

/// One message of the bucket's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the one order in which everything was written.
    pub seq: u64,
    /// When the cluster took it, by the cluster's clock. Unix time in milliseconds.
    pub stamp_ms: i64,
    pub key: Key,
    pub op: Op,
    pub value: Bytes,
}

impl Key {
    /// Of a key as NATS has it, without the bucket's prefix.
    pub fn of(text: &str) -> Self {
        if text == IDENTITY {
            return Self::Identity;
        }
        if let Some(id) = text.strip_prefix(ACTS) {
            // A dot parts the tokens of a subject: an id with one in it could not be watched like the others.
            let id = ActId::parse(id).filter(|id| !id.as_str().contains('.'));
            return id.map_or_else(|| Self::NoAct(shown(text)), Self::Act);
        }
        let instance = text.strip_prefix(GATES).and_then(Instance::parse);
        instance.map_or(Self::Foreign, Self::Gate)
    }
}

pub fn act_key(id: &ActId) -> String {
    format!("{ACTS}{id}")
}

pub fn gate_key(instance: &Instance) -> String {
    format!("{GATES}{}", instance.as_str())
}

/// The act that a value holds, as far as its bytes go. Whether it means anything is for the loader to say.
///
/// # Errors
/// Why it is none, in words.
pub fn act_of(id: &ActId, value: &Bytes) -> Result<Act, String> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("it has {} bytes, more than {VALUE_BYTES_MAX}", value.len()));
    }
    let text = std::str::from_utf8(value).map_err(|_| "it is no UTF-8 text".to_owned())?;
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(Act { id: id.clone(), text: text.into() })
}

/// Foreign text, short and on one line: it goes to logs and terminals.
pub fn shown(text: &str) -> String {
    let plain = text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character });
    plain.take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acts::Kind;

    #[test]
    fn a_key_is_what_we_write_or_is_not_ours() {
        let id = ActId::new(Kind::Revoke, 1_795_165_200_000, 7);
        assert_eq!(Key::of(&act_key(&id)), Key::Act(id));
        let instance = Instance::random().expect("randomness");
        assert_eq!(Key::of(&gate_key(&instance)), Key::Gate(instance));
        assert_eq!(Key::of(IDENTITY), Key::Identity);
        for foreign in ["x", "act.x", "gates.gw-7", "gates.0123456789abcdeg", "fleet.identity.x", ""] {
            assert_eq!(Key::of(foreign), Key::Foreign, "{foreign}");
        }
        for bad in ["acts.", "acts.a.b", "acts..x", "acts.a/b", "acts.a=b", &format!("acts.{}", "a".repeat(65))] {
            assert!(matches!(Key::of(bad), Key::NoAct(_)), "{bad}");
        }
        assert_eq!(Key::of("acts.\u{1b}[2J"), Key::NoAct("acts.\u{fffd}[2J".to_owned()));
    }

    #[test]
    fn a_value_is_a_bounded_text() {
        let id = ActId::new(Kind::Grant, 1_795_165_200_000, 7);
        assert!(act_of(&id, &Bytes::from_static(b"version: 1\n")).is_ok());
        for bad in [
            Bytes::new(),
            Bytes::from_static(b" \n"),
            Bytes::from_static(b"\xff\xfe"),
            vec![b'x'; VALUE_BYTES_MAX + 1].into(),
        ] {
            assert!(act_of(&id, &bad).is_err(), "{} bytes", bad.len());
        }
    }
}
