//! The bound on bytes that a grammar forces, one after the other.
//!
//! The library goes on by them for as long as there is no choice, within a number of rows, each of which may have ten
//! thousand bytes. Used by `reader` before it does.

use llguidance::derivre::NextByte;
use llguidance::earley::{Parser, ParserRecognizer};
use llguidance::toktrie::Recognizer;

use super::reader::{BYTE_BYTES, made_bytes};
use crate::request::ConstraintError;

/// Bytes without a choice behind which the memory of more is counted. Few forms have as many.
const MANY: usize = 256;

/// Bytes that a form with limits in tokens may force: each may make a row, and rows are not counted there.
const MOST_BEFORE_LIMITS_IN_TOKENS: usize = 1 << 14;

/// Checks that a parser, at a place where the text may not end, keeps at most so many bytes of memory of what is forced
/// there.
///
/// # Errors
/// When it keeps more.
pub fn check(parser: &mut Parser, most_bytes: usize) -> Result<(), ConstraintError> {
    let reason = format!("its form forces a text that takes more than {most_bytes} bytes (limits.form_growth_bytes)");
    let too_much = || Err(ConstraintError { reason });
    let mut ahead = without_choice(parser, MANY);
    if ahead.len() < MANY {
        return Ok(());
    }
    if parser.grammar().lexer_spec().has_max_tokens {
        // Where texts have limits in tokens, they cannot be followed by bytes.
        let most = MOST_BEFORE_LIMITS_IN_TOKENS.min(most_bytes / BYTE_BYTES);
        return if without_choice(parser, most).len() < most { Ok(()) } else { too_much() };
    }
    // A parser of its own goes on by the bytes, up to where the text may end: nothing is forced there.
    let mut trial = parser.clone();
    let before = made_bytes(parser);
    while ahead.len() == MANY {
        for byte in ahead {
            if trial.apply_token(&[byte], 0).is_err() || trial.is_accepting() {
                return Ok(());
            }
        }
        if made_bytes(&trial) - before > most_bytes {
            return too_much();
        }
        ahead = without_choice(&mut trial, MANY);
    }
    Ok(())
}

/// At most so many bytes that come next, each of which is the only one that is allowed there. The text may end before
/// any of them.
fn without_choice(parser: &mut Parser, most: usize) -> Vec<u8> {
    parser.with_recognizer(|parser| {
        parser.trie_started("forced");
        let bytes = std::iter::from_fn(|| push_only(parser)).take(most).collect();
        parser.trie_finished();
        bytes
    })
}

/// Goes on by the only byte that is allowed, if there is one.
fn push_only(parser: &mut ParserRecognizer<'_>) -> Option<u8> {
    let state = parser.lexer_state();
    let first = match parser.lexer_mut().next_byte(state) {
        NextByte::Dead => return None,
        NextByte::ForcedByte(byte) => return parser.try_push_byte(byte).then_some(byte),
        // These are allowed by the lexer: most places have a choice between them.
        NextByte::SomeBytes2(bytes) if bytes.iter().all(|&byte| is_allowed(parser, byte)) => return None,
        NextByte::SomeBytes1(byte) | NextByte::SomeBytes2([byte, _]) => byte,
        NextByte::ForcedEOI | NextByte::SomeBytes0 => b' ',
    };
    let bytes = (0..=u8::MAX).map(|offset| first.wrapping_add(offset));
    let mut allowed = bytes.filter(|&byte| is_allowed(parser, byte));
    let (only, other) = (allowed.next()?, allowed.next());
    (other.is_none() && parser.try_push_byte(only)).then_some(only)
}

fn is_allowed(parser: &mut ParserRecognizer<'_>, byte: u8) -> bool {
    let is_taken = parser.try_push_byte(byte);
    if is_taken {
        parser.pop_bytes(1);
    }
    is_taken
}
