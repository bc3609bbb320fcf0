//! Attention against its textbook form.

use super::*;
use crate::gradient::tests::{hold_gradient, hold_values, inner, numbers, on_threads, wide};
use crate::rope::RopeScaling;

/// A window that ends with the query, of the last `limit` positions.
const fn causal(limit: Option<usize>) -> Window {
    let left = match limit {
        Some(limit) => Some(limit - 1),
        None => None,
    };
    Window { left, right: Some(0) }
}

/// One head's row, rotated by its position.
fn head(how: &Attention, rows: &[f64], width: usize, at: (usize, usize, usize)) -> Vec<f64> {
    let (first, position, head) = at;
    let dim = how.head_dim;
    let values = &rows[(first + position) * width + head * dim..][..dim];
    let Some(spec) = how.rope else {
        return values.to_vec();
    };
    let half = dim / 2;
    let rotate = |i: usize| {
        let pair = i % half;
        let angle = f64::from(crate::reference::rope_angle(position, pair, dim, spec));
        let (x, y) = (values[pair], values[pair + half]);
        if i < half { x * angle.cos() - y * angle.sin() } else { y * angle.cos() + x * angle.sin() }
    };
    (0..dim).map(rotate).collect()
}

fn sees(how: &Attention, query: usize, key: usize) -> bool {
    let Window { left, right } = how.window;
    left.is_none_or(|left| key + left >= query) && right.is_none_or(|right| key <= query + right)
}

fn textbook(how: &Attention, q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
    let unrotated = Attention { rope: None, ..how.clone() };
    let (mut out, mut first_query, mut first_key) = (Vec::new(), 0, 0);
    let mut first_source: usize = how.keys.iter().sum();
    for (row, (&queries, &keys)) in how.queries.iter().zip(&how.keys).enumerate() {
        let source_keys = how.source_keys.get(row).copied().unwrap_or(0);
        for (query, h) in (0..queries).flat_map(|query| (0..how.heads).map(move |h| (query, h))) {
            let kv_head = h / (how.heads / how.kv_heads);
            let q = head(how, q, how.query_width(), (first_query, query, h));
            // Keys of the source come first in the order of dropout.
            let source = (0..source_keys).map(|key| (key, &unrotated, first_source, key));
            let own = (0..keys).filter(|&key| sees(how, query, key));
            let own = own.map(|key| (source_keys + key, how, first_key, key));
            let seen: Vec<_> = source.chain(own).collect();
            let score = |&(_, rotation, first, key): &(usize, &Attention, usize, usize)| {
                let k = head(rotation, k, how.key_width(), (first, key, kv_head));
                let score = f64::from(how.scale) * q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>();
                how.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
            };
            let weights: Vec<f64> = seen.iter().map(score).map(f64::exp).collect();
            let sum: f64 = weights.iter().sum();
            let mask = how.dropout.map(|how_| how_.row(((first_query + query) * how.heads + h) as u64));
            let mut values = vec![0.0; how.head_dim];
            for (&(number, _, first, key), weight) in seen.iter().zip(&weights) {
                let factor = mask.map_or(1.0, |mask| f64::from(mask.factor(number as u32)));
                let v = head(&unrotated, v, how.key_width(), (first, key, kv_head));
                values.iter_mut().zip(v).for_each(|(out, v)| *out += weight / sum * factor * v);
            }
            out.extend(values);
        }
        (first_query, first_key) = (first_query + queries, first_key + keys);
        first_source += source_keys;
    }
    out
}

/// A case with rows of several lengths, grouped heads, rotation and softcap.
fn plain() -> Attention {
    Attention {
        queries: vec![5, 1, 9],
        keys: vec![5, 1, 9],
        source_keys: Vec::new(),
        heads: 4,
        kv_heads: 2,
        head_dim: 6,
        scale: 0.5,
        softcap: Some(2.0),
        window: Window::default(),
        rope: Some(RopeSpec::unscaled(100.0)),
        dropout: None,
    }
}

fn hold(how: &Attention) {
    let (queries, keys): (usize, usize) = (how.queries.iter().sum(), how.key_count());
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
    hold(&Attention { window: causal(None), softcap: None, ..plain() });
    hold(&Attention { window: causal(Some(3)), kv_heads: 1, ..plain() });
    hold(&Attention { window: Window::symmetric(Some(2)), kv_heads: 4, rope: None, ..plain() });
}

#[test]
fn queries_and_keys_of_a_row_may_differ_in_number() {
    let cross = Attention { queries: vec![3, 7, 0, 1], keys: vec![8, 2, 4, 1], rope: None, ..plain() };
    hold(&cross);
    hold(&Attention { kv_heads: 1, ..cross });
}

#[test]
fn dropped_weights_have_no_gradient() {
    let dropout = Some(Dropout { rate: 0.4, key: 11 });
    hold(&Attention { dropout, ..plain() });
    hold(&Attention { dropout, window: causal(Some(4)), ..plain() });
}

#[test]
fn a_window_may_have_different_sides_and_positions_may_be_stretched() {
    let scaling = RopeScaling::Linear { factor: 8.0 };
    let rope = Some(RopeSpec { theta: 100.0, scaling });
    hold(&Attention { window: Window { left: Some(1), right: Some(3) }, rope, softcap: None, ..plain() });
    hold(&Attention { window: Window { left: Some(4), right: Some(0) }, rope, kv_heads: 1, ..plain() });
}

/// Keys of the row itself and of a source under one softmax.
fn merged() -> Attention {
    Attention { source_keys: vec![3, 7, 4], softcap: None, window: causal(None), ..plain() }
}

#[test]
fn one_softmax_runs_over_a_row_and_its_source() {
    hold(&merged());
    hold(&Attention { window: causal(Some(3)), kv_heads: 1, ..merged() });
    hold(&Attention { window: causal(Some(1)), kv_heads: 4, softcap: Some(2.0), ..merged() });
    hold(&Attention { source_keys: vec![3, 0, 4], window: causal(Some(2)), ..merged() });
    let dropout = Some(Dropout { rate: 0.4, key: 12 });
    hold(&Attention { dropout, window: causal(Some(3)), ..merged() });
}

#[test]
fn an_empty_source_changes_no_bit() {
    let (alone, merged) = (Attention { source_keys: Vec::new(), ..merged() }, merged());
    let empty = Attention { source_keys: vec![0; 3], ..merged };
    let q = numbers(15 * alone.query_width(), 1);
    let (k, v) = (numbers(15 * alone.key_width(), 2), numbers(15 * alone.key_width(), 3));
    let run = |how: &Attention| {
        let inputs = AttentionInputs { q: &q, k: &k, v: &v };
        let attended = attend(how, inputs);
        let gradients = attend_backward(how, inputs, attended.borrowed(), &q);
        (attended, gradients)
    };
    assert_eq!(run(&alone), run(&empty));
}

#[test]
fn a_merged_row_of_several_blocks_is_as_one() {
    // Later blocks see no key of the row's beginning, so their columns are two parts.
    let how = Attention {
        queries: vec![2, 300],
        keys: vec![2, 300],
        source_keys: vec![1, 70],
        heads: 1,
        kv_heads: 1,
        head_dim: 2,
        window: causal(Some(40)),
        ..merged()
    };
    let keys = 2 * how.key_count();
    let (q, k, v, d_out) = (numbers(604, 1), numbers(keys, 2), numbers(keys, 3), numbers(604, 4));
    let inputs = AttentionInputs { q: &q, k: &k, v: &v };
    let attended = attend(&how, inputs);
    let (wide_q, wide_k, wide_v) = (wide(&q), wide(&k), wide(&v));
    hold_values(&attended.out, &textbook(&how, &wide_q, &wide_k, &wide_v));
    let gradients = attend_backward(&how, inputs, attended.borrowed(), &d_out);
    let moved = |which: usize, at: usize, by: f64| {
        let mut inputs = [wide_q.clone(), wide_k.clone(), wide_v.clone()];
        inputs[which][at] += by;
        let [q, k, v] = inputs;
        inner(&textbook(&how, &q, &k, &v), &d_out)
    };
    // The last are those of the sources.
    for (which, at) in
        [(0, 3), (0, 603), (1, 0), (1, 4), (1, 257), (1, 603), (1, 604), (1, 607), (1, 700), (1, keys - 1)]
            .into_iter()
            .chain([(2, 5), (2, 603), (2, 605), (2, keys - 2)])
    {
        let expected = (moved(which, at, 1e-5) - moved(which, at, -1e-5)) / 2e-5;
        let found = f64::from(gradients[which][at]);
        assert!((found - expected).abs() < 1e-5 + 2e-5 * expected.abs(), "{which} {at}: {found} for {expected}");
    }
}

#[test]
fn a_row_of_several_blocks_is_as_one() {
    let one_row = |window| Attention {
        queries: vec![300],
        keys: vec![300],
        heads: 1,
        kv_heads: 1,
        head_dim: 2,
        window,
        ..plain()
    };
    for how in [one_row(causal(None)), one_row(Window::symmetric(Some(9))), one_row(causal(Some(140)))] {
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
    let plain = Attention { queries: vec![70, 3, 150], keys: vec![70, 3, 150], ..plain() };
    hold_threads(&plain);
    hold_threads(&Attention { source_keys: vec![20, 90, 4], window: causal(Some(30)), ..plain });
}

fn hold_threads(how: &Attention) {
    let (q, keys) = (numbers(223 * how.query_width(), 1), how.key_count() * how.key_width());
    let (k, v) = (numbers(keys, 2), numbers(keys, 3));
    let inputs = AttentionInputs { q: &q, k: &k, v: &v };
    let run = || {
        let attended = attend(how, inputs);
        let gradients = attend_backward(how, inputs, attended.borrowed(), &q);
        (attended, gradients)
    };
    assert_eq!(on_threads(1, run), on_threads(3, run));
}

#[test]
fn a_query_that_sees_nothing_gives_nothing() {
    let how = Attention { queries: vec![4], keys: vec![1], window: causal(Some(2)), rope: None, ..plain() };
    hold_values(
        &attend(&how, AttentionInputs { q: &numbers(4 * how.query_width(), 1), k: &numbers(12, 2), v: &[1.0; 12] }).out,
        &[vec![1.0; 2 * how.query_width()], vec![0.0; 2 * how.query_width()]].concat(),
    );
}
