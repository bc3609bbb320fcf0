//! Ids chosen by screening the output table are the ids that all logits would give: on random tables, and on tables
//! made to mislead, on every instruction set and in both precisions of the table.
#![allow(clippy::unwrap_used)]

#[path = "cases/rules.rs"]
mod rules;

use kernels::cpu::{Cpu, Isa};
use kernels::{
    Backend, ChosenRows, DType, Draw, DrawRule, DrawRules, Draws, LogitEdit, MatrixUse, OutputLayer, Precision, RuleId,
    Sampling, SamplingOps, Storage, Stream, TokenMask, WeightPart,
};
use rules::rules;

const COLS: usize = 128;
const ENDS: [u32; 2] = [1, 107];

fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut out = vec![0.0; count];
    WeightPart::Random { rows: 1, cols: count, seed, deviation: 1.0 }.read_row(0, &mut out);
    out
}

/// A table with rows of activations.
struct Case {
    name: &'static str,
    vocab: usize,
    table: Vec<f32>,
    x: Vec<f32>,
    softcap: Option<f32>,
}

impl Case {
    fn random(name: &'static str, vocab: usize, rows: usize) -> Self {
        Self { name, vocab, table: numbers(1, vocab * COLS), x: numbers(2, rows * COLS), softcap: Some(30.0) }
    }

    fn rows(&self) -> usize {
        self.x.len() / COLS
    }

    fn row(&mut self, id: usize) -> &mut [f32] {
        &mut self.table[id * COLS..][..COLS]
    }
}

/// Tables in which the best ids are hard to tell apart, or numbers are no numbers.
fn cases() -> Vec<Case> {
    let mut cases = vec![Case::random("random", 5000, 9), Case::random("a ragged last panel", 1003, 7)];
    cases.push(Case::random("more rows than a tile has", 700, 37));
    cases.push(Case { softcap: None, ..Case::random("no softcap", 2000, 3) });

    let mut equal = Case::random("the best row many times over", 4096, 2);
    let best: Vec<f32> = equal.x[..COLS].iter().map(|x| x * 2.0).collect();
    for id in [4000, 77, 1500, 107, 1, 3999] {
        equal.row(id).copy_from_slice(&best);
    }
    cases.push(equal);

    let mut close = Case::random("rows a last bit apart", 4096, 3);
    let best: Vec<f32> = close.x[..COLS].iter().map(|x| f32::from_bits((2.0 * x).to_bits() & 0xffff_0000)).collect();
    for index in 0..200 {
        let row = close.row(index * 20 + 3);
        row.copy_from_slice(&best);
        // One bfloat16 step up or down in one place, by as little as the place weighs.
        let bits = row[index % COLS].to_bits();
        row[index % COLS] = f32::from_bits(if index % 3 == 0 { bits + 0x1_0000 } else { bits - 0x1_0000 });
    }
    cases.push(close);

    let mut saturated = Case::random("logits that the softcap makes equal", 3000, 4);
    saturated.table.iter_mut().for_each(|w| *w *= 40.0);
    cases.push(saturated);
    cases.push(Case { softcap: Some(0.01), ..Case::random("a softcap that flattens", 3000, 4) });

    let mut negative = Case::random("all logits negative", 1000, 1);
    let x = negative.x.clone();
    for id in 0..1000 {
        let share = 1.0 + (id * 37 % 1000) as f32 / 1000.0;
        negative.row(id).iter_mut().zip(&x).for_each(|(w, x)| *w = -x * share);
    }
    cases.push(negative);

    let mut uneven = Case::random("rows of very different size", 3000, 3);
    for id in 0..3000 {
        let factor = 2.0_f32.powi(id as i32 % 24 - 16);
        uneven.row(id).iter_mut().for_each(|w| *w *= factor);
        uneven.row(id)[id % COLS] *= 60.0;
    }
    cases.push(uneven);

    let mut outlier = Case::random("an outlier in the activations", 3000, 2);
    (outlier.x[5], outlier.x[COLS + 90]) = (900.0, -1e6);
    cases.push(outlier);
    cases.push(Case { x: vec![0.0; 2 * COLS], ..Case::random("nothing but zeros", 700, 2) });
    let mut huge = Case::random("numbers near overflow", 500, 2);
    huge.table.iter_mut().for_each(|w| *w *= 1e18);
    huge.x.iter_mut().for_each(|x| *x *= 1e16);
    cases.push(huge);
    let mut tiniest = Case::random("numbers near zero", 500, 2);
    tiniest.table.iter_mut().for_each(|w| *w *= 1e-37);
    cases.push(tiniest);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut row = Case::random("a row of activations that is no number", 1000, 4);
        row.x[COLS + 3] = bad;
        cases.push(row);
        let mut bare = Case { softcap: None, ..Case::random("without a softcap no number, or infinite", 1000, 3) };
        bare.row(640)[5] = bad;
        bare.x[COLS + 3] = bad;
        cases.push(bare);
        let mut table = Case::random("a row of the table that is no number", 1000, 3);
        table.row(640)[5] = bad;
        cases.push(table);
    }
    cases
}

fn samplings() -> Vec<Sampling> {
    let plain = Sampling { temperature: 1.0, top_k: 40, top_p: 1.0, min_p: 0.0, seed: 3 };
    vec![
        Sampling::GREEDY,
        plain,
        Sampling { top_k: 1, ..plain },
        Sampling { temperature: 0.3, top_k: 7, top_p: 0.8, ..plain },
        Sampling { temperature: 1.9, top_k: Sampling::NARROW, min_p: 0.02, ..plain },
    ]
}

/// Draws from each row, each under rules of its own.
fn draws(rows: usize, sampling: Sampling, rules: &[Option<RuleId>]) -> Vec<Draw> {
    assert!(sampling.is_narrow());
    let draw = |index: u32| Draw {
        row: index % rows as u32,
        sampling,
        choice: index / 3,
        position: index,
        rule: rules[index as usize % rules.len()],
    };
    (0..rules.len().max(2 * rows) as u32).map(draw).collect()
}

/// Ids by screening and ids from all logits, and how many of the logits screening computed.
fn both<B: Backend>(backend: &B, case: &Case, precision: Precision, draws: Draws<'_>) -> [Vec<Option<u32>>; 2] {
    let bytes: Vec<u8> = case.table.iter().flat_map(|w| w.to_le_bytes()).collect();
    let part = WeightPart::Stored { rows: case.vocab, cols: COLS, dtype: DType::F32, bytes: &bytes };
    let table = backend.matrix(&[part], precision.into(), MatrixUse::Output).unwrap();
    let mut x = backend.activations(case.rows(), COLS).unwrap();
    backend.upload(&case.x, &mut x);
    let mut logits = backend.activations(case.rows(), case.vocab).unwrap();
    let output = OutputLayer { table: &table, softcap: case.softcap };
    let [mut screened, mut whole] = [(); 2].map(|()| backend.drawn(draws.list.len()).unwrap());
    backend.choose(&x, output, draws, ChosenRows { logits: &mut logits, ids: &mut screened });
    backend.logits(&x, output, case.rows(), &mut logits);
    backend.sample(&logits, draws, &mut whole);
    [screened, whole].map(|mut drawn| {
        // Ids are appended to what is there.
        let mut ids = vec![Some(7)];
        backend.take(&mut drawn, &mut ids);
        ids
    })
}

#[test]
fn screening_chooses_what_all_logits_choose() {
    for case in cases() {
        let (rules, ids) = rules(case.vocab, &ENDS);
        for precision in [Precision::F32, Precision::Bf16] {
            for (isa, threads) in Isa::all().flat_map(|isa| [(isa, 1), (isa, 2)]) {
                let cpu = Cpu::new(isa, threads);
                for sampling in samplings() {
                    let draws = draws(case.rows(), sampling, &ids);
                    let draws = Draws { list: &draws, rules: &rules };
                    let [screened, whole] = both(&cpu, &case, precision, draws);
                    assert_eq!(screened, whole, "{}, {precision:?}, {}, {sampling:?}", case.name, cpu.describe());
                }
            }
        }
    }
}

/// The vocabulary of T5Gemma 2, which caps no logits. The best ids stand at the ends of the table and of its panels.
#[test]
fn screening_chooses_what_all_logits_choose_of_262144_rows() {
    const VOCAB: usize = 262_144;
    let mut case = Case { softcap: None, ..Case::random("the vocabulary of the second generation", VOCAB, 5) };
    for (row, id) in [(1, VOCAB - 1), (2, 0), (3, VOCAB / 2 + 63), (4, VOCAB / 2 + 64)] {
        let best: Vec<f32> = case.x[row * COLS..][..COLS].iter().map(|x| x * 2.0).collect();
        case.row(id).copy_from_slice(&best);
    }
    let (rules, ids) = rules(VOCAB, &ENDS);
    let samplings = samplings();
    for precision in [Precision::F32, Precision::Bf16] {
        for isa in Isa::all() {
            let cpu = Cpu::new(isa, 2);
            for sampling in [samplings[0], samplings[1]] {
                let draws = draws(case.rows(), sampling, &ids);
                let [screened, whole] = both(&cpu, &case, precision, Draws { list: &draws, rules: &rules });
                assert_eq!(screened, whole, "{precision:?}, {}, {sampling:?}", cpu.describe());
            }
            let greedy: Vec<Draw> = (1..5).map(Draw::greedy).collect();
            let [screened, _] = both(&cpu, &case, precision, Draws { list: &greedy, rules: &DrawRules::default() });
            let best = [VOCAB - 1, 0, VOCAB / 2 + 63, VOCAB / 2 + 64].map(|id| Some(id as u32));
            assert_eq!(screened[1..], best, "{precision:?}, {}", cpu.describe());
        }
    }
}

#[test]
fn equal_logits_go_to_the_lowest_id_that_is_allowed() {
    let case = cases().into_iter().find(|case| case.name == "the best row many times over").unwrap();
    let mut rules = DrawRules::default();
    let ban = rules.add(DrawRule::ban(&ENDS));
    let draws = [None, Some(ban)].map(|rule| Draw { rule, ..Draw::greedy(0) });
    for isa in Isa::all() {
        let draws = Draws { list: &draws, rules: &rules };
        let [screened, _] = both(&Cpu::new(isa, 1), &case, Precision::Bf16, draws);
        assert_eq!(screened[1..], [Some(1), Some(77)]);
    }
}

/// How many logits a choice computes: those that keep their marker, which is not a number, were not computed.
fn computed(cpu: &Cpu, case: &Case, draws: Draws<'_>) -> usize {
    let bytes: Vec<u8> = case.table.iter().flat_map(|w| w.to_le_bytes()).collect();
    let part = WeightPart::Stored { rows: case.vocab, cols: COLS, dtype: DType::F32, bytes: &bytes };
    let table = cpu.matrix(&[part], Precision::Bf16.into(), MatrixUse::Output).unwrap();
    let mut x = cpu.activations(case.rows(), COLS).unwrap();
    cpu.upload(&case.x, &mut x);
    let mut logits = cpu.activations(case.rows(), case.vocab).unwrap();
    cpu.upload(&vec![f32::NAN; case.rows() * case.vocab], &mut logits);
    let output = OutputLayer { table: &table, softcap: case.softcap };
    let mut drawn = cpu.drawn(draws.list.len()).unwrap();
    cpu.choose(&x, output, draws, ChosenRows { logits: &mut logits, ids: &mut drawn });
    cpu.download(&logits, case.rows()).iter().filter(|z| !z.is_nan()).count()
}

#[test]
fn only_panels_that_may_matter_are_multiplied_exactly() {
    let case = Case::random("random", 64_000, 4);
    let lowered: Vec<LogitEdit> = (0..500).map(|index| LogitEdit::penalty(index * 127, 1.2)).collect();
    let raised: Vec<LogitEdit> = (0..5).map(|index| LogitEdit::bias(index * 12_000, 0.5)).collect();
    // Panels of 64 ids: allowed whole, or with one id refused in each of a third of them.
    let third: Vec<u32> = (0..2000).map(|word| if word / 2 % 3 == 0 { !0 } else { 0 }).collect();
    let holes: Vec<u32> = (0..2000).map(|word| if word % 6 == 0 { !8 } else { !0 }).collect();
    let [third, holes] = [&third, &holes].map(|words| Some(TokenMask { words }));
    let free = DrawRule::default();
    let list = [
        free,
        DrawRule::ban(&ENDS),
        DrawRule { edits: &lowered, ..free },
        DrawRule { edits: &raised, ..free },
        DrawRule { mask: third, ..free },
        DrawRule { mask: holes, ..free },
    ];
    for (isa, rule) in Isa::all().flat_map(|isa| list.map(|rule| (isa, rule))) {
        let mut rules = DrawRules::default();
        let rule = Some(rules.add(rule));
        let draws = [0, 1, 2, 3].map(|row| Draw { rule, ..Draw::greedy(row) });
        let computed = computed(&Cpu::new(isa, 2), &case, Draws { list: &draws, rules: &rules });
        let most = 4 * case.vocab / 50;
        assert!((4..=most).contains(&computed), "{isa:?}, {:?}: {computed}", rules.of(rule));
    }
}

/// A rule that touches every panel leaves none whose ranges hold as they are.
#[test]
fn rules_that_touch_every_panel_leave_few_to_multiply_exactly() {
    let case = Case::random("random", 32_000, 4);
    let raised: Vec<LogitEdit> = (0..500).map(|panel| LogitEdit::bias(panel * 64 + panel % 64, 0.5)).collect();
    let banned: Vec<u32> = (0..500).map(|panel| panel * 64 + panel % 64).collect();
    let every_second = [0x5555_5555; 1000];
    let masked = DrawRule { mask: Some(TokenMask { words: &every_second }), ..DrawRule::default() };
    let list = [
        masked,
        DrawRule::ban(&banned),
        DrawRule { edits: &raised, ..DrawRule::default() },
        DrawRule { edits: &raised, ..masked },
    ];
    let plain = Sampling { temperature: 1.0, top_k: 7, seed: 3, ..Sampling::GREEDY };
    for (rule, sampling) in list.into_iter().flat_map(|rule| [(rule, Sampling::GREEDY), (rule, plain)]) {
        for isa in Isa::all() {
            let cpu = Cpu::new(isa, 2);
            let mut rules = DrawRules::default();
            let rule = Some(rules.add(rule));
            let draws = [0, 1, 2, 3].map(|row| Draw { rule, sampling, ..Draw::greedy(row) });
            let draws = Draws { list: &draws, rules: &rules };
            let computed = computed(&cpu, &case, draws);
            assert!(computed < 4 * case.vocab / 6, "{isa:?}, {sampling:?}, {:?}: {computed}", rules.of(rule));
            let [screened, whole] = both(&cpu, &case, Precision::Bf16, draws);
            assert_eq!(screened, whole, "{isa:?}, {sampling:?}, {:?}", rules.of(rule));
        }
    }
}

/// Rows whose logits are all equal depend on every panel. Where they are many, all logits are computed at once, other
/// rows' too; where they are few, the others keep to their own panels.
#[test]
fn where_most_panels_are_needed_all_logits_are_computed_at_once() {
    for isa in Isa::all() {
        let cpu = Cpu::new(isa, 2);
        for flat in [1, 3] {
            let mut case = Case::random("random", 8000, 25);
            case.x[COLS..(1 + flat) * COLS].fill(0.0);
            // The first row is not drawn from.
            let draws: Vec<Draw> = (1..25).map(Draw::greedy).collect();
            let draws = Draws::free(&draws);
            let computed = computed(&cpu, &case, draws);
            assert_eq!(computed == 24 * case.vocab, flat == 3, "{flat} flat, {computed} computed");
            let [screened, whole] = both(&cpu, &case, Precision::Bf16, draws);
            assert_eq!(screened, whole, "{flat} flat, {}", cpu.describe());
        }
    }
}
