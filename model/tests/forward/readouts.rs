//! Results read of final encoder states, against transformers' states; lanes; encoders without a decoder.

use crate::fixture;
use crate::fixture::checkpoints::{edit, rewritten, stored};
use crate::fixture::{Case, FOLDERS};
use kernels::cpu::{Cpu, Isa};
use kernels::{Backend, Precision, Scheme, Segment};
use model::checkpoint::architecture_of;
use model::config::Stacks;
use model::{
    Arithmetic, Checkpoint, EncoderCheckpoint, EncoderCost, EncoderModel, EncoderParts, LayerParts, Model, Readout,
    ReadoutAsk, SourceRows, Workspace, WorkspaceLimits,
};
use safetensors::SafeTensors;
use serde_json::json;
use std::path::Path;

/// Tolerance that the fixtures were published with, relative to the largest number.
const STATES: f32 = 1e-4;
const LIMITS: WorkspaceLimits = WorkspaceLimits { lane_rows: [1024, 1024], target_rows: 1, logits_rows: 1 };

fn cpu() -> Cpu {
    Cpu::new(Isa::detect(), 2)
}

/// States of transformers for each case of a folder, `[source_len, hidden]`.
fn expected(folder: &str) -> Vec<Vec<f32>> {
    let bytes = fixture::bytes(&format!("{folder}/expected.safetensors"));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let states = |index| {
        let tensor = file.tensor(&format!("{index}.encoder_last_hidden_state")).unwrap();
        tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    (0..Case::all(folder).len()).map(states).collect()
}

fn check(own: &[f32], wanted: &[f32], what: &str) {
    let largest = wanted.iter().fold(0.0_f32, |max, number| max.max(number.abs()));
    assert_eq!(own.len(), wanted.len(), "{what}");
    for (own, wanted) in own.iter().zip(wanted) {
        assert!((own - wanted).abs() <= STATES * largest, "{what}: {own}, expected {wanted}");
    }
}

fn mean(states: &[f32], hidden: usize) -> Vec<f32> {
    let rows = states.len() / hidden;
    (0..hidden).map(|column| states.iter().skip(column).step_by(hidden).sum::<f32>() / rows as f32).collect()
}

/// A ragged batch of sources.
struct Batch {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    segments: Vec<Segment>,
}

impl Batch {
    fn new(sources: &[&[u32]]) -> Self {
        let starts = sources.iter().scan(0, |start, source| {
            let segment = Segment { start: *start, len: source.len() as u32 };
            *start += segment.len;
            Some(segment)
        });
        Self {
            tokens: sources.concat(),
            positions: sources.iter().flat_map(|source| 0..source.len() as u32).collect(),
            segments: starts.collect(),
        }
    }

    fn rows(&self) -> SourceRows<'_> {
        SourceRows { tokens: &self.tokens, positions: &self.positions, segments: &self.segments }
    }

    fn asks(&self, readouts: &[Readout]) -> Vec<ReadoutAsk> {
        let asks = self.segments.iter().zip(readouts);
        asks.map(|(&segment, &readout)| ReadoutAsk { segment, readout }).collect()
    }
}

fn read<B: Backend>(model: &Model<B>, asked: &[ReadoutAsk], lane: usize, space: &mut Workspace<B>) -> Vec<Vec<f32>> {
    let mut results = Vec::new();
    model.read(asked, lane, space, &mut results);
    results
}

#[test]
fn pooled_and_whole_states_of_a_mixed_batch_are_those_of_transformers() {
    for folder in FOLDERS {
        let checkpoint = Checkpoint::open(&fixture::path(folder)).unwrap();
        let model = Model::load(cpu(), &checkpoint, Precision::F32, &mut |_| ()).unwrap();
        let mut space = model.workspace(LIMITS).unwrap();
        let (cases, expected) = (Case::all(folder), expected(folder));
        let sources: Vec<&[u32]> = cases.iter().map(|case| case.input_ids.as_slice()).collect();
        let (batch, hidden) = (Batch::new(&sources), checkpoint.config().encoder.hidden);
        model.encode(batch.rows(), 0..checkpoint.config().encoder.layers, 0, &mut space);
        let kinds = [Readout::LastToken, Readout::Mean, Readout::EveryToken];
        for turn in 0..kinds.len() {
            let readouts: Vec<Readout> = (0..cases.len()).map(|index| kinds[(index + turn) % kinds.len()]).collect();
            let results = read(&model, &batch.asks(&readouts), 0, &mut space);
            assert_eq!(results.len(), cases.len());
            for ((result, readout), states) in results.iter().zip(&readouts).zip(&expected) {
                let what = format!("{folder} {readout:?}");
                match readout {
                    Readout::LastToken => check(result, &states[states.len() - hidden..], &what),
                    Readout::Mean => check(result, &mean(states, hidden), &what),
                    _ => check(result, states, &what),
                }
            }
        }
    }
}

#[test]
fn a_batch_that_pauses_in_its_lane_is_not_disturbed_by_batches_in_the_other() {
    let checkpoint = Checkpoint::open(&fixture::path("t5gemma-balanced")).unwrap();
    let model = Model::load(cpu(), &checkpoint, Precision::F32, &mut |_| ()).unwrap();
    let mut space = model.workspace(LIMITS).unwrap();
    let layers = checkpoint.config().encoder.layers;
    let long: Vec<u32> = (0..300).map(|index| 5 + index % 400).collect();
    let (long, short) = (Batch::new(&[&long]), Batch::new(&[&[2, 77, 8], &[9]]));
    model.encode(long.rows(), 0..layers, 0, &mut space);
    let undisturbed = read(&model, &long.asks(&[Readout::EveryToken]), 0, &mut space);
    let mut between = Vec::new();
    for layer in 0..layers {
        model.encode(long.rows(), layer..layer + 1, 1, &mut space);
        model.encode(short.rows(), 0..layers, 0, &mut space);
        between.push(read(&model, &short.asks(&[Readout::Mean, Readout::LastToken]), 0, &mut space));
    }
    assert_eq!(read(&model, &long.asks(&[Readout::EveryToken]), 1, &mut space), undisturbed);
    assert!(between.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn layers_in_parts_give_the_bits_of_whole_layers() {
    let long: Vec<u32> = (0..500).map(|index| 5 + index * 7 % 400).collect();
    let batch = Batch::new(&[&long, &[2, 77, 8], &long[..290]]);
    for folder in ["t5gemma-balanced", "t5gemma2-scaled"] {
        let checkpoint = Checkpoint::open(&fixture::path(folder)).unwrap();
        for quantize in [None, Some(Scheme::Int8)] {
            for precision in [Precision::F32, Precision::Bf16] {
                let arithmetic = Arithmetic { quantize, ..precision.into() };
                let model = Model::load(cpu(), &checkpoint, arithmetic, &mut |_| ()).unwrap();
                let mut space = model.workspace(LIMITS).unwrap();
                let cost = EncoderCost::of(&checkpoint.config().encoder);
                model.encode(batch.rows(), 0..cost.layers, 0, &mut space);
                let asked = batch.asks(&[Readout::EveryToken; 3]);
                let whole = read(&model, &asked, 0, &mut space);
                for of_layer in [LayerParts { narrow: 2, wide: 3 }, LayerParts { narrow: 1, wide: 9 }] {
                    for part in 0..cost.all_parts(of_layer) {
                        let parts = EncoderParts { range: part..part + 1, of_layer };
                        model.encode(batch.rows(), parts, 0, &mut space);
                    }
                    assert!(read(&model, &asked, 0, &mut space) == whole, "{folder}, {arithmetic:?}, {of_layer:?}");
                }
            }
        }
    }
}

/// Results of an encoder without a decoder for the cases of the balanced checkpoint, against transformers.
fn check_encoder_alone(folder: &Path) {
    let architecture = architecture_of(folder).unwrap();
    assert_eq!((architecture.stacks, architecture.classifies()), (Stacks::Encoder, false));
    let checkpoint = EncoderCheckpoint::open(folder).unwrap();
    assert_eq!(architecture, checkpoint.config().architecture());
    let model = EncoderModel::load(cpu(), &checkpoint, Precision::F32, &mut |_| ()).unwrap();
    let mut space = model.space([1024, 0]).unwrap();
    let cases = Case::all("t5gemma-balanced");
    let sources: Vec<&[u32]> = cases.iter().map(|case| case.input_ids.as_slice()).collect();
    let results = model.read_batch(&sources, Readout::EveryToken, &mut space);
    for (result, states) in results.iter().zip(expected("t5gemma-balanced")) {
        check(result, &states, &folder.display().to_string());
    }
}

#[test]
fn an_encoder_that_was_saved_without_its_decoder_gives_its_states() {
    let folder = rewritten(|name, view| name.starts_with("model.encoder.").then(|| (name.to_owned(), stored(view))));
    edit(&folder.path().join("config.json"), |config| {
        config["architectures"] = json!(["T5GemmaEncoderModel"]);
        config["is_encoder_decoder"] = json!(false);
    });
    check_encoder_alone(folder.path());
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("is_encoder_decoder is false: an encoder alone cannot write a text"), "{message}");
}

#[test]
fn the_folder_of_a_bare_encoder_gives_its_states() {
    let bare = |name: &str| name.strip_prefix("model.encoder.").map(str::to_owned);
    let folder = rewritten(|name, view| Some((bare(name)?, stored(view))));
    edit(&folder.path().join("config.json"), |config| {
        let mut encoder = config["encoder"].take();
        encoder["architectures"] = json!(["T5GemmaEncoder"]);
        encoder["model_type"] = json!("t5_gemma_module");
        *config = encoder;
    });
    check_encoder_alone(folder.path());
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("t5_gemma_module"), "{message}");
}

#[test]
fn a_bare_decoder_is_no_encoder() {
    let folder = rewritten(|name, view| Some((name.to_owned(), stored(view))));
    edit(&folder.path().join("config.json"), |config| {
        let mut decoder = config["decoder"].take();
        decoder["model_type"] = json!("t5_gemma_module");
        decoder["is_decoder"] = json!(true);
        *config = decoder;
    });
    let message = EncoderCheckpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("is_decoder is true"), "{message}");
}
