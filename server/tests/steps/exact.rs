//! Exact searches among many targets over the demo, against scoring every one of them.

use std::sync::Arc;

use kernels::cpu::{Cpu, Isa};
use kernels::{PAGE_TOKENS, Precision};
use model::{Checkpoint, Tokenizer};
use server::constraint::{Targets, Vocabulary};
use server::engine::{Generation, MaskLimits, ModelExecutor};
use server::request::{BeamSearch, EarlyStopping, GenerationEvent, GenerationRequest, PromptScores, Rating};

use crate::demo_engine::{DemoEngine, LIMITS, PAGES, Room, STEP_ROWS, load};

/// Tolerance of sums of log-probabilities that two kinds of rows gave.
const SUMS: f32 = 1e-4;
const CHOICES: usize = 10;

/// 1,000 labels.
fn labels() -> Vec<String> {
    let heads = ["library", "tool", "game", "theme", "driver", "plugin", "font", "server", "icon set", "module"];
    let middles = ["images", "music", "files", "the desktop", "Python", "networks", "fonts", "texts", "maps", "games"];
    let tails = ["", " (headers)", " and tools", " in C", " (debug)", " 2", " for KDE", " data", " (docs)", " tests"];
    let label = |index: usize| format!("{} for {}{}", heads[index / 100], middles[index / 10 % 10], tails[index % 10]);
    (0..1000).map(label).collect()
}

/// Tokens of each choice with its rating.
fn found(mut generation: Generation, choices: usize) -> Vec<(Vec<u32>, Rating)> {
    let (mut tokens, mut ratings) = (vec![Vec::new(); choices], vec![None; choices]);
    while let Some(event) = generation.blocking_next() {
        match event {
            GenerationEvent::Token { choice, id, .. } => tokens[choice as usize].push(id),
            GenerationEvent::Rated { choice, rating } => ratings[choice as usize] = Some(rating),
            GenerationEvent::Failed { message, .. } => panic!("{message}"),
            GenerationEvent::Started { .. }
            | GenerationEvent::SourceReady
            | GenerationEvent::Scored { .. }
            | GenerationEvent::Drafted { .. }
            | GenerationEvent::Finished { .. } => {}
        }
    }
    tokens.into_iter().zip(ratings.into_iter().map(Option::unwrap)).collect()
}

/// The sum of the log-probabilities of a scored target.
fn sum(mut generation: Generation) -> f32 {
    let mut sum = 0.0;
    while let Some(event) = generation.blocking_next() {
        if let GenerationEvent::Scored { score, .. } = event {
            sum += score.chosen.log_prob;
        }
    }
    sum
}

#[test]
fn the_best_of_a_thousand_targets_are_found_without_scoring_all_of_them() {
    let checkpoint = Checkpoint::embedded().unwrap();
    let tokenizer = Arc::new(Tokenizer::from_bytes(&checkpoint.tokenizer_json().unwrap().unwrap()).unwrap());
    let ends = checkpoint.config().end_tokens.clone();
    let vocabulary = Vocabulary::new(&tokenizer, tokenizer.vocab_size(), &ends);
    let executor = || ModelExecutor::new(load(Cpu::new(Isa::detect(), 1), Precision::F32), PAGES, LIMITS).unwrap();
    let engine = DemoEngine::start(executor());
    // Its steps have no row left for tokens without a choice.
    let room = Room { pages: PAGES, source_page_tokens: 16, rows: STEP_ROWS, masks: MaskLimits::default() };
    let one_by_one = DemoEngine::of(checkpoint.config(), Box::new(executor()), room);
    let labels = labels();
    let constraint = Targets::compile(&labels, &vocabulary).unwrap();
    for (source, length_penalty) in [
        ("A small library to read configuration files, with bindings for Python.", 0.0),
        ("This is the default icon theme for the KDE Plasma 5 desktop.", 1.0),
    ] {
        let source = tokenizer.encode_with_special_tokens(source).unwrap();
        // Every label with each end token; equal texts count once.
        let mut scores = Vec::new();
        for chunk in labels.chunks(20) {
            let mut running = Vec::new();
            for (label, &end) in chunk.iter().flat_map(|label| ends.iter().map(move |end| (label, end))) {
                let ids = [tokenizer.encode(label).unwrap(), vec![end]].concat();
                let scored = GenerationRequest {
                    prompt_scores: Some(PromptScores::all(0)),
                    ..GenerationRequest::new(&source[..], 0)
                };
                let divisor = (ids.len() as f32).powf(length_penalty as f32);
                running.push((label, divisor, engine.submit(&GenerationRequest { decoder_prompt: ids, ..scored })));
            }
            scores.extend(running.into_iter().map(|(label, divisor, scored)| (sum(scored) / divisor, label)));
        }
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut best: Vec<(f32, &String)> = Vec::new();
        for one in scores {
            if best.len() < CHOICES && best.iter().all(|better| better.1 != one.1) {
                best.push(one);
            }
        }
        let beams = BeamSearch { width: 4, length_penalty, early_stopping: EarlyStopping::Unlikely };
        let asked = GenerationRequest {
            choices: CHOICES as u32,
            beams: Some(BeamSearch { width: 8, ..beams }),
            constraint: Some(constraint.clone()),
            exact_steps: 2000,
            ..GenerationRequest::new(&source[..], 2 * PAGE_TOKENS as u32)
        };
        let narrow = GenerationRequest { choices: 3, beams: Some(beams), ..asked.clone() };
        for asked in [asked, narrow] {
            let [found, others] =
                [&engine, &one_by_one].map(|engine| found(engine.submit(&asked), asked.choices as usize));
            assert_eq!(found, others, "tokens without a choice are scored together as they are one by one");
            for ((tokens, rating), (score, label)) in found.into_iter().zip(&best) {
                let text = tokenizer.decode(&tokens);
                assert!((rating.score - score).abs() < SUMS, "{text} {rating:?}: {label} {score}");
                assert_eq!((rating.is_exact, &text), (Some(true), *label));
            }
        }
    }
}
