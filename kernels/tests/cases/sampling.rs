//! Drawn ids and log-probabilities.

use kernels::reference::{Reference, Rounding};
use kernels::{
    Backend, Candidate, Choice, Draw, DrawnRows, Draws, MatrixUse, NO_PLACE, RowOps, Sampling, SamplingOps, ScoreAsk,
    Storage, WeightPart,
};

use super::numbers::{numbers, upload_wide};
use super::runner::{Runner, both};

pub fn sampling_gives_exactly_the_defined_ids<B: Backend>(backend: &B) {
    let samplings = [
        Sampling::GREEDY,
        Sampling { temperature: 1.0, ..Sampling::GREEDY },
        Sampling { temperature: 0.7, top_k: 5, ..Sampling::GREEDY },
        Sampling { temperature: 1.3, top_p: 0.8, ..Sampling::GREEDY },
        Sampling { temperature: 1.0, min_p: 0.05, ..Sampling::GREEDY },
        Sampling { temperature: 2.0, top_k: 300, top_p: 0.6, min_p: 0.01, seed: 9 },
        Sampling { temperature: 0.01, top_p: 0.1, ..Sampling::GREEDY },
    ];
    let vocab = 3000;
    // Coarse values make ties common.
    let logits: Vec<f32> = numbers(16, 4 * vocab).iter().map(|v| (v * 40.0).round() / 4.0).collect();
    let draws: Vec<Draw> = (0..400_u32)
        .map(|i| {
            let sampling = samplings[i as usize % samplings.len()];
            let choice = Choice { sampling, choice: i % 3, position: i, forbid_end: i % 5 == 0 };
            Draw { row: i % 4, choice }
        })
        .collect();
    let ends = [17, 2999];
    let reference = Reference { rounding: Rounding::Storage };
    let expected = drawn_ids(&reference, &upload_wide(&reference, &logits, vocab), &draws, &ends);
    let actual = drawn_ids(backend, &upload_wide(backend, &logits, vocab), &draws, &ends);
    assert_eq!(actual, expected, "{}", backend.describe());
}

/// Draws in two calls and takes all ids at once.
pub fn drawn_ids<B: Backend>(backend: &B, logits: &B::Activations, draws: &[Draw], ends: &[u32]) -> Vec<Option<u32>> {
    let mut drawn = backend.drawn(draws.len()).unwrap();
    let mut ids = Vec::new();
    let (first, rest) = draws.split_at(draws.len().min(3));
    backend.sample(logits, Draws { draws: first, end_ids: ends }, &mut drawn);
    backend.sample(logits, Draws { draws: rest, end_ids: ends }, &mut drawn);
    backend.fetch(&mut drawn);
    backend.take(&mut drawn, &mut ids);
    ids
}

/// Ids that were taken by the host are still embedded; rows without one stay as they are.
pub fn drawn_ids_are_embedded_before_and_after_they_are_taken<B: Backend>(run: &Runner<'_, B>) {
    let (vocab, cols) = (130, 33);
    let choice = Choice { sampling: Sampling::GREEDY, choice: 0, position: 0, forbid_end: false };
    let draws = [1, 0, 2].map(|row| Draw { row, choice });
    let mut logits = numbers(26, 3 * vocab);
    logits[2 * vocab..].fill(f32::NAN);
    both!(run, 0.0, |backend| {
        let part = WeightPart::Random { rows: vocab, cols, seed: 7, deviation: 1.0 };
        let table = backend.matrix(&[part], run.precision.into(), MatrixUse::Lookup).unwrap();
        let mut drawn = backend.drawn(3).unwrap();
        let draws = Draws { draws: &draws, end_ids: &[] };
        backend.sample(&upload_wide(backend, &logits, vocab), draws, &mut drawn);
        let mut out = backend.wide_activations(5, cols).unwrap();
        backend.embed(&table, &[0, 129, 64, 63, 64], 22.625, &mut out);
        backend.embed_drawn(&table, DrawnRows { drawn: &drawn, places: &[1, NO_PLACE, 0] }, 22.625, &mut out);
        let mut ids = Vec::new();
        backend.take(&mut drawn, &mut ids);
        assert!(ids[0].is_some() && ids[1].is_some() && ids[2].is_none(), "{ids:?}");
        let last = DrawnRows { drawn: &drawn, places: &[NO_PLACE, NO_PLACE, NO_PLACE, 1] };
        backend.embed_drawn(&table, last, 22.625, &mut out);
        backend.download(&out, 5)
    });
}

pub fn scores_follow_the_reference_with_ranks_and_ties<B: Backend>(backend: &B) {
    let vocab = 3000;
    let logits: Vec<f32> = numbers(17, 2 * vocab).iter().map(|v| (v * 60.0).round() / 2.0).collect();
    let asked = [(0, 5, 0), (1, 2999, 20), (0, 0, 1), (1, 77, 5), (0, 1500, 4000)];
    let asked = asked.map(|(row, id, top)| ScoreAsk { row, id, top });
    let reference = Reference { rounding: Rounding::Storage };
    let mut expected = Vec::new();
    reference.score(&upload_wide(&reference, &logits, vocab), &asked, &mut expected);
    let same =
        |a: &Candidate, b: &Candidate| a.id == b.id && a.rank == b.rank && (a.log_prob - b.log_prob).abs() < 1e-5;
    let mut scores = Vec::new();
    backend.score(&upload_wide(backend, &logits, vocab), &asked, &mut scores);
    assert_eq!(scores.len(), expected.len());
    for (score, expected) in scores.iter().zip(&expected) {
        assert!(same(&score.chosen, &expected.chosen), "{:?} {:?}", score.chosen, expected.chosen);
        assert_eq!(score.top.len(), expected.top.len());
        assert!(score.top.iter().zip(&expected.top).all(|(a, b)| same(a, b)));
    }
}

pub fn rows_without_a_distribution_have_no_log_probabilities<B: Backend>(backend: &B) {
    let vocab = 3000;
    let finite = numbers(18, vocab);
    let row = |changed: &[(usize, f32)]| {
        let mut row = finite.clone();
        changed.iter().for_each(|&(id, logit)| row[id] = logit);
        row
    };
    let (lowest, none) = (f32::NEG_INFINITY, f32::NAN);
    let rows = [
        (row(&[]), true),
        (row(&[(7, lowest), (2999, lowest)]), true),
        (row(&[(2999, none)]), false),
        (row(&[(0, f32::INFINITY)]), false),
        (vec![none; vocab], false),
        (vec![lowest; vocab], false),
    ];
    let logits: Vec<f32> = rows.iter().flat_map(|(row, _)| row).copied().collect();
    let asks = |row: u32| [(7, 0), (0, 3)].map(|(id, top)| ScoreAsk { row, id, top });
    let asked: Vec<ScoreAsk> = (0..).zip(&rows).flat_map(|(row, _)| asks(row)).collect();
    let mut scores = Vec::new();
    backend.score(&upload_wide(backend, &logits, vocab), &asked, &mut scores);
    for (ask, score) in asked.iter().zip(&scores) {
        assert_eq!(score.is_of_distribution(), rows[ask.row as usize].1, "{ask:?}: {score:?}");
        assert_eq!(
            score.top.iter().all(|candidate| candidate.log_prob.is_nan()),
            !score.is_of_distribution() || ask.top == 0
        );
    }
    assert_eq!(scores[2].chosen.log_prob, lowest, "an impossible id of a row that is otherwise sound");
}
