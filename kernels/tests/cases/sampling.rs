//! Drawn ids, under every rule.

use kernels::reference::{Reference, Rounding};
use kernels::{
    Backend, Draw, DrawnRows, Draws, Lookup, MatrixUse, NO_PLACE, OwnRow, RowOps, Sampling, SamplingOps, Storage,
    WeightPart,
};

use super::numbers::{numbers, upload_wide};
use super::rules::rules;
use super::runner::{Runner, both};

/// Computes logits' ids as they are defined.
pub const REFERENCE: Reference = Reference { rounding: Rounding::Storage };

/// Every way to draw.
pub fn samplings() -> [Sampling; 7] {
    [
        Sampling::GREEDY,
        Sampling { temperature: 1.0, ..Sampling::GREEDY },
        Sampling { temperature: 0.7, top_k: 5, ..Sampling::GREEDY },
        Sampling { temperature: 1.3, top_p: 0.8, ..Sampling::GREEDY },
        Sampling { temperature: 1.0, min_p: 0.05, ..Sampling::GREEDY },
        Sampling { temperature: 2.0, top_k: 300, top_p: 0.6, min_p: 0.01, seed: 9 },
        Sampling { temperature: 0.01, top_p: 0.1, ..Sampling::GREEDY },
    ]
}

pub fn sampling_gives_exactly_the_defined_ids<B: Backend>(backend: &B) {
    let vocab = 3000;
    // Coarse values make ties common.
    let logits: Vec<f32> = numbers(16, 4 * vocab).iter().map(|v| (v * 40.0).round() / 4.0).collect();
    let (rules, ids) = rules(vocab, &[17, 2999]);
    // Every way a hundred times from each row; then every way under every rule, as often as there are rows less one.
    let samplings = samplings();
    let ways = samplings.len() * ids.len();
    let draw = |i: usize, rule| {
        let sampling = samplings[i % samplings.len()];
        Draw { row: i as u32 % 4, sampling, choice: i as u32 % 3, position: i as u32, rule }
    };
    let free = (0..400).map(|i| draw(i, None));
    let ruled = (0..3 * ways).map(|i| draw(i, ids[i / samplings.len() % ids.len()]));
    let draws: Vec<Draw> = free.chain(ruled).collect();
    let draws = Draws { list: &draws, rules: &rules };
    let expected = drawn_ids(&REFERENCE, &upload_wide(&REFERENCE, &logits, vocab), draws);
    let actual = drawn_ids(backend, &upload_wide(backend, &logits, vocab), draws);
    assert_eq!(actual, expected, "{}", backend.describe());
    assert!(expected.contains(&None), "a rule that allows nothing leaves nothing to draw");
}

/// A logit that is not a number is found wherever it is. A row of minus infinity alone chooses nothing.
pub fn rows_without_an_order_choose_nothing_under_any_rule<B: Backend>(backend: &B) {
    let vocab = 300;
    let mut logits = numbers(19, 4 * vocab);
    logits[5] = f32::NAN;
    logits[vocab..2 * vocab].fill(f32::NEG_INFINITY);
    logits[2 * vocab + 8] = f32::INFINITY;
    let (rules, ids) = rules(vocab, &[5, 8]);
    let draw = |row, sampling, rule| Draw { sampling, rule, ..Draw::greedy(row) };
    let [greedy, whole, few, ..] = samplings();
    let of_rule =
        |rule| [greedy, whole, few].into_iter().flat_map(move |way| (0..4).map(move |row| draw(row, way, rule)));
    let draws: Vec<Draw> = ids.into_iter().step_by(2).flat_map(of_rule).collect();
    let draws = Draws { list: &draws, rules: &rules };
    let expected = drawn_ids(&REFERENCE, &upload_wide(&REFERENCE, &logits, vocab), draws);
    assert_eq!(drawn_ids(backend, &upload_wide(backend, &logits, vocab), draws), expected, "{}", backend.describe());
    for (draw, id) in draws.list.iter().zip(expected) {
        assert!(draw.row > 1 || id.is_none(), "{draw:?}: {id:?}");
    }
}

/// Draws in two calls and takes all ids at once.
pub fn drawn_ids<B: Backend>(backend: &B, logits: &B::Activations, draws: Draws<'_>) -> Vec<Option<u32>> {
    let mut drawn = backend.drawn(draws.list.len()).unwrap();
    let mut ids = Vec::new();
    let (first, rest) = draws.list.split_at(draws.list.len().min(3));
    backend.sample(logits, Draws { list: first, ..draws }, &mut drawn);
    backend.sample(logits, Draws { list: rest, ..draws }, &mut drawn);
    backend.fetch(&mut drawn);
    backend.take(&mut drawn, &mut ids);
    ids
}

/// Ids that were taken by the host are still embedded; rows without one stay as they are.
pub fn drawn_ids_are_embedded_before_and_after_they_are_taken<B: Backend>(run: &Runner<'_, B>) {
    let (vocab, cols) = (130, 33);
    let draws = [1, 0, 2].map(Draw::greedy);
    let mut logits = numbers(26, 3 * vocab);
    logits[2 * vocab..].fill(f32::NAN);
    both!(run, 0.0, |backend| {
        let part = WeightPart::Random { rows: vocab, cols, seed: 7, deviation: 1.0 };
        let table = backend.matrix(&[part], run.precision.into(), MatrixUse::Lookup).unwrap();
        let mut drawn = backend.drawn(3).unwrap();
        backend.sample(&upload_wide(backend, &logits, vocab), Draws::free(&draws), &mut drawn);
        let mut out = backend.wide_activations(5, cols).unwrap();
        let lookup = Lookup::new(&table, 22.625);
        backend.embed(lookup, &[0, 129, 64, 63, 64], &mut out);
        backend.embed_drawn(lookup, DrawnRows { drawn: &drawn, places: &[1, NO_PLACE, 0] }, &mut out);
        let mut ids = Vec::new();
        backend.take(&mut drawn, &mut ids);
        assert!(ids[0].is_some() && ids[1].is_some() && ids[2].is_none(), "{ids:?}");
        let last = DrawnRows { drawn: &drawn, places: &[NO_PLACE, NO_PLACE, NO_PLACE, 1] };
        backend.embed_drawn(lookup, last, &mut out);
        let row = WeightPart::Random { rows: 1, cols, seed: 8, deviation: 1.0 };
        let row = backend.matrix(&[row], run.precision.into(), MatrixUse::Lookup).unwrap();
        let own = Some(OwnRow { id: ids[0].unwrap_or_default(), row: &row });
        let first = DrawnRows { drawn: &drawn, places: &[NO_PLACE, NO_PLACE, 1, NO_PLACE, 0] };
        backend.embed_drawn(Lookup { own, ..lookup }, first, &mut out);
        backend.download(&out, 5)
    });
}
