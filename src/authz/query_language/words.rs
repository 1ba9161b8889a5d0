//! The words of a query. What a reader with other rules could split otherwise is no word, and the query open.

/// A word, a sign, or the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word<'q> {
    Bare(&'q str),
    /// What stands between the quotes; `None` where an escape stands in it.
    Quoted(Option<&'q str>),
    Open,
    Close,
    Comma,
    Sign(Sign),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Equal,
    /// `!=`, `~`, `!~`, `<`, `<=`, `>`, `>=`
    Other,
}

/// What is left of a query.
#[derive(Debug, Clone, Copy)]
pub struct Words<'q>(&'q str);

impl<'q> Words<'q> {
    pub fn of(query: &'q str) -> Self {
        Self(query)
    }

    /// The next word; the end again and again. `None`: not sure.
    pub fn take(&mut self) -> Option<Word<'q>> {
        self.skip_space();
        let mut characters = self.0.chars();
        let Some(first) = characters.next() else { return Some(Word::End) };
        let (word, rest) = match first {
            '(' => (Word::Open, characters.as_str()),
            ')' => (Word::Close, characters.as_str()),
            ',' => (Word::Comma, characters.as_str()),
            '"' | '\'' => quoted(first, characters.as_str())?,
            '=' | '!' | '~' | '<' | '>' => sign(self.0)?,
            _ => bare(self.0)?,
        };
        self.0 = rest;
        Some(word)
    }

    /// Whether a parenthesis opens next.
    pub fn opens(&self) -> bool {
        self.0.trim_start_matches(is_space).starts_with('(')
    }

    /// Whether nothing follows.
    pub fn ends(&self) -> bool {
        self.0.trim_start_matches(is_space).is_empty()
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_start_matches(is_space);
    }
}

/// Other white space may be a part of a word to the product.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\r' | '\n')
}

/// The longest sign at the start.
fn sign(text: &str) -> Option<(Word<'_>, &str)> {
    const SIGNS: [(&str, Sign); 8] = [
        ("!=", Sign::Other),
        ("!~", Sign::Other),
        ("<=", Sign::Other),
        (">=", Sign::Other),
        ("=", Sign::Equal),
        ("~", Sign::Other),
        ("<", Sign::Other),
        (">", Sign::Other),
    ];
    // A `!` alone is another spelling of NOT.
    let (sign, rest) = SIGNS.iter().find_map(|(sign, meaning)| Some((meaning, text.strip_prefix(sign)?)))?;
    // `==` and `=>` are no signs of the language.
    (!rest.starts_with(['=', '!', '~', '<', '>'])).then_some((Word::Sign(*sign), rest))
}

/// What stands up to the same quote. Of escapes only those of a quote and of the backslash are known for sure.
fn quoted(quote: char, text: &str) -> Option<(Word<'_>, &str)> {
    let mut escaped = false;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => {
                escaped = true;
                let (_, next) = characters.next()?;
                if !matches!(next, '\\' | '"' | '\'') {
                    return None;
                }
            }
            _ if character == quote => {
                let within = text.get(..at).filter(|_| !escaped);
                return Some((Word::Quoted(within), text.get(at + 1..)?));
            }
            _ if is_forbidden(character) => return None,
            _ => {}
        }
    }
    None
}

/// Control characters and those that are none, which end the product's reading.
fn is_forbidden(character: char) -> bool {
    let is_line = matches!(character, '\r' | '\n');
    character.is_control() && !is_line || matches!(character, '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}')
}

/// Letters, digits, `_`, `-`, `.`, `:`, and the number of a custom field: `cf[10001]`.
fn bare(text: &str) -> Option<(Word<'_>, &str)> {
    let of_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    let mut end = text.bytes().take_while(of_word).count();
    let word = text.get(..end)?;
    let rest = text.get(end..)?;
    if word.eq_ignore_ascii_case("cf")
        && let Some(number) = rest.strip_prefix('[')
    {
        let digits = number.bytes().take_while(u8::is_ascii_digit).count();
        number.get(digits..)?.strip_prefix(']').filter(|_| digits > 0)?;
        end += digits + 2;
    }
    let (word, rest) = (text.get(..end)?, text.get(end..)?);
    // What begins right behind a word would belong to it for some reader, and `--` begins a comment for others.
    let parted = rest.is_empty() || rest.starts_with([' ', '\r', '\n', '(', ')', ',', '=', '!', '~', '<', '>']);
    (!word.is_empty() && !word.contains("--") && parted).then_some((Word::Bare(word), rest))
}
