//! `server bench --copying PERCENT`: tokens/s with drafts and without, for answers that copy so much of their source.
//!
//! The answers are dictated, so that any model writes them: the source with some tokens replaced, added or left out, as
//! a correction of it would be. Requests with drafts and without alternate.

use std::sync::Arc;

use serde::Serialize;

use super::conditions::Subject;
use super::dictated::{Dictated, Dictation};
use super::driver::{Driver, request, room_for, source_of};
use super::measure::{REPEATS, median, rounded};
use super::print::print_json;
use crate::cli::BenchOptions;
use crate::commands::error::CommandError;
use crate::config::Config;
use crate::loading::load;
use crate::request::GenerationRequest;
use crate::telemetry::EngineMetrics;

/// Number of pairs of tokens that come again.
const PAIRS: u32 = 16;

#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    subject: &'a Subject<'a>,
    copied_percent: u8,
    batch: usize,
    /// Tokens a second of the whole batch after its first tokens, without drafts and with them.
    off_tokens_per_s: f64,
    auto_tokens_per_s: f64,
    /// The second divided by the first.
    ratio: f64,
    /// Share of the tokens that were drafted and right.
    accepted_share: f64,
    /// Drafted tokens that were wrong, for each token.
    rejected_per_token: f64,
}

/// Measures and prints one batch size after the other.
///
/// # Errors
/// When the model cannot be loaded, the lengths exceed it, or nothing is drafted there.
pub fn copying(config: &Config, options: &BenchOptions, percent: u8) -> Result<(), CommandError> {
    let loaded = load(config)?;
    let limits = room_for(options, loaded.limits(config)?)?;
    if limits.steps.draft_rows == 0 {
        return Err(CommandError::NoDrafts);
    }
    let subject = Subject::new(config, &loaded, options);
    let (source_vocab, vocab) = (loaded.config().encoder.vocab, loaded.config().decoder.vocab);
    let (dictation, metrics) = (Dictation::default(), Arc::<EngineMetrics>::default());
    let wrap = |inner| Box::new(Dictated::new(inner, dictation.clone())) as Box<_>;
    let engine = loaded.start_with(limits, Arc::clone(&metrics), wrap)?;
    let mut driver = Driver::start(engine, options, source_vocab)?;
    for batch in options.batches() {
        let mut times = [(); 4].map(|()| Vec::new());
        let before = [&metrics.draft_tokens, &metrics.accepted_draft_tokens].map(|counter| counter.get());
        for _ in 0..REPEATS {
            let kinds = [(false, 1), (false, options.target_len), (true, 1), (true, options.target_len)];
            for (times, (speculation, tokens)) in times.iter_mut().zip(kinds) {
                let time = driver.run_each(batch, |source| {
                    let text = edited(&source, percent, vocab as u64, tokens);
                    let asked = GenerationRequest { speculation, ..request(source, tokens as u32) };
                    dictation.of(asked, text)
                })?;
                times.push(time.as_secs_f64());
            }
        }
        let after = [&metrics.draft_tokens, &metrics.accepted_draft_tokens].map(|counter| counter.get());
        let [drafted, accepted] = [0, 1].map(|index| (after[index] - before[index]) as f64);
        let [off_first, off, auto_first, auto] = times.map(median);
        let steps = (batch * (options.target_len - 1)) as f64;
        let tokens = (batch * (options.target_len + 1) * REPEATS) as f64;
        print_json(&Line {
            subject: &subject,
            copied_percent: percent,
            batch,
            off_tokens_per_s: rounded(steps / (off - off_first)),
            auto_tokens_per_s: rounded(steps / (auto - auto_first)),
            ratio: rounded((off - off_first) / (auto - auto_first)),
            accepted_share: rounded(accepted / tokens),
            rejected_per_token: rounded((drafted - accepted) / tokens),
        })?;
    }
    driver.end();
    Ok(())
}

/// The first `len` tokens of a text that has so many percent of a source's tokens, in their order. In the place of each
/// other one stand another, or two of a few that come again and again as the commonest pairs of a language do, or none.
fn edited(source: &[u32], percent: u8, vocab: u64, len: usize) -> Vec<u32> {
    let number = source.iter().fold(0, |hash: u64, &id| hash.wrapping_mul(31).wrapping_add(u64::from(id)));
    let noise = source_of(number, source.len().max(len), u64::from(u32::MAX));
    let mut text = Vec::with_capacity(len);
    for (&id, &noise) in source.iter().zip(&noise) {
        let other = ((u64::from(noise) / 300) % vocab) as u32;
        if noise % 100 < u32::from(percent) {
            text.push(id);
        } else {
            match noise / 100 % 3 {
                0 => text.push(other),
                1 => text.extend([other % PAIRS, other % PAIRS + 1].map(|id| id % vocab as u32)),
                _ => {}
            }
        }
    }
    // Behind the end of the source, nothing is copied.
    text.extend(noise.iter().map(|&noise| (u64::from(noise) % vocab) as u32));
    text.truncate(len);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_as_much_of_its_source_as_was_asked_for() {
        let source = source_of(1, 2000, 100_000);
        let same = |percent| {
            let text = edited(&source, percent, 100_000, 1500);
            assert_eq!(text.len(), 1500);
            let mut rest = source.iter();
            // Greedily, in order: what is not found within the next few tokens is no copy.
            text.iter().filter(|id| rest.as_slice().iter().take(20).any(|s| s == *id) && rest.any(|s| s == *id)).count()
        };
        assert_eq!(edited(&source, 100, 100_000, 1500), source[..1500]);
        assert!((1350..1480).contains(&same(95)), "{}", same(95));
        assert!(same(0) < 30, "{}", same(0));
        assert_eq!(edited(&source[..5], 100, 7, 9).len(), 9);
    }
}
