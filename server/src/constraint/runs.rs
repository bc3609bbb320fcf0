//! Runs: texts of characters of one kind, such as most tokens are.
//!
//! Where a grammar allows any characters of a kind, up to some number, it allows all tokens that are runs of them, and
//! these need not be looked at one by one. Used by `token_tree`, `reach` and `mask_finder`.

/// Number of kinds.
pub const KINDS: usize = 3;
/// The longest run that counts as one, in characters.
pub const LONGEST: u8 = 254;

/// A kind of characters.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Whether it has an ASCII character.
    pub holds: fn(u8) -> bool,
    /// Whether it has all characters beyond ASCII, or none.
    pub is_beyond_ascii: bool,
}

/// Each kind has all characters of those before it. The last are those that stand for themselves in JSON's strings.
pub const ALL: [Kind; KINDS] = [
    Kind { holds: |byte| byte.is_ascii_lowercase(), is_beyond_ascii: false },
    Kind { holds: |byte| byte.is_ascii_alphanumeric(), is_beyond_ascii: false },
    Kind { holds: |byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\', is_beyond_ascii: true },
];

impl Kind {
    fn has(self, character: char) -> bool {
        u8::try_from(character).ok().filter(u8::is_ascii).map_or(self.is_beyond_ascii, self.holds)
    }
}

/// A run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first kind that has all of its characters.
    pub kind: usize,
    /// Number of its characters, at most [`LONGEST`].
    pub length: u8,
}

impl Run {
    /// The run that a token writes, if it is one.
    pub fn of(token: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(token).ok()?;
        let length = u8::try_from(text.chars().count()).ok().filter(|length| (1..=LONGEST).contains(length))?;
        let kind = ALL.iter().position(|kind| text.chars().all(|character| kind.has(character)))?;
        Some(Self { kind, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_characters_of_a_kind_is_a_run_of_the_first_that_has_them() {
        for (token, run) in [
            (&b"word"[..], Some(Run { kind: 0, length: 4 })),
            (b"Word7", Some(Run { kind: 1, length: 5 })),
            (b" word", Some(Run { kind: 2, length: 5 })),
            ("Wörter, \u{7f4}".as_bytes(), Some(Run { kind: 2, length: 9 })),
            (b"say \"", None),
            (b"a\\", None),
            (b"a\n", None),
            (b"\x7f", None),
            (b"", None),
            (&"ö".as_bytes()[..1], None),
            (&[b'a'; 255], None),
        ] {
            assert_eq!(Run::of(token), run, "{token:?}");
        }
    }
}
