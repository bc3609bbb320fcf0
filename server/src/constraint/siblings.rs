//! Answers of one request read by lexers of their own: what one of them exhausts is there for the others.

use super::tests::demo;
use super::{Grammar, Vocabulary};
use crate::request::{Constraint, ConstraintError};

/// An expression whose lexer needs ever more states: each of many letters may have been the one thirteen letters ago.
fn hungry(vocabulary: &Vocabulary) -> Constraint {
    Grammar::Regex("[a-d]*a[a-d]{13}e".into()).compile(vocabulary).unwrap()
}

/// Reads letters until the limits are reached.
fn exhaust(constraint: &Constraint, vocabulary: &Vocabulary) -> ConstraintError {
    let mut state = constraint.start();
    let mut words = Vec::new();
    let letters = ["a", "b", "c", "d"].map(|letter| vocabulary.tokenizer.encode(letter).unwrap()[0]);
    (0_u32..40_000)
        .find_map(|index| {
            // Every run of fourteen choices between `a` and another letter comes once.
            let is_a = (index / 14) >> (index % 14) & 1 == 0;
            let next = letters[if is_a { 0 } else { 1 + index as usize % 3 }];
            state.write_allowed(&mut words).and_then(|()| state.advance(next)).err()
        })
        .expect("the limit on the lexer's states is reached")
}

#[test]
fn an_answer_that_exhausts_its_lexer_harms_none_of_its_siblings() {
    let vocabulary = demo().with_growth(usize::MAX);
    let constraint = hungry(&vocabulary);
    let (mut before, mut words) = (constraint.start(), Vec::new());
    before.write_allowed(&mut words).unwrap();
    assert!(!exhaust(&constraint, &vocabulary).reason.is_empty());
    let letter = vocabulary.tokenizer.encode("a").unwrap()[0];
    for state in [&mut before, &mut constraint.start()] {
        state.write_allowed(&mut words).unwrap();
        state.advance(letter).unwrap();
        state.write_allowed(&mut words).unwrap();
    }
}
