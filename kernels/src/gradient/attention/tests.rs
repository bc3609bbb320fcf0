//! Attention against its textbook form.

use super::*;
use crate::RopeSpec;
use crate::gradient::tests::{hold_gradient, hold_values, inner, numbers, on_threads, wide};

/// One head's row, rotated by its position.
fn head(how: &Attention, rows: &[f64], width: usize, at: (usize, usize, usize)) -> Vec<f64> {
    let (first, position, head) = at;
    let dim = how.head_dim;
    let values = &rows[(first + position) * width + head * dim..][..dim];
    let Some(theta) = how.rope_theta else {
        return values.to_vec();
    };
    let half = dim / 2;
    let rotate = |i: usize| {
        let pair = i % half;
        let angle = f64::from(crate::reference::rope_angle(position, pair, dim, RopeSpec::unscaled(theta)));
        let (x, y) = (values[pair], values[pair + half]);
        if i < half { x * angle.cos() - y * angle.sin() } else { y * angle.cos() + x * angle.sin() }
    };
    (0..dim).map(rotate).collect()
}

fn sees(how: &Attention, query: usize, key: usize) -> bool {
    match (how.causal, how.window) {
        (true, window) => key <= query && window.is_none_or(|window| key + window > query),
        (false, window) => window.is_none_or(|window| query.abs_diff(key) <= window),
    }
}

fn textbook(how: &Attention, q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
    let unrotated = Attention { rope_theta: None, ..how.clone() };
    let (mut out, mut first_query, mut first_key) = (Vec::new(), 0, 0);
    for (&queries, &keys) in how.queries.iter().zip(&how.keys) {
        for (query, h) in (0..queries).flat_map(|query| (0..how.heads).map(move |h| (query, h))) {
            let kv_head = h / (how.heads / how.kv_heads);
            let q = head(how, q, how.query_width(), (first_query, query, h));
            let seen: Vec<usize> = (0..keys).filter(|&key| sees(how, query, key)).collect();
            let score = |&key: &usize| {
                let k = head(how, k, how.key_width(), (first_key, key, kv_head));
                let score = f64::from(how.scale) * q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>();
                how.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
            };
            let weights: Vec<f64> = seen.iter().map(score).map(f64::exp).collect();
            let sum: f64 = weights.iter().sum();
            let mask = how.dropout.map(|how_| how_.row(((first_query + query) * how.heads + h) as u64));
            let mut values = vec![0.0; how.head_dim];
            for (&key, weight) in seen.iter().zip(&weights) {
                let factor = mask.map_or(1.0, |mask| f64::from(mask.factor(key as u32)));
                let v = head(&unrotated, v, how.key_width(), (first_key, key, kv_head));
                values.iter_mut().zip(v).for_each(|(out, v)| *out += weight / sum * factor * v);
            }
            out.extend(values);
        }
        (first_query, first_key) = (first_query + queries, first_key + keys);
    }
    out
}

/// A case with rows of several lengths, grouped heads, rotation and softcap.
fn plain() -> Attention {
    Attention {
        queries: vec![5, 1, 9],
        keys: vec![5, 1, 9],
        heads: 4,
        kv_heads: 2,
        head_dim: 6,
        scale: 0.5,
        softcap: Some(2.0),
        causal: false,
        window: None,
        rope_theta: Some(100.0),
        dropout: None,
    }
}

fn hold(how: &Attention) {
    let (queries, keys): (usize, usize) = (how.queries.iter().sum(), how.keys.iter().sum());
    let q = numbers(queries * how.query_width(), 1);
    let (k, v) = (numbers(keys * how.key_width(), 2), numbers(keys * how.key_width(), 3));
    let d_out = numbers(q.len(), 4);
    let inputs = AttentionInputs { q: &q, k: &k, v: &v };
    let attended = attend(how, inputs);
    let (wide_q, wide_k, wide_v) = (wide(&q), wide(&k), wide(&v));
    hold_values(&attended.out, &textbook(how, &wide_q, &wide_k, &wide_v));
    let [d_q, d_k, d_v] = attend_backward(how, inputs, attended.borrowed(), &d_out);
    hold_gradient(&d_q, &q, |q| inner(&textbook(how, q, &wide_k, &wide_v), &d_out));
    hold_gradient(&d_k, &k, |k| inner(&textbook(how, &wide_q, k, &wide_v), &d_out));
    hold_gradient(&d_v, &v, |v| inner(&textbook(how, &wide_q, &wide_k, v), &d_out));
}

#[test]
fn attention_and_its_gradients_follow_the_textbook() {
    hold(&plain());
    hold(&Attention { causal: true, softcap: None, ..plain() });
    hold(&Attention { causal: true, window: Some(3), kv_heads: 1, ..plain() });
    hold(&Attention { window: Some(2), kv_heads: 4, rope_theta: None, ..plain() });
}

#[test]
fn queries_and_keys_of_a_row_may_differ_in_number() {
    let cross = Attention { queries: vec![3, 7, 0, 1], keys: vec![8, 2, 4, 1], rope_theta: None, ..plain() };
    hold(&cross);
    hold(&Attention { kv_heads: 1, ..cross });
}

#[test]
fn dropped_weights_have_no_gradient() {
    let dropout = Some(Dropout { rate: 0.4, key: 11 });
    hold(&Attention { dropout, ..plain() });
    hold(&Attention { dropout, causal: true, window: Some(4), ..plain() });
}

#[test]
fn a_row_of_several_blocks_is_as_one() {
    let one_row = |window, causal| Attention {
        queries: vec![300],
        keys: vec![300],
        heads: 1,
        kv_heads: 1,
        head_dim: 2,
        window,
        causal,
        ..plain()
    };
    for how in [one_row(None, true), one_row(Some(9), false), one_row(Some(140), true)] {
        let (q, k, v, d_out) = (numbers(600, 1), numbers(600, 2), numbers(600, 3), numbers(600, 4));
        let inputs = AttentionInputs { q: &q, k: &k, v: &v };
        let attended = attend(&how, inputs);
        let (wide_q, wide_k, wide_v) = (wide(&q), wide(&k), wide(&v));
        hold_values(&attended.out, &textbook(&how, &wide_q, &wide_k, &wide_v));
        let gradients = attend_backward(&how, inputs, attended.borrowed(), &d_out);
        let last = |at: usize, by: f64| {
            let mut moved = wide_k.clone();
            moved[at] += by;
            inner(&textbook(&how, &wide_q, &moved, &wide_v), &d_out)
        };
        for at in [0, 1, 255, 256, 257, 511, 512, 599] {
            let expected = (last(at, 1e-5) - last(at, -1e-5)) / 2e-5;
            assert!((f64::from(gradients[1][at]) - expected).abs() < 1e-5 + 2e-5 * expected.abs());
        }
    }
}

#[test]
fn gradients_have_the_same_bits_on_any_number_of_threads() {
    let how = Attention { queries: vec![70, 3, 150], keys: vec![70, 3, 150], ..plain() };
    let q = numbers(223 * how.query_width(), 1);
    let (k, v) = (numbers(223 * how.key_width(), 2), numbers(223 * how.key_width(), 3));
    let inputs = AttentionInputs { q: &q, k: &k, v: &v };
    let run = || {
        let attended = attend(&how, inputs);
        let gradients = attend_backward(&how, inputs, attended.borrowed(), &q);
        (attended, gradients)
    };
    assert_eq!(on_threads(1, run), on_threads(3, run));
}

#[test]
fn a_query_that_sees_nothing_gives_nothing() {
    let how = Attention { queries: vec![4], keys: vec![1], causal: true, window: Some(2), rope_theta: None, ..plain() };
    hold_values(
        &attend(&how, AttentionInputs { q: &numbers(4 * how.query_width(), 1), k: &numbers(12, 2), v: &[1.0; 12] }).out,
        &[vec![1.0; 2 * how.query_width()], vec![0.0; 2 * how.query_width()]].concat(),
    );
}
