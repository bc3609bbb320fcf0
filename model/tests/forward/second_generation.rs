//! The second generation's own: a token with a vector beside the table, and encoders in several kinds of folders.

use std::fs;

use kernels::Precision;
use kernels::cpu::{Cpu, Isa};
use model::{Checkpoint, EncoderCheckpoint, EncoderModel, Readout};
use serde_json::json;

use crate::fixture::checkpoints::{copied, edit, rewrite, stored};
use crate::fixture::{self, Case, SECOND};
use crate::runner::Runner;

const TABLE: &str = "model.encoder.embed_tokens.weight";
const VECTOR: &str = "model.encoder.embed_tokens.eoi_embedding";
const HIDDEN: usize = 32;
/// Token that ends an image in the fixtures.
const END_OF_IMAGE: u32 = 509;
/// Another token, whose row a test overwrites.
const OTHER: u32 = 300;

/// States of a source, and logits of a target.
fn outputs(checkpoint: &Checkpoint, source: &[u32], target: &[u32]) -> [Vec<f32>; 2] {
    let mut runner = Runner::new(Cpu::new(Isa::detect(), 1), checkpoint, Precision::F32, 1);
    let (states, mut sequences) = runner.encode(&[source], usize::MAX);
    sequences[0].tokens = target.to_vec();
    let rows = runner.step(&sequences, |_| 0);
    [states, runner.model.read_logits(rows, &runner.space)]
}

fn near(own: &[f32], others: &[f32]) -> bool {
    own.len() == others.len() && own.iter().zip(others).all(|(own, other)| (own - other).abs() <= 1e-3)
}

#[test]
fn the_end_of_an_image_is_embedded_by_its_own_vector_in_both_stacks() {
    for name in SECOND {
        let own = Checkpoint::open(&fixture::path(name)).unwrap();
        let mut vector = vec![0.0; HIDDEN];
        own.tensor(VECTOR).unwrap().part().read_row(0, &mut vector);
        // The same vector as a row of the table, before it is scaled.
        let folder = copied(name);
        rewrite(folder.path(), |name, view| {
            let (dtype, shape, mut bytes) = stored(view);
            if name == TABLE {
                let scale = (HIDDEN as f32).sqrt();
                let row: Vec<u8> = vector.iter().flat_map(|number| (number / scale).to_le_bytes()).collect();
                bytes[OTHER as usize * 4 * HIDDEN..][..4 * HIDDEN].copy_from_slice(&row);
            }
            Some((name.to_owned(), (dtype, shape, bytes)))
        });
        let edited = Checkpoint::open(folder.path()).unwrap();
        let with = |token: u32| [vec![2, 481, token, 408], vec![2, token, 77, token]];
        let [source, target] = with(END_OF_IMAGE);
        let [states, mut logits] = outputs(&own, &source, &target);
        let [source, target] = with(OTHER);
        let [other_states, mut other_logits] = outputs(&edited, &source, &target);
        // The output table has no vector beside it, and another row there.
        for logits in [&mut logits, &mut other_logits] {
            logits.chunks_exact_mut(512).for_each(|row| row[OTHER as usize] = 0.0);
        }
        assert!(near(&states, &other_states) && near(&logits, &other_logits), "{name}");
        let [states_before, _] = outputs(&own, &source, &target);
        assert!(!near(&states, &states_before), "{name}: the vector is another one than the row");
    }
}

#[test]
fn an_encoder_is_the_same_in_its_pair_and_in_folders_of_its_own() {
    let name = SECOND[1];
    let cases = Case::all(name);
    let sources: Vec<&[u32]> = cases.iter().map(|case| &case.input_ids[..]).collect();
    let pair = Checkpoint::open(&fixture::path(name)).unwrap();
    let (expected, _) = Runner::new(Cpu::new(Isa::detect(), 1), &pair, Precision::F32, 6).encode(&sources, 100);
    let encoder_only = |spelled: &dyn Fn(&str) -> String, bare: Option<&str>| {
        let folder = copied(name);
        rewrite(folder.path(), |name, view| {
            let rest = name.strip_prefix("model.encoder.").filter(|rest| !rest.contains("vision_tower"))?;
            Some((spelled(rest), stored(view)))
        });
        edit(&folder.path().join("config.json"), |config| match bare {
            None => config["is_encoder_decoder"] = json!(false),
            Some("t5gemma2_text") => {
                *config = config["encoder"]["text_config"].take();
                config["eoi_token_index"] = json!(END_OF_IMAGE);
            }
            Some(_) => *config = config["encoder"].take(),
        });
        fs::remove_file(folder.path().join("generation_config.json")).unwrap();
        let checkpoint = EncoderCheckpoint::open(folder.path()).unwrap();
        assert!(!checkpoint.has_vision_tower());
        let model = EncoderModel::load(Cpu::new(Isa::detect(), 1), &checkpoint, Precision::F32, &mut |_| ()).unwrap();
        let mut space = model.space([1024, 0]).unwrap();
        let states = model.read_batch(&sources, Readout::EveryToken, &mut space).concat();
        assert!(states == expected, "{bare:?}");
    };
    encoder_only(&|rest| format!("model.encoder.{rest}"), None);
    encoder_only(&|rest| format!("model.encoder.text_model.{rest}"), None);
    encoder_only(&|rest| format!("text_model.{rest}"), Some("t5gemma2_encoder"));
    encoder_only(&|rest| rest.to_owned(), Some("t5gemma2_encoder"));
    encoder_only(&|rest| format!("model.{rest}"), Some("t5gemma2_encoder"));
    encoder_only(&|rest| format!("model.text_model.{rest}"), Some("t5gemma2_encoder"));
    encoder_only(&|rest| rest.to_owned(), Some("t5gemma2_text"));
}
