//! Log-probabilities, ranks and best ids.

use kernels::{Backend, BestAsk, Candidate, DrawRules, RuleId, SamplingOps, ScoreAsk};

use super::numbers::{numbers, upload_wide};
use super::rules::rules;
use super::sampling::REFERENCE;

pub fn scores_follow_the_reference_with_ranks_and_ties<B: Backend>(backend: &B) {
    let vocab = 3000;
    let logits: Vec<f32> = numbers(17, 2 * vocab).iter().map(|v| (v * 60.0).round() / 2.0).collect();
    let asked = [(0, 5, 0), (1, 2999, 20), (0, 0, 1), (1, 77, 5), (0, 1500, 4000)];
    let asked = asked.map(|(row, id, top)| ScoreAsk { row, id, top });
    let mut expected = Vec::new();
    REFERENCE.score(&upload_wide(&REFERENCE, &logits, vocab), &asked, &mut expected);
    let mut scores = Vec::new();
    backend.score(&upload_wide(backend, &logits, vocab), &asked, &mut scores);
    assert_eq!(scores.len(), expected.len());
    for (score, expected) in scores.iter().zip(&expected) {
        assert!(is_like(&score.chosen, &expected.chosen), "{:?} {:?}", score.chosen, expected.chosen);
        assert_alike(&score.top, &expected.top, &backend.describe());
    }
}

fn is_like(a: &Candidate, b: &Candidate) -> bool {
    a.id == b.id && a.rank == b.rank && (a.log_prob - b.log_prob).abs() < 1e-5
}

#[track_caller]
fn assert_alike(actual: &[Candidate], expected: &[Candidate], label: &str) {
    let are_alike = actual.len() == expected.len() && actual.iter().zip(expected).all(|(a, b)| is_like(a, b));
    assert!(are_alike, "{label}: {actual:?}, the reference has {expected:?}");
}

pub fn best_ids_follow_the_reference_under_every_rule<B: Backend>(backend: &B) {
    let vocab = 3000;
    // Coarse values make ties common, but not with penalised ones.
    let logits: Vec<f32> = numbers(27, 3 * vocab).iter().map(|v| (v * 30.0).round() / 4.0).collect();
    let logits = [logits, vec![f32::NAN; vocab], vec![f32::NEG_INFINITY; vocab]].concat();
    let (rules, ids) = rules(vocab, &[40, 1999, 3]);
    best_ids_are_those_of_the_reference(backend, &upload_wide(backend, &logits, vocab), &logits, (&rules, &ids));
}

/// Asks for the best ids of rows that are in the host's memory as well, under rules, in one call.
pub fn best_ids_are_those_of_the_reference<B: Backend>(
    backend: &B,
    rows: &B::Activations,
    logits: &[f32],
    (rules, ids): (&DrawRules, &[Option<RuleId>]),
) {
    let vocab = backend.download(rows, 1).len();
    let count = (logits.len() / vocab) as u32;
    let asks = |rule: Option<RuleId>| (0..count).map(move |row| (row, rule));
    let counts = [32, 1, 7, 0, 200].into_iter().cycle();
    let asked: Vec<BestAsk> = ids
        .iter()
        .flat_map(|&rule| asks(rule))
        .zip(counts)
        .map(|((row, rule), count)| BestAsk { row, count, rule })
        .collect();
    let (mut expected, mut actual) = (Vec::new(), vec![Vec::new()]);
    REFERENCE.best(&upload_wide(&REFERENCE, logits, vocab), &asked, rules, &mut expected);
    backend.best(rows, &asked, rules, &mut actual);
    assert_eq!(actual.len(), 1 + asked.len(), "lists are appended");
    for ((ask, actual), expected) in asked.iter().zip(&actual[1..]).zip(&expected) {
        assert_alike(actual, expected, &format!("{}: {ask:?}", backend.describe()));
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
