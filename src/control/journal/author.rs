//! Who made an act over the admin API, told before the act is written: what the act's own text says of it can be written by
//! anybody who writes files.

use std::collections::VecDeque;

use crate::acts::ActId;

/// Acts that were told of and are not in force yet. One that is refused never is, and is forgotten after so many others.
const AWAITED_MAX: usize = 1_000;

/// Somebody whom the admin API knows, and what they said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// As it was proved.
    pub principal: String,
    /// As they said.
    pub by: Option<String>,
    pub reason: String,
}

/// Acts by whom, until they are in force.
#[derive(Debug, Default)]
pub(super) struct Authors(VecDeque<Awaited>);

#[derive(Debug)]
struct Awaited {
    act: ActId,
    /// SHA-256 of the text; `None`: it is taken back.
    digest: Option<[u8; 32]>,
    author: Author,
}

impl Authors {
    pub(super) fn add(&mut self, act: ActId, digest: Option<[u8; 32]>, author: Author) {
        if self.0.len() == AWAITED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Awaited { act, digest, author });
    }

    /// Who made this of the act. Told once.
    pub(super) fn take(&mut self, act: &ActId, digest: Option<&[u8; 32]>) -> Option<Author> {
        let found = self.0.iter().rposition(|one| one.act == *act && one.digest.as_ref() == digest)?;
        self.0.remove(found).map(|one| one.author)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_is_of_one_text_of_one_act_and_is_told_once() {
        let (act, other) = (ActId::parse("a").unwrap(), ActId::parse("b").unwrap());
        let author = Author { principal: "uid:1".into(), by: None, reason: "x".into() };
        let mut authors = Authors::default();
        authors.add(act.clone(), Some([1; 32]), author.clone());
        assert_eq!(authors.take(&other, Some(&[1; 32])), None);
        assert_eq!(authors.take(&act, Some(&[2; 32])), None);
        assert_eq!(authors.take(&act, None), None);
        assert_eq!(authors.take(&act, Some(&[1; 32])), Some(author.clone()));
        assert_eq!(authors.take(&act, Some(&[1; 32])), None);
        for _ in 0..2 * AWAITED_MAX {
            authors.add(act.clone(), None, author.clone());
        }
        assert_eq!(authors.0.len(), AWAITED_MAX);
    }
}
