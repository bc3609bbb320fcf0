//! The network that is trained against Hugging Face transformers 5.17 and against the serving path: logits, losses,
//! gradients.

use std::path::Path;

use crate::fixture;
use crate::fixture::{BOTH, Case, FOLDERS, SECOND};
use crate::runner::Runner;
use crate::trained;
use crate::trained::{TrainFixture, largest_difference, norm, numbers, open, read};
use candle_core::{Device, Tensor};
use kernels::Precision;
use kernels::cpu::{Cpu, Isa};
use model::Checkpoint;
use model::training::network::{DropoutOptions, Gradients, LossOptions, TeacherOptions};
use model::training::{Batch, Example, Network, NetworkOptions};

/// Tolerances that the fixtures were published with (`tests/fixtures/README.md`).
const LOGITS: f32 = 1e-3;
const STATES: f32 = 1e-4;
const LOSS: f64 = 1e-4;
const GRADIENTS: f64 = 1e-3;
/// Decoder-only checkpoints of both generations.
const DECODERS: [&str; 2] = ["gemma2-source", "gemma3-source"];

/// A case whose forced target the decoder reads whole; the label after its last token is of no interest.
fn forced(case: &Case) -> Batch {
    let target = [&case.decoder_input_ids[1..], &[1]].concat();
    Batch { examples: vec![Example::Pair { source: case.input_ids.clone(), target }] }
}

#[test]
fn states_and_logits_follow_transformers_and_the_serving_path() {
    for folder in BOTH {
        let network = open(folder);
        let checkpoint = Checkpoint::open(&fixture::path(folder)).unwrap();
        let mut served = Runner::new(Cpu::new(Isa::detect(), 2), &checkpoint, Precision::F32, 1);
        for (index, case) in Case::all(folder).iter().enumerate() {
            let states = numbers(&network.encoder_states(&[&case.input_ids]).unwrap());
            let expected = read(folder, "expected", &format!("{index}.encoder_last_hidden_state"));
            let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            assert!(largest_difference(&states, &expected) <= STATES * largest, "{folder} {index}");

            let logits = numbers(&network.logits(&forced(case)).unwrap());
            let expected = read(folder, "expected", &format!("{index}.logits"));
            assert!(largest_difference(&logits, &expected) <= LOGITS, "{folder} {index}");

            let (_, mut sequences) = served.encode(&[&case.input_ids], usize::MAX);
            sequences[0].tokens.clone_from(&case.decoder_input_ids);
            let rows = served.step(&sequences, |_| 0);
            let served = served.model.read_logits(rows, &served.space);
            assert!(largest_difference(&logits, &served) <= LOGITS, "{folder} {index}: serving path");
        }
    }
}

#[test]
fn rows_of_a_batch_do_not_see_each_other() {
    for folder in [FOLDERS[0], SECOND[1]] {
        let network = open(folder);
        let cases = Case::all(folder);
        let together = Batch { examples: cases.iter().flat_map(|case| forced(case).examples).collect() };
        let alone: Vec<f32> = cases.iter().flat_map(|case| numbers(&network.logits(&forced(case)).unwrap())).collect();
        let together = numbers(&network.logits(&together).unwrap());
        assert!(largest_difference(&together, &alone) <= 1e-4, "{folder}");
    }
}

/// Gradients of the mean loss, as the fixture has them.
fn mean_gradients(network: &Network, fixture: &TrainFixture) -> (f64, Gradients) {
    let batch = fixture.batch();
    let tokens = batch.target_tokens() as f64;
    let (sums, gradients) = network.gradients(&batch, &LossOptions::default(), 1.0 / tokens).unwrap();
    assert_eq!(sums.tokens, batch.target_tokens());
    assert!((sums.loss - sums.cross_entropy).abs() <= 1e-6 * sums.loss.abs());
    (sums.loss / tokens, gradients)
}

#[test]
fn the_loss_and_its_gradients_follow_transformers_with_and_without_recomputation() {
    let folders = [FOLDERS[0], FOLDERS[1], SECOND[0]];
    for (folder, activation_checkpointing) in folders.iter().flat_map(|folder| [(folder, false), (folder, true)]) {
        let options = NetworkOptions { activation_checkpointing, ..NetworkOptions::default() };
        let network = Network::open(&fixture::path(folder), &options).unwrap();
        let fixture = TrainFixture::read(folder);
        let (loss, gradients) = mean_gradients(&network, &fixture);
        assert!((loss - fixture.losses[0]).abs() <= LOSS * fixture.losses[0], "{folder}: loss {loss}");
        let all = norm(gradients.values().flat_map(numbers));
        assert!((all - fixture.grad_norm_step0).abs() <= GRADIENTS * fixture.grad_norm_step0, "{folder}: norm {all}");
        assert_eq!(gradients.len(), network.parameters().len());
        for name in trained::names(folder, "train_grads") {
            let expected = read(folder, "train_grads", &name);
            // transformers puts the layers of a T5Gemma 2's encoder beside its image tower.
            let found = numbers(&gradients[&name.replace(".text_model.", ".")]);
            let error = norm(found.iter().zip(&expected).map(|(a, b)| a - b)) / norm(expected.iter().copied());
            assert!(error <= GRADIENTS, "{folder} {name}: off by {error}");
        }
        let evaluated = network.evaluate(&fixture.batch()).unwrap();
        assert!((evaluated.loss / evaluated.tokens as f64 - loss).abs() <= 1e-6 * loss);
    }
}

#[test]
fn the_one_table_is_one_parameter_and_has_the_gradients_of_its_three_uses() {
    let batch = TrainFixture::read(SECOND[0]).batch();
    let table = "model.encoder.embed_tokens.weight";
    let of_table = |folder: &Path| {
        let network = Network::open(folder, &NetworkOptions::default()).unwrap();
        assert_eq!(network.parameters().keys().filter(|name| name.contains("embed_tokens.weight")).count(), 1);
        let (_, gradients) = network.gradients(&batch, &LossOptions::default(), 1.0).unwrap();
        (network.output().0, gradients[table].to_vec2::<f32>().unwrap())
    };
    let (output, gradient) = of_table(&fixture::path(SECOND[0]));
    assert_eq!(output.dims(), [512, 32]);
    // Ids that occur nowhere have the output's gradient alone.
    let loss = |network: &Network| network.evaluate(&batch).unwrap().loss;
    let (source_id, target_id, absent_id) = (481, 468, 7);
    for id in [source_id, target_id, absent_id] {
        let (column, step) = (id % 32, 1e-3);
        let moved = |by: f32| {
            let network = open(SECOND[0]);
            let parameter = &network.parameters()[table];
            let mut numbers = parameter.to_vec2::<f32>().unwrap();
            numbers[id][column] += by;
            parameter.set(&Tensor::new(numbers, &Device::Cpu).unwrap()).unwrap();
            loss(&network)
        };
        let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
        let found = f64::from(gradient[id][column]);
        assert!((found - slope).abs() <= 0.01 * slope.abs() + 0.1, "{id}: {found}, finite difference {slope}");
        assert!(id == absent_id || slope.abs() > 1.0, "{id} is of no weight: {slope}");
    }
}

#[test]
fn the_vector_of_the_end_of_an_image_is_trained_by_the_sources_and_targets_that_have_it() {
    let network = open(SECOND[0]);
    let vector = "model.encoder.embed_tokens.eoi_embedding";
    let gradient = |source: &[u32], target: &[u32]| {
        let pair = Example::Pair { source: source.to_vec(), target: target.to_vec() };
        let batch = Batch { examples: vec![pair] };
        let (_, gradients) = network.gradients(&batch, &LossOptions::default(), 1.0).unwrap();
        norm(numbers(&gradients[vector]))
    };
    assert_eq!(gradient(&[2, 40, 41], &[42, 1]), 0.0);
    assert!(gradient(&[2, 509, 41], &[42, 1]) > 0.0, "in a source");
    assert!(gradient(&[2, 40, 41], &[509, 1]) > 0.0, "in a target");
    assert_eq!(gradient(&[2, 40, 41], &[42, 509]), 0.0, "the last label is not read");
}

/// Everything that a loss can have, at once.
fn everything(teacher: &Network, seed: u64) -> LossOptions<'_> {
    let dropout = Some(DropoutOptions { hidden: 0.2, attention: 0.3, classifier: 0.0, seed });
    let teacher = Some(TeacherOptions { network: teacher, temperature: 2.0, weight: 0.3 });
    LossOptions { z_loss: 1e-3, dropout, teacher }
}

fn assert_equal_gradients(one: &Gradients, other: &Gradients) {
    assert!(one.keys().eq(other.keys()));
    for (name, gradient) in one {
        let (a, b) = (numbers(gradient), numbers(&other[name]));
        let error = norm(a.iter().zip(&b).map(|(a, b)| a - b));
        assert!(error <= 1e-5 * norm(a.iter().copied()).max(1e-6), "{name}: off by {error}");
    }
}

#[test]
fn recomputation_drops_the_same_numbers_and_gives_the_same_gradients() {
    let teacher = open("gemma2-source");
    for folder in [FOLDERS[1], SECOND[0]] {
        let kept = open(folder);
        let options = NetworkOptions { activation_checkpointing: true, ..NetworkOptions::default() };
        let recomputed = Network::open(&fixture::path(folder), &options).unwrap();
        let batch = TrainFixture::read(folder).batch();
        let (loss, gradients) = kept.gradients(&batch, &everything(&teacher, 5), 0.5).unwrap();
        let (same, equal) = recomputed.gradients(&batch, &everything(&teacher, 5), 0.5).unwrap();
        assert!((loss.loss - same.loss).abs() <= 1e-5 * loss.loss);
        assert_equal_gradients(&gradients, &equal);
    }
}

#[test]
fn dropout_follows_from_its_seed() {
    let teacher = open("gemma2-source");
    let network = open(FOLDERS[0]);
    let batch = TrainFixture::read(FOLDERS[0]).batch();
    let loss = |seed| network.gradients(&batch, &everything(&teacher, seed), 1.0).unwrap().0.loss;
    assert_eq!(loss(5).to_bits(), loss(5).to_bits());
    assert!((loss(5) - loss(6)).abs() > 1e-3);
    let plain = network.evaluate(&batch).unwrap().loss;
    assert!((loss(5) - plain).abs() > 1e-3);
}

#[test]
fn parameters_that_are_not_trained_have_no_gradient_and_change_none() {
    let is_cross = |name: &str| name.contains("cross_attn");
    let batch = TrainFixture::read(FOLDERS[1]).batch();
    let (_, all) = open(FOLDERS[1]).gradients(&batch, &LossOptions::default(), 1.0).unwrap();
    for activation_checkpointing in [false, true] {
        let options = NetworkOptions { activation_checkpointing, ..NetworkOptions::default() };
        let mut network = Network::open(&fixture::path(FOLDERS[1]), &options).unwrap();
        network.train_only(is_cross);
        let (_, gradients) = network.gradients(&batch, &LossOptions::default(), 1.0).unwrap();
        let wanted: Gradients = all.clone().into_iter().filter(|(name, _)| is_cross(name)).collect();
        assert_equal_gradients(&wanted, &gradients);
        network.train_only(|_| true);
        let (_, again) = network.gradients(&batch, &LossOptions::default(), 1.0).unwrap();
        assert_equal_gradients(&all, &again);
    }
}

#[test]
fn a_decoder_only_network_follows_transformers_and_has_its_loss_on_the_target_alone() {
    for folder in DECODERS {
        hold_decoder_only(folder);
    }
}

fn hold_decoder_only(folder: &str) {
    let network = open(folder);
    assert_eq!(network.architecture().to_string(), "decoder-only model");
    let ids = trained::source_ids(folder);
    let expected = read(folder, "expected", "logits");
    let pair = |cut: usize| Batch {
        examples: vec![Example::Pair { source: ids[..cut].to_vec(), target: [&ids[cut..], &[1]].concat() }],
    };
    let all = numbers(&network.logits(&pair(1)).unwrap());
    assert!(largest_difference(&all, &expected) <= LOGITS, "{folder}");
    let vocab = network.vocab();
    let rest = numbers(&network.logits(&pair(20)).unwrap());
    assert!(largest_difference(&rest, &expected[19 * vocab..]) <= LOGITS, "{folder}");
    assert!(network.parameters().contains_key("model.layers.3.post_feedforward_layernorm.weight"));
}

#[test]
fn greedy_texts_are_the_references_however_many_are_written_together() {
    for folder in BOTH {
        let network = open(folder);
        let cases = Case::all(folder);
        let sources: Vec<&[u32]> = cases.iter().map(|case| &case.input_ids[..]).collect();
        for (case, written) in cases.iter().zip(network.generate(&sources, 24).unwrap()) {
            let end = case.greedy_ids.iter().position(|id| network.tokens().end.contains(id));
            let expected = &case.greedy_ids[..end.unwrap_or(case.greedy_ids.len())];
            assert_eq!(written, expected, "{folder}: {:?}", case.text);
        }
    }
}

#[test]
fn gradients_of_a_gemma_3_are_those_of_finite_differences_with_and_without_recomputation() {
    let ids = trained::source_ids("gemma3-source");
    let batch = Batch { examples: vec![Example::Pair { source: ids[..4].to_vec(), target: ids[4..].to_vec() }] };
    let of = |activation_checkpointing| {
        let options = NetworkOptions { activation_checkpointing, ..NetworkOptions::default() };
        let network = Network::open(&fixture::path("gemma3-source"), &options).unwrap();
        network.gradients(&batch, &LossOptions::default(), 1.0).unwrap().1
    };
    let gradients = of(false);
    assert_equal_gradients(&gradients, &of(true));
    let network = open("gemma3-source");
    assert_eq!(gradients.len(), network.parameters().len());
    let parts = ["layers.0.self_attn.q_norm", "layers.1.self_attn.k_norm", "layers.0.self_attn.k_proj", "embed_tokens"];
    hold_slopes(&network, &gradients, &parts.map(|part| format!("model.{part}.weight")), || {
        network.evaluate(&batch).unwrap().loss
    });
}

/// Asserts that the loss rises along the gradient of each of these weights by the gradient's length.
fn hold_slopes(network: &Network, gradients: &Gradients, names: &[String], loss: impl Fn() -> f64) {
    for name in names {
        let (weight, gradient) = (&network.parameters()[name], &gradients[name]);
        let (own, length) = (weight.copy().unwrap(), norm(numbers(gradient)));
        let step = 2e-2 / length;
        let moved = |by: f64| {
            weight.set(&(&own + (gradient * (by / length)).unwrap()).unwrap()).unwrap();
            loss()
        };
        let slope = (moved(step) - moved(-step)) / (2.0 * step);
        weight.set(&own).unwrap();
        assert!((slope - length).abs() <= 0.05 * length, "{name}: {slope} for {length}");
    }
}

/// Options of a loss with a teacher.
fn taught(network: &Network, weight: f32) -> LossOptions<'_> {
    let teacher = Some(TeacherOptions { network, temperature: 2.0, weight });
    LossOptions { teacher, ..LossOptions::default() }
}

#[test]
fn gradients_towards_a_teacher_are_those_of_finite_differences_and_share_the_loss_with_the_data() {
    let teacher = open("gemma3-source");
    for (folder, table) in [(FOLDERS[0], "decoder.embed_tokens"), (SECOND[0], "encoder.embed_tokens")] {
        let (network, batch) = (open(folder), TrainFixture::read(folder).batch());
        let gradients = |weight| network.gradients(&batch, &taught(&teacher, weight), 1.0).unwrap().1;
        let [data, teaching, both] = [0.0, 1.0, 0.6].map(gradients);
        let parts = [table, "encoder.layers.0.self_attn.k_proj", "decoder.layers.1.self_attn.v_proj"];
        hold_slopes(&network, &teaching, &parts.map(|part| format!("model.{part}.weight")), || {
            network.loss(&batch, &taught(&teacher, 1.0)).unwrap().sums().unwrap().loss
        });
        let share = |name: &String| ((&data[name] * 0.4).unwrap() + (&teaching[name] * 0.6).unwrap()).unwrap();
        let shares: Gradients = data.keys().map(|name| (name.clone(), share(name))).collect();
        assert_equal_gradients(&shares, &both);
    }
}

#[test]
fn a_network_has_nothing_to_learn_from_itself() {
    for folder in [FOLDERS[0], SECOND[0]] {
        let (network, teacher, batch) = (open(folder), open(folder), TrainFixture::read(folder).batch());
        let length = |weight| {
            let (_, gradients) = network.gradients(&batch, &taught(&teacher, weight), 1.0).unwrap();
            norm(gradients.values().flat_map(numbers))
        };
        let (teaching, data) = (length(1.0), length(0.0));
        assert!(teaching < 1e-4 * data, "{folder}: {teaching}, of the data {data}");
    }
}

#[test]
fn a_decoder_only_network_continues_its_source() {
    let network = open("gemma2-source");
    let ids = trained::source_ids("gemma2-source");
    let written = network.generate(&[&ids[..9], &ids], 4).unwrap();
    let next = |source: &[u32]| network.generate(&[source], 1).unwrap()[0].clone();
    let mut text = ids[..9].to_vec();
    for id in &written[0] {
        assert_eq!(next(&text), [*id]);
        text.push(*id);
    }
    assert_eq!(written[1][..1], next(&ids));
}

#[test]
fn rows_that_do_not_fit_are_refused_with_their_number_and_reason() {
    let network = open(FOLDERS[0]);
    let pair = |source: &[u32], target: &[u32]| Example::Pair { source: source.to_vec(), target: target.to_vec() };
    let good = pair(&[2, 3], &[4, 1]);
    let refusal = |bad: Example| {
        let batch = Batch { examples: vec![good.clone(), bad] };
        network.loss(&batch, &LossOptions::default()).unwrap_err().to_string()
    };
    for (bad, reason) in [
        (pair(&[2, 512], &[1]), "source has the token 512, outside the vocabulary of 512"),
        (pair(&[2], &[700, 1]), "target has the token 700"),
        (pair(&[], &[1]), "source has no token"),
        (pair(&[2], &[]), "target has no token"),
        (Example::Labelled { source: vec![2], label: 0 }, "writes text"),
    ] {
        let message = refusal(bad);
        assert!(message.contains("row 1") && message.contains(reason), "{message}");
    }
}
