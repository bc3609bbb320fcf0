//! `server bench --targets`: steps and time of exact searches among given targets.
//!
//! The targets are combinations of words of which a model prefers none by much: the harder case, since a model that is
//! sure of its answer leaves fewer beginnings open.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::conditions::model_name;
use super::measure::rounded;
use super::print::print_json;
use crate::commands::answer_form::vocabulary;
use crate::commands::error::CommandError;
use crate::config::Config;
use crate::constraint::Targets;
use crate::engine::EngineHandle;
use crate::loading::load;
use crate::request::{BeamSearch, EarlyStopping, GenerationEvent, GenerationRequest, RequestLengths, Salt};
use crate::telemetry::EngineMetrics;

/// The text whose target is searched for.
const SOURCE: &str = "A small library to read configuration files, with bindings for Python.";
/// Tokens that no target exceeds in the vocabularies of Gemma and of the demo.
const MAX_TOKENS: u32 = 64;

const QUALITIES: [&str; 20] = [
    "small",
    "fast",
    "simple",
    "modern",
    "portable",
    "secure",
    "free",
    "graphical",
    "modular",
    "complete",
    "clean",
    "robust",
    "flexible",
    "light",
    "stable",
    "classic",
    "tiny",
    "smart",
    "quiet",
    "safe",
];
const KINDS: [&str; 10] =
    ["library", "tool", "game", "theme", "driver", "plugin", "font", "server", "editor", "module"];
const SUBJECTS: [&str; 25] = [
    "images",
    "music",
    "files",
    "the desktop",
    "Python",
    "networks",
    "fonts",
    "texts",
    "maps",
    "games",
    "mail",
    "video",
    "databases",
    "web pages",
    "calendars",
    "passwords",
    "archives",
    "logs",
    "clocks",
    "notes",
    "disks",
    "printers",
    "graphs",
    "languages",
    "keyboards",
];
/// Number of combinations.
const ALL: usize = QUALITIES.len() * QUALITIES.len() * KINDS.len() * SUBJECTS.len();

/// A search that is measured.
#[derive(Debug, Clone, Copy)]
struct Search {
    width: u32,
    n: u32,
    length_penalty: f64,
}

const SEARCHES: [Search; 5] = [
    Search { width: 16, n: 1, length_penalty: 0.0 },
    Search { width: 16, n: 10, length_penalty: 0.0 },
    Search { width: 16, n: 1, length_penalty: 1.0 },
    Search { width: 16, n: 10, length_penalty: 1.0 },
    Search { width: 4, n: 4, length_penalty: 0.0 },
];

#[derive(Debug, Serialize)]
struct Line<'a> {
    engine: String,
    shape: &'a str,
    targets: usize,
    width: u32,
    n: u32,
    length_penalty: f64,
    /// Steps of the engine, those of the encoder among them.
    steps: u64,
    /// Rows of all these steps.
    rows: u64,
    seconds: f64,
    /// Whether no other target can be better.
    exact: bool,
}

/// So many combinations, spread over all of them; all where there are fewer.
fn texts(count: usize) -> Vec<String> {
    let count = count.min(ALL);
    let text = |target: usize| {
        let (index, kinds) = (target * (ALL / count), QUALITIES.len() * KINDS.len());
        let (first, second) = (QUALITIES[index % QUALITIES.len()], QUALITIES[index / kinds % QUALITIES.len()]);
        let kind = KINDS[index / QUALITIES.len() % KINDS.len()];
        let subject = SUBJECTS[index / (kinds * QUALITIES.len())];
        format!("{first} {kind} for {subject}, {second}")
    };
    (0..count).map(text).collect()
}

/// Searches among so many targets and prints a JSON line for each search.
///
/// # Errors
/// When the model cannot be loaded or has no tokenizer, or its limits do not suffice.
pub fn targets(config: &Config, count: usize) -> Result<(), CommandError> {
    let loaded = load(config)?;
    let mut limits = loaded.limits(config)?;
    limits.exact_steps = limits.exact_steps.max(1);
    let texts = texts(count);
    let constraint = Targets::compile(&texts, &vocabulary(&loaded)?)?;
    let tokenizer = loaded.tokenizer.as_ref().ok_or(CommandError::NoTokenizer)?;
    let source = tokenizer.encode_with_special_tokens(SOURCE)?;
    limits.check(RequestLengths {
        branches: SEARCHES.iter().map(|search| search.width as usize).max().unwrap_or(1),
        source: source.len(),
        decoder_prompt: 0,
        max_tokens: MAX_TOKENS as usize,
    })?;
    let (engine_name, metrics) = (format!("encdec-{}", loaded.arithmetic()), Arc::new(EngineMetrics::default()));
    let exact_steps = limits.exact_steps;
    let engine = loaded.start(limits, Arc::clone(&metrics))?;
    for Search { width, n, length_penalty } in SEARCHES {
        let beams = BeamSearch { width, length_penalty, early_stopping: EarlyStopping::Unlikely };
        let asked = GenerationRequest {
            choices: n,
            beams: Some(beams),
            constraint: Some(constraint.clone()),
            exact_steps,
            ..GenerationRequest::new(&source[..], MAX_TOKENS)
        };
        let counted = || (metrics.step_rows.get_sample_count(), metrics.step_rows.get_sample_sum());
        let (before, began) = (counted(), Instant::now());
        let exact = search(&engine.handle, asked)?;
        let (seconds, after) = (began.elapsed().as_secs_f64(), counted());
        print_json(&Line {
            engine: engine_name.clone(),
            shape: model_name(config),
            targets: texts.len(),
            width,
            n,
            length_penalty,
            steps: after.0 - before.0,
            rows: (after.1 - before.1) as u64,
            seconds: rounded(seconds),
            exact,
        })?;
    }
    engine.handle.drain();
    engine.join();
    Ok(())
}

/// Runs a search to its end. Returns whether it is exact.
fn search(engine: &EngineHandle, asked: GenerationRequest) -> Result<bool, CommandError> {
    let rows = asked.sequences() * asked.branches() as u32;
    let mut generation = engine.submit(engine.reserve(Salt::default(), rows)?, asked)?;
    let mut exact = true;
    while let Some(event) = generation.blocking_next() {
        match event {
            GenerationEvent::Failed { message, .. } => return Err(CommandError::Failed { message }),
            GenerationEvent::Rated { rating, .. } => exact &= rating.is_exact == Some(true),
            _ => {}
        }
    }
    Ok(exact)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn targets_are_as_many_as_asked_for_and_differ() {
        for count in [1, 1000, 7777, ALL, ALL + 5] {
            assert_eq!(texts(count).into_iter().collect::<HashSet<_>>().len(), count.min(ALL));
        }
        assert_eq!(ALL, 100_000);
    }
}
