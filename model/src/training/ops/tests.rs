//! Fused operations against the graphs of plain ones: results and every gradient.

use candle_core::{Device, Tensor, Var};
use kernels::{RopeScaling, RopeSpec, Window};

use super::*;

/// Numbers of about unit size, the same for the same seed.
fn numbers(shape: (usize, usize), seed: u64) -> Tensor {
    let draw = |index: usize| kernels::math::philox(seed, [index as u32, 0, 0, 0])[0] as f32 / u32::MAX as f32 - 0.5;
    let values: Vec<f32> = (0..shape.0 * shape.1).map(|index| 3.0 * draw(index)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn variable(shape: (usize, usize), seed: u64) -> Var {
    Var::from_tensor(&numbers(shape, seed)).unwrap()
}

fn row(len: usize, seed: u64) -> Var {
    Var::from_tensor(&numbers((1, len), seed).flatten_all().unwrap()).unwrap()
}

fn hold_close(name: &str, fused: &Tensor, unfused: &Tensor) {
    assert_eq!(fused.shape(), unfused.shape(), "{name}");
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (index, (fused, unfused)) in values(fused).into_iter().zip(values(unfused)).enumerate() {
        assert!((fused - unfused).abs() < 1e-5 + 2e-5 * unfused.abs(), "{name} {index}: {fused}, unfused {unfused}");
    }
}

/// Holds two functions of the same variables to each other: results, and gradients of a weighted sum of the result.
fn hold_equal(variables: &[&Var], fused: &dyn Fn() -> Result<Tensor>, unfused: &dyn Fn() -> Result<Tensor>) {
    let run = |function: &dyn Fn() -> Result<Tensor>| {
        let out = function().unwrap();
        // A loss has no dimensions; everything else is a matrix.
        let weights = if out.rank() == 2 {
            numbers(out.dims2().unwrap(), 99)
        } else {
            Tensor::new(0.7_f32, &Device::Cpu).unwrap()
        };
        let gradients = (&out * weights).unwrap().sum_all().unwrap().backward().unwrap();
        (out, gradients)
    };
    let ((out, gradients), (expected, expected_gradients)) = (run(fused), run(unfused));
    hold_close("result", &out, &expected);
    for (index, variable) in variables.iter().enumerate() {
        let name = format!("gradient of variable {index}");
        hold_close(&name, gradients.get(variable).unwrap(), expected_gradients.get(variable).unwrap());
    }
}

#[test]
fn row_wise_operations_equal_their_graphs() {
    let (x, up, gain, weight) = (variable((13, 22), 1), variable((17, 22), 2), row(22, 3), variable((17, 22), 4));
    hold_equal(&[&x, &gain], &|| rms_norm(&x, &gain, 1e-6), &|| unfused::rms_norm(&x, &gain, 1e-6));
    hold_equal(&[&x, &weight, &up], &|| geglu(&x, &weight, &up), &|| unfused::geglu(&x, &weight, &up));
    hold_equal(&[&x, &weight], &|| linear(&x, &weight), &|| unfused::linear(&x, &weight));
    let how = Dropout { rate: 0.3, key: 5 };
    hold_equal(&[&x], &|| dropout(&x, how), &|| unfused::dropout(&x, how));
    let ids = [3, 0, 16, 3, 3];
    hold_equal(&[&weight], &|| embed(&weight, &ids, 4.5, None), &|| unfused::embed(&weight, &ids, 4.5));
}

#[test]
fn a_view_is_taken_as_the_numbers_it_shows() {
    let (x, weight) = (variable((22, 13), 1), variable((22, 17), 2));
    let (turned, turned_weight) = (x.t().unwrap(), weight.t().unwrap());
    hold_equal(&[&x, &weight], &|| linear(&turned, &turned_weight), &|| unfused::linear(&turned, &turned_weight));
    let part = x.narrow(0, 3, 9).unwrap();
    let how = Dropout { rate: 0.5, key: 1 };
    hold_equal(&[&x], &|| dropout(&part, how), &|| unfused::dropout(&part, how));
}

fn attending() -> Attention {
    Attention {
        queries: vec![6, 1, 11],
        keys: vec![6, 1, 11],
        source_keys: Vec::new(),
        heads: 6,
        kv_heads: 2,
        head_dim: 8,
        scale: 0.4,
        softcap: Some(3.0),
        window: Window::default(),
        rope: Some(RopeSpec::unscaled(10_000.0)),
        dropout: None,
    }
}

#[test]
fn attention_equals_its_graph() {
    let own = attending();
    let cross = Attention { keys: vec![3, 9, 2], rope: None, ..own.clone() };
    let causal = |left| Window { left, right: Some(0) };
    let merged = Attention { source_keys: vec![4, 9, 0], softcap: None, window: causal(None), ..own.clone() };
    let stretched = Some(RopeSpec { theta: 1e6, scaling: RopeScaling::Linear { factor: 8.0 } });
    for how in [
        Attention { window: causal(None), ..own.clone() },
        Attention { window: causal(Some(3)), softcap: None, ..own.clone() },
        Attention { window: Window::symmetric(Some(3)), kv_heads: 6, ..own.clone() },
        Attention { window: Window { left: Some(1), right: Some(2) }, rope: stretched, ..own.clone() },
        Attention { kv_heads: 1, ..own },
        cross,
        Attention { window: causal(Some(2)), rope: stretched, kv_heads: 1, ..merged.clone() },
        merged,
    ] {
        let (queries, keys) = (how.queries.iter().sum(), how.key_count());
        let q = variable((queries, how.query_width()), 1);
        let (k, v) = (variable((keys, how.key_width()), 2), variable((keys, how.key_width()), 3));
        hold_equal(&[&q, &k, &v], &|| attention(&q, &k, &v, &how), &|| unfused::attention(&q, &k, &v, &how));
    }
}

#[test]
fn attention_drops_the_same_weights_for_the_same_key() {
    let q = numbers((18, 48), 1);
    let kv = numbers((18, 16), 2);
    let run = |key| attention(&q, &kv, &kv, &Attention { dropout: Some(Dropout { rate: 0.5, key }), ..attending() });
    let values = |tensor: Result<Tensor>| tensor.unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(values(run(1)), values(run(1)));
    assert_ne!(values(run(1)), values(run(2)));
}

#[test]
fn the_loss_equals_its_graph() {
    let (rows, vocab) = (9, 41);
    let (states, table) = (variable((rows, 12), 1), variable((vocab, 12), 2));
    let labels: Vec<u32> = (0..rows as u32).map(|row| row * 31 % vocab as u32).collect();
    let teacher = |weight| Teacher {
        states: numbers((rows, 5), 3),
        table: numbers((vocab, 5), 4),
        softcap: Some(4.0),
        temperature: 1.7,
        weight,
    };
    for (softcap, z_loss, teacher) in [
        (None, 0.0, None),
        (Some(5.0), 1e-2, None),
        (Some(5.0), 1e-2, Some(teacher(0.3))),
        (None, 0.0, Some(teacher(1.0))),
    ] {
        let how = CrossEntropy { labels: labels.clone(), softcap, z_loss, teacher };
        let (fused, unfused) = (
            cross_entropy(&states, &table, &how, None).unwrap(),
            unfused::cross_entropy(&states, &table, &how).unwrap(),
        );
        assert!((fused.cross_entropy - unfused.cross_entropy).abs() < 1e-5 * unfused.cross_entropy);
        assert_eq!(fused.correct, unfused.correct);
        hold_equal(&[&states, &table], &|| Ok(cross_entropy(&states, &table, &how, None)?.sum), &|| {
            Ok(unfused::cross_entropy(&states, &table, &how)?.sum)
        });
    }
}

#[test]
fn a_row_in_the_place_of_tokens_takes_their_gradient() {
    let (x, row) = (variable((4, 3), 1), row(3, 2));
    let places = [false, true, true, false];
    let weights = numbers((4, 3), 3);
    let run = |places: [bool; 4]| {
        let out = with_row(&x, &row, places.into_iter()).unwrap();
        let gradients = (&out * &weights).unwrap().sum_all().unwrap().backward().unwrap();
        let of = |variable: &Var| gradients.get(variable).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (out.to_vec2::<f32>().unwrap(), of(&x), of(&row))
    };
    let (x_rows, own, weights) =
        (x.to_vec2::<f32>().unwrap(), row.to_vec1::<f32>().unwrap(), weights.to_vec2::<f32>().unwrap());
    let (out, d_x, d_row) = run(places);
    assert_eq!(out, [x_rows[0].clone(), own.clone(), own, x_rows[3].clone()]);
    assert_eq!(d_x, [&weights[0][..], &[0.0; 6], &weights[3]].concat());
    let sum: Vec<f32> = weights[1].iter().zip(&weights[2]).map(|(a, b)| a + b).collect();
    assert_eq!(d_row, sum);
    let (out, _, d_row) = run([false; 4]);
    assert_eq!((out, d_row), (x_rows, vec![0.0; 3]));
}

#[test]
fn heads_are_normed_one_by_one() {
    let (x, gain) = (variable((5, 12), 1), row(4, 2));
    hold_equal(&[&x, &gain], &|| head_norm(&x, &gain, 1e-6), &|| {
        let heads = x.reshape((15, 4)).unwrap();
        Ok(unfused::rms_norm(&heads, &gain, 1e-6)?.reshape((5, 12)).unwrap())
    });
}

#[test]
fn a_table_of_several_uses_has_the_sum_of_their_gradients() {
    let (table, states) = (variable((41, 12), 1), variable((4, 12), 2));
    let how = CrossEntropy { labels: vec![0, 40, 7, 7], softcap: None, z_loss: 0.0, teacher: None };
    let weights = [numbers((3, 12), 3), numbers((5, 12), 4)];
    let run = |sum: Option<&TableGradient>| {
        let loss = cross_entropy(&states, &table, &how, sum).unwrap().sum.affine(0.5, 0.0).unwrap();
        let uses = [embed(&table, &[7, 0, 7], 2.0, sum).unwrap(), embed(&table, &[40, 7, 1, 2, 3], 2.0, sum).unwrap()];
        let uses = uses.iter().zip(&weights).map(|(rows, weights)| (rows * weights).unwrap().sum_all().unwrap());
        uses.fold(loss, |all, own| (all + own).unwrap()).backward().unwrap()
    };
    let expected = run(None);
    let sum = TableGradient::default();
    let found = run(Some(&sum));
    assert!(found.get(&table).is_none(), "none of it goes to the graph");
    let of_table = Tensor::from_vec(sum.take().unwrap(), (41, 12), &Device::Cpu).unwrap();
    hold_close("table", &of_table, expected.get(&table).unwrap());
    hold_close("states", found.get(&states).unwrap(), expected.get(&states).unwrap());
    assert!(sum.take().is_none());
}

#[test]
fn what_is_frozen_gets_no_gradient_and_costs_none() {
    let (x, weight) = (variable((4, 6), 1), numbers((6, 6), 2));
    let states = linear(&x, &weight).unwrap();
    let how = CrossEntropy { labels: vec![0, 5, 1, 1], softcap: None, z_loss: 0.0, teacher: None };
    let gradients = cross_entropy(&states, &weight, &how, None).unwrap().sum.backward().unwrap();
    assert!(gradients.get(&x).is_some() && gradients.get(&weight).is_none());
}

#[test]
fn what_does_not_fit_is_an_error() {
    let (x, table) = (numbers((4, 6), 1), numbers((5, 6), 2));
    assert!(embed(&table, &[5], 1.0, None).is_err());
    assert!(linear(&x, &numbers((3, 5), 3)).is_err());
    assert!(geglu(&x, &table, &numbers((4, 6), 3)).is_err());
    assert!(rms_norm(&x, &row(5, 3), 1e-6).is_err());
    assert!(attention(&x, &x, &x, &attending()).is_err());
    let how = |labels| CrossEntropy { labels, softcap: None, z_loss: 0.0, teacher: None };
    assert!(cross_entropy(&x, &table, &how(vec![0, 1, 5, 0]), None).is_err(), "a label outside the vocabulary");
    assert!(cross_entropy(&x, &table, &how(vec![0, 1]), None).is_err(), "fewer labels than rows");
}

#[test]
fn a_step_in_place_equals_that_of_plain_operations() {
    let copies = || [1, 2, 3].map(|seed| variable((3, 50), seed));
    let (ours, theirs) = (copies(), copies());
    for [_, _, second] in [&ours, &theirs] {
        second.set(&second.sqr().unwrap()).unwrap();
    }
    let step = AdamWStep {
        step: 3,
        learning_rate: 0.01,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        gradient_scale: 0.25,
    };
    let gradient = numbers((3, 50), 4);
    let [weight, first, second] = &ours;
    adamw_step(weight, Moments { first, second }, &gradient, &step).unwrap();
    let [weight, first, second] = &theirs;
    step::unfused(weight, Moments { first, second }, &gradient, &step).unwrap();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        hold_close("step", ours, theirs);
    }
    let squares = sum_of_squares(&gradient).unwrap();
    let expected: f64 =
        gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|&x| f64::from(x * x)).sum();
    assert!((squares - expected).abs() < 1e-6 * expected);
}
