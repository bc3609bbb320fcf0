//! Steps: recorded and replayed, beside other work, and copies around them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kernels::cuda::{Activations, Cuda, Device, Drawn, Matrix, Pages};
use kernels::{
    AttentionOps, AttentionShape, Draw, DrawRule, DrawRules, DrawnRows, Draws, KvColumns, KvFormat, KvSide, LayerPages,
    LayerPagesMut, LinearRows, Lookup, NO_PLACE, PageShape, PageSpan, PagedAttention, PagedRows, ProductOps, RowOps,
    SamplingOps, Storage, Stream, TokenMask, WeightFormat,
};

use crate::cases::{matrix, numbers, upload, upload_wide};

const ROWS: usize = 4;
const WIDTH: usize = 16;
const VOCAB: usize = 300;
const PAGES: u32 = 64;

/// A decoder of one attention and one product, whose ids are drawn and embedded.
struct Decoder<'a, D: Device> {
    backend: &'a Cuda<D>,
    pages: Pages<D>,
    weights: Matrix<D>,
    q: Activations<D>,
    attended: Activations<D>,
    logits: Activations<D>,
    embedded: Activations<D>,
}

/// Results that a step left on the device.
#[derive(Debug, PartialEq)]
struct Outcome {
    ids: Vec<Option<u32>>,
    logits: Vec<f32>,
    embedded: Vec<f32>,
}

impl<'a, D: Device> Decoder<'a, D> {
    /// With keys and values at every position of its pages.
    fn new(backend: &'a Cuda<D>) -> Self {
        let shape = PageShape { pages: PAGES as usize, layers: 1, kv_heads: 1, head_dim: 8 };
        let mut pages = backend.pages(shape, &[KvFormat::Bf16]).unwrap();
        let kv = upload(backend, &numbers(32, 512 * WIDTH), WIDTH);
        let spans: Vec<PageSpan> = (1..=512).map(|tokens| PageSpan { first: 0, tokens }).collect();
        let tables: Vec<u32> = (0..PAGES).rev().collect();
        let rows = PagedRows { spans: &spans, tables: &tables, format: KvFormat::Bf16 };
        let to = LayerPagesMut { pages: &mut pages, layer: 0 };
        backend.write_pages(KvColumns { rows: &kv, first: 0, key_norm: None }, rows, to);
        Self {
            backend,
            pages,
            weights: matrix(backend, 31, (VOCAB, WIDTH), WeightFormat::Bf16),
            q: backend.activations(ROWS, WIDTH).unwrap(),
            attended: backend.activations(ROWS, WIDTH).unwrap(),
            logits: backend.wide_activations(ROWS, VOCAB).unwrap(),
            embedded: backend.wide_activations(ROWS, WIDTH).unwrap(),
        }
    }

    /// Asks for the ops of a step. Lists differ from step to step in contents and in length.
    fn ops(&mut self, step: u32, drawn: &mut Drawn<D>) {
        let shape = AttentionShape { heads: 2, kv_heads: 1, head_dim: 8, scale: 0.4, softcap: None };
        // From one part of the sequence to several, over one page to many.
        let spans = [3, 17, 40 * step + 5, 256].map(|tokens| PageSpan { first: step % 2, tokens });
        let tables: Vec<u32> = (0..32 + step).map(|entry| (7 * entry + step) % PAGES).collect();
        let rows = PagedRows { spans: &spans, tables: &tables, format: KvFormat::Bf16 };
        // No two steps have the same rules.
        let mut rules = DrawRules::default();
        let words: Vec<u32> = (0..10).map(|word: u32| (word + step).wrapping_mul(0x9e37_79b9)).collect();
        let masked = rules.add(DrawRule { mask: Some(TokenMask { words: &words }), ..DrawRule::default() });
        let banned = rules.add(DrawRule::ban(&[step.min(7), step.max(7)]));
        let of_rows = [None, Some(masked), Some(banned), None];
        let draws = [0, 1, 2, 3].map(|row| Draw { rule: of_rows[row as usize], ..Draw::greedy(row) });
        let Self { backend, pages, weights, q, attended, logits, embedded } = self;
        let attention = PagedAttention::over(&shape, KvSide { rows, window: None });
        backend.attend_paged(q, attention, LayerPages { pages, layer: 0 }, attended);
        backend.linear(attended, &*weights, LinearRows::first(ROWS), logits);
        // Ids that the step before drew.
        let ids = DrawnRows { drawn: &*drawn, places: &[NO_PLACE, 2, NO_PLACE, 0] };
        backend.embed_drawn(Lookup::new(weights, 1.0), ids, embedded);
        backend.sample(logits, Draws { list: &draws, rules: &rules }, drawn);
    }

    fn outcome(&self, drawn: &mut Drawn<D>) -> Outcome {
        let mut ids = Vec::new();
        self.backend.take(drawn, &mut ids);
        let (logits, embedded) = (&self.logits, &self.embedded);
        Outcome { ids, logits: self.backend.download(logits, ROWS), embedded: self.backend.download(embedded, ROWS) }
    }
}

/// A dozen steps, each recorded as a step and then asked for op by op.
pub fn a_step_computes_what_its_ops_compute_however_often_it_comes_again<D: Device>(backend: &Cuda<D>) {
    let mut decoder = Decoder::new(backend);
    let [mut in_step, mut at_once] = [backend.drawn(ROWS).unwrap(), backend.drawn(ROWS).unwrap()];
    for step in 0..12 {
        backend.upload(&numbers(33 + u64::from(step), ROWS * WIDTH), &mut decoder.q);
        backend.step(|| decoder.ops(step, &mut in_step));
        let recorded = decoder.outcome(&mut in_step);
        decoder.ops(step, &mut at_once);
        assert_eq!(recorded, decoder.outcome(&mut at_once), "step {step}");
    }
    assert!((1..6).contains(&backend.graphs()), "{} graphs for a dozen steps", backend.graphs());
}

/// Steps that ban a few dozen ids, such as the end tokens of a text that is too short, replay the graph of free draws.
pub fn banned_end_tokens_need_no_graph_of_their_own<D: Device>(backend: &Cuda<D>) {
    let logits = upload_wide(backend, &numbers(70, ROWS * VOCAB), VOCAB);
    let mut rules = DrawRules::default();
    let ends: Vec<u32> = (0..40).map(|index| index * 7).collect();
    let ban = rules.add(DrawRule::ban(&ends));
    let mut drawn = backend.drawn(ROWS).unwrap();
    let mut graphs_after = |banned_rows: u32| {
        let draws = [0, 1, 2, 3].map(|row| Draw { rule: (row < banned_rows).then_some(ban), ..Draw::greedy(row) });
        for _ in 0..3 {
            backend.step(|| backend.sample(&logits, Draws { list: &draws, rules: &rules }, &mut drawn));
            backend.take(&mut drawn, &mut Vec::new());
        }
        backend.graphs()
    };
    let recorded = graphs_after(0);
    assert_eq!([1, 2, 4].map(&mut graphs_after), [recorded; 3]);
}

/// Steps in which three rows and in which all four have rules are one graph: copies fill up to a power of two.
pub fn rules_of_three_rows_and_of_four_replay_one_graph<D: Device>(backend: &Cuda<D>) {
    let logits = upload_wide(backend, &numbers(71, ROWS * VOCAB), VOCAB);
    let mut rules = DrawRules::default();
    let mask = Some(TokenMask { words: &[0b1000, 0b1] });
    let rule = rules.add(DrawRule { mask, ..DrawRule::default() });
    let mut drawn = backend.drawn(ROWS).unwrap();
    let mut graphs_after = |ruled_rows: u32| {
        let draws = [0, 1, 2, 3].map(|row| Draw { rule: (row < ruled_rows).then_some(rule), ..Draw::greedy(row) });
        for _ in 0..3 {
            let mut ids = Vec::new();
            backend.step(|| backend.sample(&logits, Draws { list: &draws, rules: &rules }, &mut drawn));
            backend.take(&mut drawn, &mut ids);
            assert!(ids[..ruled_rows as usize].iter().all(|id| matches!(id, Some(3 | 32))), "{ids:?}");
        }
        backend.graphs()
    };
    let recorded = graphs_after(3);
    assert_eq!(graphs_after(4), recorded);
}

/// Ops that panic aside leave the backend where it was: the next step records its own ops.
pub fn a_panic_aside_does_not_keep_later_ops_aside<D: Device>(backend: &Cuda<D>) {
    let x = upload(backend, &numbers(80, ROWS * WIDTH), WIDTH);
    let mut copy = backend.activations(ROWS, WIDTH).unwrap();
    let aside = catch_unwind(AssertUnwindSafe(|| backend.aside(|| panic!("an op refused what it was given"))));
    assert!(aside.is_err());
    let costs = backend.timed_step(|| {
        backend.gather(&x, &[3, 2, 1, 0], &mut copy);
        backend.mark();
    });
    let kernels: Vec<&str> = costs.iter().flatten().flatten().map(|cost| cost.kernel).collect();
    assert_eq!(kernels, ["gather"]);
}

/// Long copies follow each other; none overwrites what another one still reads.
pub fn long_rows_arrive_whole_however_many_are_on_their_way<D: Device>(backend: &Cuda<D>) {
    const ROWS: usize = 96;
    const WIDTH: usize = 1024;
    let mut copies: Vec<_> = (0..8).map(|_| backend.activations(ROWS, WIDTH).unwrap()).collect();
    let values: Vec<Vec<f32>> = (0..8_u8).map(|copy| vec![f32::from(copy); ROWS * WIDTH]).collect();
    for (values, copy) in values.iter().zip(&mut copies) {
        backend.upload(values, copy);
    }
    for (values, copy) in values.iter().zip(&copies) {
        assert_eq!(backend.download(copy, ROWS), *values);
    }
}
