//! `server bench --controls`: a step under each control against a step without.
//!
//! Rows are greedy, so that the step without controls takes the screened way through the output layer. Control by
//! control, both steps are measured in turn: a machine that slows down slows both.

use std::sync::Arc;

use serde::Serialize;

use super::beams::step_ms;
use super::conditions::Subject;
use super::driver::{Driver, room_for};
use super::measure::rounded;
use super::print::print_json;
use crate::cli::BenchOptions;
use crate::commands::error::CommandError;
use crate::config::Config;
use crate::loading::load;
use crate::request::{Controls, GenerationRequest, TokenBias};

#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    subject: &'a Subject<'a>,
    control: &'a str,
    batch: usize,
    /// Time of a step under the control.
    step_ms: f64,
    /// Time of a step without.
    free_step_ms: f64,
    /// The first divided by the second.
    ratio: f64,
}

/// Measures and prints each control at one batch size after the other.
///
/// # Errors
/// When the model cannot be loaded, or the lengths exceed it.
pub fn controls(config: &Config, options: &BenchOptions) -> Result<(), CommandError> {
    let loaded = load(config)?;
    let limits = room_for(options, loaded.limits(config)?)?;
    let subject = Subject::new(config, &loaded, options);
    let (encoder, decoder) = (loaded.config().encoder.vocab, loaded.config().decoder.vocab);
    let measured: Vec<_> = all(decoder as u32).map(|(name, controls)| (name, Arc::new(controls.in_order()))).into();
    let mut driver = Driver::start(loaded.start(limits, Arc::default())?, options, encoder)?;
    for batch in options.batches() {
        for (control, controls) in &measured {
            let free_step_ms = step_ms(&mut driver, options, batch, |asked| asked)?;
            let controlled = |asked| GenerationRequest { controls: Arc::clone(controls), ..asked };
            let step_ms = step_ms(&mut driver, options, batch, controlled)?;
            print_json(&Line {
                subject: &subject,
                control,
                batch,
                step_ms: rounded(step_ms),
                free_step_ms: rounded(free_step_ms),
                ratio: rounded(step_ms / free_step_ms),
            })?;
        }
    }
    driver.end();
    Ok(())
}

/// The controls that are measured, with their names, for a vocabulary of so many ids. Lists are as long as a request
/// may make them, where the vocabulary is large enough.
fn all(vocab: u32) -> [(&'static str, Controls); 10] {
    let none = Controls::default;
    let some = |most: u32| (0..vocab).step_by(vocab.div_ceil(most).max(2) as usize);
    let biases = |bias| some(1024).map(|id| TokenBias { id, bias }).collect();
    let pairs = || some(256).map(|id| vec![id, (id + 1) % vocab]).collect();
    [
        ("repetition_penalty", Controls { repetition_penalty: 1.2, ..none() }),
        ("presence_penalty", Controls { presence_penalty: 0.5, ..none() }),
        ("frequency_penalty", Controls { frequency_penalty: 0.5, ..none() }),
        ("no_repeat_ngram_size 3", Controls { no_repeat_ngram: 3, ..none() }),
        ("logit_bias of 1024 ids, -1", Controls { biases: biases(-1.0), ..none() }),
        ("logit_bias of 1024 ids, +1", Controls { biases: biases(1.0), ..none() }),
        ("allowed_token_ids, every second", Controls { allowed: Some((0..vocab).step_by(2).collect()), ..none() }),
        ("bad_words of one id, 256", Controls { banned: some(256).collect(), ..none() }),
        ("bad_words of two ids, 256", Controls { bad_words: pairs(), ..none() }),
        ("suppress_tokens, 4096", Controls { banned: some(4096).collect(), ..none() }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_as_long_as_requests_may_make_them_and_leave_ids_to_choose() {
        for vocab in [64, 4096, 262_144] {
            for (name, controls) in all(vocab) {
                let controls = controls.in_order();
                assert!(controls.banned.len() <= vocab as usize / 2, "{name}: {vocab}");
                assert!(controls.biases.len() <= 1024 && controls.bad_words.len() <= 256, "{name}: {vocab}");
            }
        }
        let lengths = |index: usize| all(262_144)[index].1.clone();
        assert_eq!((lengths(4).biases.len(), lengths(8).bad_words.len(), lengths(9).banned.len()), (1024, 256, 4096));
    }
}
