//! Requests whose logits are no numbers, on a model of which one source token is broken: they fail with that reason
//! whatever they ask for, and their neighbours get what they get alone.

use std::path::Path;
use std::sync::Arc;

use kernels::Sampling;
use serde_json::Value;
use server::engine::Generation;
use server::request::{
    BeamSearch, Constraint, Controls, EarlyStopping, FailureKind, GenerationEvent, GenerationRequest, PromptScores,
};

use crate::beams::{Kind, PairEngine, ROOMY, answer, folder};
use crate::mixed::Turns;

/// The source token with the broken embedding.
const BROKEN: usize = 77;

/// Writes a copy of a pair in which an embedding of the encoder is so large that it is infinite once it is scaled.
fn break_token(to: &Path) {
    let from = folder("t5gemma-balanced");
    for file in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let mut bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let start = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header: Value = serde_json::from_slice(&bytes[8..start]).unwrap();
    let tensor = &header["model.encoder.embed_tokens.weight"];
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    assert_eq!(tensor["dtype"], "F32");
    let row = 4 * number(&tensor["shape"][1]);
    let first = start + number(&tensor["data_offsets"][0]) + BROKEN * row;
    bytes[first..first + row].chunks_mut(4).for_each(|number| number.copy_from_slice(&f32::MAX.to_le_bytes()));
    std::fs::write(to.join("model.safetensors"), bytes).unwrap();
}

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
    break_token(place.path());
    let (sound, broken) = (requests(&[2, 90, 91, 92]), requests(&[2, 90, BROKEN as u32, 92]));
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
