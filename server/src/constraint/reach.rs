//! How far runs of a kind go from a place in a grammar, found by its lexer's states alone.
//!
//! After any character of a kind a string of bounded length is in the same state: a few hundred bytes of each state on
//! the way tell what a grammar says of a hundred thousand tokens. Used by `mask_finder`.

use llguidance::HashMap;
use llguidance::derivre::StateID;
use llguidance::earley::ParserRecognizer;
use llguidance::toktrie::Recognizer;

use super::runs::{self, KINDS, Kind, LONGEST};

/// Most characters of the runs that are searched for, unless there is no end of them: few tokens are longer.
pub const LEVELS: u8 = 16;
/// States of which the characters are tried, at most; others are left to the walk over all tokens.
const STATES: usize = 64;

/// Runs of which is known whether they are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The kind. All runs of it, and of those before it, are allowed up to the length.
    pub kind: usize,
    /// Number of characters.
    pub length: u8,
    /// Whether all other runs, of whatever kind, are refused.
    pub is_most: bool,
}

impl Reach {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { kind: 0, length: 0, is_most: false };

    /// Length of the longest runs of a kind that are known to be allowed; 0 if there are none.
    pub const fn length_of(self, kind: usize) -> u8 {
        if kind <= self.kind { self.length } else { 0 }
    }

    /// The reach of the largest kind from which a parser takes any character.
    pub fn of(parser: &mut ParserRecognizer<'_>) -> Self {
        parser.trie_started("reach");
        let found = (0..KINDS)
            .rev()
            .map(|kind| Search::new(parser, kind).run())
            .find(|reach| reach.length > 0 || reach.is_most);
        parser.trie_finished();
        found.unwrap_or(Self::UNKNOWN)
    }
}

/// A search by the number of characters, through the states between them.
struct Search<'a, 'b> {
    parser: &'a mut ParserRecognizer<'b>,
    kind: usize,
    states: Vec<State>,
    index: HashMap<StateID, usize>,
}

/// A state of the lexer between two characters.
struct State {
    /// Bytes that lead to it.
    path: Vec<u8>,
    /// States after one character, if each of the kind is taken.
    next: Option<Vec<usize>>,
}

/// Outcome of the characters of a kind after a state.
enum Following {
    /// Each character of the kind is taken, and leads to one of these states.
    All(Vec<usize>),
    /// None is taken.
    None,
    /// Some are, or that is not known.
    Unknown,
}

/// Bytes that continue a character.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Rest {
    low: u8,
    high: u8,
    /// Number of bytes after the next one.
    more: u8,
}

/// Outcomes of the characters after a state.
struct Found {
    /// Bytes that lead to the state, and those of a character that is gone on with.
    path: Vec<u8>,
    /// Rows that the parser had made at the state.
    rows: usize,
    /// Whether a lexeme ended. The grammar has its say there, and the lexer's state alone tells nothing. Each row that
    /// the parser makes then is work, of which a mask has no more than a bound.
    is_lexeme_ended: bool,
    is_any_taken: bool,
    is_any_refused: bool,
    next: Vec<usize>,
    /// The lexer's state after the last character that was taken: most lead to the same.
    last: Option<StateID>,
    /// Where characters of several bytes were gone on with.
    begun: Vec<(StateID, Rest)>,
}

impl<'a, 'b> Search<'a, 'b> {
    fn new(parser: &'a mut ParserRecognizer<'b>, kind: usize) -> Self {
        Self { parser, kind, states: Vec::new(), index: HashMap::default() }
    }

    fn run(mut self) -> Reach {
        let start = self.parser.lexer_state();
        let mut level = vec![self.state(start, &[])];
        for length in 0..LEVELS {
            let reach = Reach { kind: self.kind, length, is_most: false };
            let (mut next, mut refusing) = (Vec::new(), 0);
            for &state in &level {
                match self.following(state) {
                    Following::All(states) => next.extend(states),
                    Following::None => refusing += 1,
                    Following::Unknown => return reach,
                }
            }
            if refusing > 0 {
                // The last kind has all characters of runs.
                return Reach { is_most: refusing == level.len() && self.kind == KINDS - 1, ..reach };
            }
            if self.states.iter().all(|state| state.next.is_some()) {
                // Each character leads back to one of these states.
                return Reach { length: LONGEST, ..reach };
            }
            next.sort_unstable();
            next.dedup();
            level = next;
        }
        Reach { kind: self.kind, length: LEVELS, is_most: false }
    }

    /// The index of a state, to which these bytes lead.
    fn state(&mut self, state: StateID, path: &[u8]) -> usize {
        let states = &mut self.states;
        *self.index.entry(state).or_insert_with(|| {
            states.push(State { path: path.to_vec(), next: None });
            states.len() - 1
        })
    }

    fn following(&mut self, at: usize) -> Following {
        let State { path, next } = &self.states[at];
        if let Some(next) = next {
            return Following::All(next.clone());
        }
        if self.states.len() > STATES {
            return Following::Unknown;
        }
        let path = path.clone();
        let depth = path.len();
        let taken = path.iter().take_while(|&&byte| self.parser.try_push_byte(byte)).count();
        if taken < depth {
            // The bytes were taken before: the lexer has come to a limit since.
            self.parser.pop_bytes(taken);
            return Following::Unknown;
        }
        let mut found = Found::after(path, self.rows());
        for byte in b' '..=b'\xf4' {
            self.begin(byte, &mut found);
            if found.is_unknown() {
                break;
            }
        }
        self.parser.pop_bytes(depth);
        if found.is_unknown() {
            return Following::Unknown;
        }
        if !found.is_any_taken {
            return Following::None;
        }
        self.states[at].next = Some(found.next.clone());
        Following::All(found.next)
    }

    /// Number of times that a lexeme ended.
    fn rows(&mut self) -> usize {
        let stats = self.parser.stats_mut();
        stats.rows + stats.cached_rows
    }

    /// Tries characters that begin with a byte, if the kind has any.
    fn begin(&mut self, byte: u8, found: &mut Found) {
        let Kind { holds, is_beyond_ascii } = runs::ALL[self.kind];
        let rest = |low, high, more| Some(Rest { low, high, more });
        // Table 3-7 of the Unicode Standard.
        let rest = match byte {
            ..0x80 if holds(byte) => None,
            0xc2..=0xdf if is_beyond_ascii => rest(0x80, 0xbf, 0),
            0xe0 if is_beyond_ascii => rest(0xa0, 0xbf, 1),
            0xed if is_beyond_ascii => rest(0x80, 0x9f, 1),
            0xe1..=0xef if is_beyond_ascii => rest(0x80, 0xbf, 1),
            0xf0 if is_beyond_ascii => rest(0x90, 0xbf, 2),
            0xf1..=0xf3 if is_beyond_ascii => rest(0x80, 0xbf, 2),
            0xf4 if is_beyond_ascii => rest(0x80, 0x8f, 2),
            _ => return,
        };
        self.go_on(byte, rest, found);
    }

    /// Tries characters by their next byte and the rest after it.
    fn go_on(&mut self, byte: u8, rest: Option<Rest>, found: &mut Found) {
        let is_taken = self.parser.try_push_byte(byte);
        found.is_lexeme_ended |= self.rows() != found.rows;
        if !is_taken {
            found.is_any_refused = true;
            return;
        }
        let state = self.parser.lexer_state();
        found.path.push(byte);
        match rest {
            None => {
                found.is_any_taken = true;
                if found.last.replace(state) != Some(state) {
                    let index = self.state(state, &found.path);
                    found.next.push(index);
                }
            }
            Some(rest) if !found.begun.contains(&(state, rest)) => {
                found.begun.push((state, rest));
                for byte in rest.low..=rest.high {
                    self.go_on(byte, rest.after(), found);
                    if found.is_unknown() {
                        break;
                    }
                }
            }
            Some(_) => {}
        }
        found.path.pop();
        self.parser.pop_bytes(1);
    }
}

impl Found {
    fn after(path: Vec<u8>, rows: usize) -> Self {
        let (next, last, begun) = (Vec::new(), None, Vec::new());
        Self { path, rows, is_lexeme_ended: false, is_any_taken: false, is_any_refused: false, next, last, begun }
    }

    /// Whether what was tried is of no use, and so is what is left to try.
    const fn is_unknown(&self) -> bool {
        self.is_lexeme_ended || self.is_any_taken && self.is_any_refused
    }
}

impl Rest {
    fn after(self) -> Option<Self> {
        self.more.checked_sub(1).map(|more| Self { low: 0x80, high: 0xbf, more })
    }
}
