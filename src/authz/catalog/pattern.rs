//! What ids and names look like: a regular expression over whole texts.
//!
//! Nearly all have one shape, a few single characters and then a run of one class (`[A-Z][A-Z0-9_]+`). Such a one is
//! matched byte by byte, in a third of the time; the expression stays the only thing that says what matches.

use regex::Regex;
use regex_syntax::hir::{Class, Hir, HirKind};

/// A pattern that matches whole texts.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    shape: Option<Shape>,
}

impl Pattern {
    /// It is compiled alone first: wrapped at once, `a)|(?:b` would match `bc`.
    ///
    /// # Errors
    /// It is no regular expression, or too large a one.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        Regex::new(pattern)?;
        let regex = Regex::new(&format!(r"\A(?:{pattern})\z"))?;
        let shape = regex_syntax::parse(pattern).ok().and_then(|hir| Shape::of(&hir));
        Ok(Self { regex, shape })
    }

    /// The expression, as it is asked of whole texts.
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether the whole text matches.
    #[inline]
    pub fn is_match(&self, text: &str) -> bool {
        match &self.shape {
            Some(shape) => shape.is_match(text.as_bytes()),
            None => self.regex.is_match(text),
        }
    }
}

/// ASCII characters, by their number: a look-up is faster than bits and shifts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ascii(Box<[bool; 256]>);

impl Ascii {
    fn none() -> Self {
        Self(Box::new([false; 256]))
    }

    fn with(mut self, byte: u8) -> Self {
        self.0.get_mut(usize::from(byte)).into_iter().for_each(|holds| *holds = true);
        self
    }

    #[inline]
    fn contains(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).is_some_and(|holds| *holds)
    }

    /// `None` where a character beyond ASCII is in it.
    fn of(class: &Class) -> Option<Self> {
        let Class::Unicode(class) = class else { return None };
        let mut characters = Self::none();
        for range in class.ranges() {
            let (start, end) = (u8::try_from(range.start()).ok()?, u8::try_from(range.end()).ok()?);
            if end >= 128 {
                return None;
            }
            characters = (start..=end).fold(characters, Self::with);
        }
        Some(characters)
    }
}

/// The most single characters of a shape: each is a table, and no id begins with more.
const SINGLES_MAX: usize = 16;

/// Single characters, then a run of one class.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    singles: Box<[Ascii]>,
    run: Ascii,
    least: usize,
    most: usize,
}

impl Shape {
    /// `None` where the expression has another one.
    fn of(hir: &Hir) -> Option<Self> {
        let items = match hir.kind() {
            HirKind::Concat(items) => items.as_slice(),
            _ => std::slice::from_ref(hir),
        };
        let (last, before) = items.split_last()?;
        let mut singles = Vec::new();
        for item in before {
            match item.kind() {
                HirKind::Class(class) => singles.push(Ascii::of(class)?),
                HirKind::Literal(literal) if literal.0.is_ascii() => {
                    singles.extend(literal.0.iter().map(|byte| Ascii::none().with(*byte)));
                }
                _ => return None,
            }
        }
        if singles.len() > SINGLES_MAX {
            return None;
        }
        let HirKind::Repetition(repetition) = last.kind() else { return None };
        let HirKind::Class(class) = repetition.sub.kind() else { return None };
        Some(Self {
            singles: singles.into(),
            run: Ascii::of(class)?,
            least: usize::try_from(repetition.min).ok()?,
            most: repetition.max.map_or(Some(usize::MAX), |most| usize::try_from(most).ok())?,
        })
    }

    #[inline]
    fn is_match(&self, text: &[u8]) -> bool {
        let Some((start, run)) = text.split_at_checked(self.singles.len()) else { return false };
        (self.least..=self.most).contains(&run.len())
            && self.singles.iter().zip(start).all(|(single, byte)| single.contains(*byte))
            && run.iter().all(|byte| self.run.contains(*byte))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHAPED: [&str; 7] = [
        "[1-9][0-9]{0,18}",
        "[A-Za-z][A-Za-z0-9_]+",
        "[CDG][A-Z0-9]{2,}",
        "[0-9]+",
        "C0[A-Z]*",
        "[a-c]{2,4}",
        "x[\\n ]?",
    ];
    /// A class that folds case or is turned round holds more than ASCII.
    const OTHERS: [&str; 9] = [
        "(?i)p[a-z]+",
        "[^a]+?",
        "a|b+",
        "#?[a-z0-9_[^\\x00-\\x7F]-]+",
        "[a-z]+[0-9]",
        "(a)b+",
        "ä[a-z]+",
        "PROJ",
        "^[a-z]+$",
    ];

    #[test]
    fn most_patterns_have_the_shape() {
        for pattern in SHAPED {
            assert!(Pattern::new(pattern).unwrap().shape.is_some(), "{pattern}");
        }
        for pattern in OTHERS {
            assert!(Pattern::new(pattern).unwrap().shape.is_none(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_cannot_break_out_of_its_whole_text() {
        assert!(Pattern::new("a)|(?:b").is_err());
        assert!(!Pattern::new("a|b").unwrap().is_match("ab"));
    }

    proptest! {
        #[test]
        fn the_short_cut_matches_what_the_expression_matches(text in "[a-cxC0-9GPp_Zäſ\\n -]{0,6}|[A-Z0-9]{1,22}") {
            for pattern in SHAPED.iter().chain(&OTHERS) {
                let pattern = Pattern::new(pattern).unwrap();
                prop_assert_eq!(pattern.is_match(&text), pattern.regex.is_match(&text), "{:?} {:?}", pattern, text);
            }
        }
    }
}
