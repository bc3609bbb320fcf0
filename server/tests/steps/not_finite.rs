//! Requests whose logits are no numbers, on a model of which one source token is broken: they fail with that reason
//! whatever they ask for, and their neighbours get what they get alone.

use std::sync::Arc;

use kernels::Sampling;
use server::engine::Generation;
use server::request::{
    BeamSearch, Constraint, Controls, EarlyStopping, FailureKind, GenerationEvent, GenerationRequest, PromptScores,
};

use crate::beams::{Kind, PairEngine, ROOMY, answer};
use crate::broken_pair;
use crate::mixed::Turns;

/// Requests of several kinds about a source.
fn requests(source: &[u32]) -> Vec<GenerationRequest> {
    let plain = || GenerationRequest { ignore_end: true, ..GenerationRequest::new(source, 8) };
    let narrow = Sampling { temperature: 0.8, top_k: 20, seed: 5, ..Sampling::GREEDY };
    let controls = |controls: Controls| Arc::new(controls.in_order());
    let bans = || controls(Controls { banned: (40..60).collect(), ..Controls::default() });
    let beams = BeamSearch { width: 4, length_penalty: 1.0, early_stopping: EarlyStopping::Unlikely };
    let search = |asked: GenerationRequest| GenerationRequest { beams: Some(beams), choices: 3, ..asked };
    let masked = || GenerationRequest { constraint: Some(Constraint::new(Turns)), ..plain() };
    let repeats = controls(Controls { no_repeat_ngram: 2, repetition_penalty: 1.3, ..Controls::default() });
    vec![
        plain(),
        GenerationRequest { controls: bans(), ..plain() },
        GenerationRequest { controls: bans(), sampling: narrow, ..plain() },
        GenerationRequest { controls: bans(), sampling: Sampling { top_k: 0, ..narrow }, choices: 2, ..plain() },
        GenerationRequest { controls: repeats, ..plain() },
        GenerationRequest { controls: bans(), log_probs: Some(2), ..plain() },
        GenerationRequest { prompt_scores: Some(PromptScores::all(1)), decoder_prompt: vec![5, 6], ..plain() },
        masked(),
        search(plain()),
        search(GenerationRequest { controls: bans(), ..plain() }),
        search(masked()),
    ]
}

fn failure(mut generation: Generation) -> Option<(String, FailureKind)> {
    while let Some(event) = generation.blocking_next() {
        if let GenerationEvent::Failed { message, kind } = event {
            return Some((message, kind));
        }
    }
    None
}

#[test]
fn whatever_they_ask_for_requests_without_numbers_fail_with_that_reason_and_alone() {
    let place = tempfile::tempdir().unwrap();
    broken_pair::write(place.path());
    let (sound, broken) = (requests(&[2, 90, 91, 92]), requests(&[2, 90, broken_pair::TOKEN, 92]));
    for kind in [Kind::Direct, Kind::Padded] {
        let engine = PairEngine::of(place.path(), kind, ROOMY, &[1]);
        let alone: Vec<_> = sound.iter().map(|one| answer(engine.submit(one), one.choices)).collect();
        let mut running = Vec::new();
        for (sound, broken) in sound.iter().zip(&broken) {
            running.push((engine.submit(sound), engine.submit(broken), broken));
        }
        for ((own, broken, asked), alone) in running.into_iter().zip(alone) {
            let expected = "the model gave no finite logits for this request".to_owned();
            assert_eq!(failure(broken), Some((expected, FailureKind::Lasting)), "{asked:?}");
            assert_eq!(answer(own, asked.choices), alone, "{asked:?}");
        }
    }
}
