//! Paths as keys of a ConfigMap, and back: `jira/timetracker.yaml` is `jira__timetracker.yaml`.
//!
//! A key holds `[-._a-zA-Z0-9]` and nothing else, and a volume makes one flat file of each. Every path has one key and
//! no two paths share one, so that the file named in a log line can be found again.

/// The longest key (the API server's limit, which is also the longest name of a file but two).
pub const KEY_BYTES_MAX: usize = 253;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// `/` becomes `__`, a byte that a key cannot hold `_` and two hexadecimal digits in upper case. A `_` stays as it is
/// unless what follows would make it read as one of these.
pub fn key(path: &str) -> String {
    // From the end, for whether a `_` may stay hangs on what follows it. Bytes are pushed in reverse.
    let mut reversed: Vec<u8> = Vec::with_capacity(path.len() + 8);
    let escape = |byte: u8, reversed: &mut Vec<u8>| {
        let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
        reversed.extend([digit(byte & 0xf), digit(byte >> 4), b'_']);
    };
    for byte in path.bytes().rev() {
        match byte {
            b'/' => reversed.extend(*b"__"),
            b'_' if reads_as_more(&reversed) => escape(byte, &mut reversed),
            b'_' | b'-' | b'.' => reversed.push(byte),
            byte if byte.is_ascii_alphanumeric() => reversed.push(byte),
            byte => escape(byte, &mut reversed),
        }
    }
    reversed.reverse();
    // Only ASCII was pushed.
    String::from_utf8(reversed).unwrap_or_default()
}

/// Whether a `_` before these bytes (in reverse) would be taken for the start of an escape.
fn reads_as_more(reversed: &[u8]) -> bool {
    match *reversed {
        [.., b'_'] => true,
        [.., second, first] => is_hex(first) && is_hex(second),
        _ => false,
    }
}

fn is_hex(byte: u8) -> bool {
    HEX.contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The path that a key stands for.
    fn path(key: &str) -> String {
        let (mut bytes, mut rest) = (Vec::new(), key.as_bytes());
        while let [first, more @ ..] = rest {
            rest = more;
            match (*first, more) {
                (b'_', [b'_', after @ ..]) => {
                    bytes.push(b'/');
                    rest = after;
                }
                (b'_', [high, low, after @ ..]) if is_hex(*high) && is_hex(*low) => {
                    let digit = |byte: u8| u8::try_from(HEX.iter().position(|hex| *hex == byte).unwrap()).unwrap();
                    bytes.push(digit(*high) << 4 | digit(*low));
                    rest = after;
                }
                (byte, _) => bytes.push(byte),
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn names_of_the_usual_shape_stay_readable() {
        for (path, expected) in [
            ("guardrails.yaml", "guardrails.yaml"),
            ("jira/timetracker.yaml", "jira__timetracker.yaml"),
            ("a/b/no_admin.yml", "a__b__no_admin.yml"),
            ("über uns.yaml", "_C3_BCber_20uns.yaml"),
            ("a__b.yaml", "a_5F_b.yaml"),
            ("a_/b.yaml", "a_5F__b.yaml"),
            ("a/_b.yaml", "a___b.yaml"),
            ("a_5F.yaml", "a_5F5F.yaml"),
            ("a_", "a_"),
        ] {
            assert_eq!(key(path), expected);
            assert_eq!(super::tests::path(expected), path);
        }
    }

    proptest! {
        #[test]
        fn every_path_comes_back_from_its_key(path in "([a-zA-Z0-9_./ é-]|_5F|__){0,40}") {
            let key = key(&path);
            prop_assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)), "{key}");
            prop_assert_eq!(self::path(&key), path);
        }
    }
}
