//! Draws from logits that a product left on the device, with the best keys of each tile beside them.

use kernels::cuda::{Cuda, Device};
use kernels::reference::{Reference, Rounding};
use kernels::{
    Backend, DType, Draw, Draws, MatrixUse, OutputLayer, ProductOps, RuleId, Sampling, ScoreAsk, Storage, TokenScore,
    WeightFormat, WeightPart,
};

use crate::cases::rules::rules;
use crate::cases::{self, best_ids_are_those_of_the_reference, drawn_ids, numbers, upload};

/// One product whose logits are drawn from.
#[derive(Debug, Clone, Copy)]
struct Product {
    rows: usize,
    cols: usize,
    vocab: usize,
    softcap: Option<f32>,
}

/// Ids drawn by way of the best keys are those that a look at all logits gives.
pub fn ids_drawn_from_products_are_those_of_the_logits<D: Device>(backend: &Cuda<D>) {
    let softcaps = [None, Some(2.0), Some(30.0)].into_iter().cycle();
    for (rows, softcap) in [1, 9, 16, 33, 40, 64, 70].into_iter().zip(softcaps) {
        check(backend, Product { rows, cols: 40, vocab: 1003, softcap });
    }
    // More tiles than a kernel that weighs ids lists.
    check(backend, Product { rows: 1, cols: 8, vocab: 9003, softcap: None });
}

/// Coarse numbers make ties common.
fn coarse(seed: u64, count: usize) -> Vec<f32> {
    numbers(seed, count).iter().map(|value| value.round()).collect()
}

fn check<D: Device>(backend: &Cuda<D>, product: Product) {
    let logits = logits(backend, product);
    let downloaded = backend.download(&logits, product.rows);
    let reference = Reference { rounding: Rounding::Storage };
    let expected = cases::upload_wide(&reference, &downloaded, product.vocab);
    // Rules touch the best id of the first row.
    let row = &downloaded[..product.vocab];
    let best = (0..product.vocab).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a))).unwrap() as u32;
    let (rules, rule_ids) = rules(product.vocab, &[best, 5]);
    let draws = Draws { list: &draws(product, &rule_ids), rules: &rules };
    let ids = drawn_ids(&reference, &expected, draws);
    assert_eq!(drawn_ids(backend, &logits, draws), ids, "{product:?}");
    assert_eq!(ids[0], Some(best), "{product:?}");
    assert_eq!(best_ids(backend, &logits), best_ids(&reference, &expected), "{product:?}");
    if product.rows == 1 {
        let rule_ids = [rule_ids[0], rule_ids[2], rule_ids[8]];
        best_ids_are_those_of_the_reference(backend, &logits, &downloaded, (&rules, &rule_ids));
    }
}

/// Logits on the device. The second row, where there is one, is not of numbers.
fn logits<D: Device>(backend: &Cuda<D>, product: Product) -> kernels::cuda::Activations<D> {
    let Product { rows, cols, vocab, softcap } = product;
    let bytes: Vec<u8> = coarse(40, vocab * cols).iter().flat_map(|w| w.to_le_bytes()).collect();
    let part = WeightPart::Stored { rows: vocab, cols, dtype: DType::F32, bytes: &bytes };
    let table = backend.matrix(&[part], WeightFormat::Bf16, MatrixUse::Output).unwrap();
    let mut values = coarse(41 + rows as u64, rows * cols);
    if rows > 1 {
        values[cols + 3] = f32::NAN;
    }
    let mut logits = backend.wide_activations(rows, vocab).unwrap();
    let output = OutputLayer { table: &table, softcap };
    backend.logits(&upload(backend, &values, cols), output, rows, &mut logits);
    logits
}

/// Ways to draw: greedy, from the best few, from the whole distribution and from its tail.
fn samplings() -> [Sampling; 11] {
    let drawn = Sampling { temperature: 0.7, ..Sampling::GREEDY };
    [
        Sampling::GREEDY,
        drawn,
        Sampling { top_k: 7, ..drawn },
        Sampling { top_k: 40, top_p: 0.8, min_p: 0.001, ..drawn },
        Sampling { top_k: 2000, top_p: 0.5, ..drawn },
        Sampling { temperature: 5.0, top_k: 1, ..drawn },
        Sampling { top_p: 0.9, ..drawn },
        Sampling { min_p: 0.05, ..drawn },
        // All but the least ids, which are not among the best.
        Sampling { temperature: 9.0, top_p: 0.999, ..drawn },
        Sampling { temperature: 9.0, min_p: 0.0001, ..drawn },
        Sampling { temperature: 3.0, top_p: 0.7, min_p: 0.01, ..drawn },
    ]
}

/// Each way without a rule; in a small vocabulary also with the ids banned that end a text (the second rule), and under
/// one of all rules. Then greedy draws until every row had one of each.
fn draws(product: Product, rules: &[Option<RuleId>]) -> Vec<Draw> {
    let ways = samplings();
    let one = |index: u32| {
        let third = index as usize / 3;
        let way = ways.get(third).copied().unwrap_or(Sampling::GREEDY);
        let sampling = Sampling { seed: u64::from(index), ..way };
        let rule = match index % 3 {
            0 => None,
            1 => rules[2],
            // With another number of rows each way meets another rule.
            _ => rules[(third + product.rows) % rules.len()],
        };
        Draw { row: (third % product.rows) as u32, sampling, choice: 0, position: index, rule }
    };
    let count = (3 * product.rows.max(ways.len())) as u32;
    (0..count).filter(|index| product.vocab < 2000 || index % 3 == 0).map(one).collect()
}

/// Rank of an id, and the best ids, of the first row.
fn best_ids<B: Backend>(backend: &B, logits: &B::Activations) -> Vec<(u32, Vec<u32>)> {
    let asked = [0, 4, 50].map(|top| ScoreAsk { row: 0, id: 7, top });
    let mut scores = Vec::new();
    backend.score(logits, &asked, &mut scores);
    let ids = |score: &TokenScore| score.top.iter().map(|candidate| candidate.id).collect();
    scores.iter().map(|score| (score.chosen.rank, ids(score))).collect()
}
