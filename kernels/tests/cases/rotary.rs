//! Rotation by scaled positions, and norms of heads: before a rotation, and of keys alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kernels::{
    AttentionOps, AttentionShape, Backend, HeadNorms, KvColumns, KvFormat, KvSide, LayerPages, LayerPagesMut, Norm,
    PageShape, PageSpan, PagedAttention, PagedRows, Precision, RopeScaling, RopeSpec, RotaryHeads, RotaryRows, RowOps,
    Storage,
};

use super::numbers::{bytes, numbers, stored, upload};
use super::paged_attention::paged_tolerance;
use super::runner::{Runner, Slack, both};

const ROWS: usize = 40;
const EPS: f32 = 1e-6;

fn shape(head_dim: usize) -> AttentionShape {
    AttentionShape { heads: 4, kv_heads: 2, head_dim, scale: 0.3, softcap: None }
}

/// Weight of a norm of heads.
fn gain<B: Backend>(backend: &B, seed: u64, head_dim: usize) -> B::Gain {
    backend.gain(&stored(1, head_dim, &bytes(&numbers(seed, head_dim)))).unwrap()
}

pub fn scaled_rotation_follows_the_reference<B: Backend>(run: &Runner<'_, B>) {
    let (shape, width) = (shape(16), 128);
    let positions: Vec<u32> = (0..ROWS as u32).map(|i| (i * 211) % 8000).collect();
    let values = numbers(90, ROWS * width);
    for factor in [8.0, 3.0] {
        let spec = RopeSpec { theta: 1e6, scaling: RopeScaling::Linear { factor } };
        both!(run, 2e-6, |backend| {
            let table = backend.rope_table(8000, 16, spec).unwrap();
            let mut rows = upload(backend, &values, width);
            backend.rope(&mut rows, &positions, RotaryHeads { shape: &shape, table: &table, norms: None });
            backend.download(&rows, ROWS)
        });
    }
}

/// Queries and keys have norms of their own; what follows them in a row stays as it is.
pub fn heads_are_normed_before_they_are_rotated<B: Backend>(run: &Runner<'_, B>) {
    for head_dim in [8, 16, 80, 256] {
        let shape = shape(head_dim);
        let width = shape.query_width() + 2 * shape.kv_width();
        let positions: Vec<u32> = (0..ROWS as u32).map(|i| (i * 7) % 64).collect();
        let values: Vec<f32> = numbers(91, ROWS * width).iter().map(|v| v * 3.0).collect();
        both!(run, 2e-6, |backend| {
            let (query, key) = (gain(backend, 92, head_dim), gain(backend, 93, head_dim));
            let table = backend.rope_table(64, head_dim, RopeSpec::unscaled(10_000.0)).unwrap();
            let norms = Some(HeadNorms { query: &query, key: &key, eps: EPS });
            let mut rows = upload(backend, &values, width);
            backend.rope(&mut rows, &positions, RotaryHeads { shape: &shape, table: &table, norms });
            backend.download(&rows, ROWS)
        });
    }
}

/// Rows `[q | k | v]` whose keys and values go to pages, and who then attend to these pages.
struct Sequence {
    shape: AttentionShape,
    values: Vec<f32>,
    positions: Vec<u32>,
    spans: Vec<PageSpan>,
    tables: Vec<u32>,
    format: KvFormat,
}

impl Sequence {
    fn new(head_dim: usize, format: KvFormat) -> Self {
        let shape = shape(head_dim);
        let positions: Vec<u32> = (0..ROWS as u32).collect();
        let spans = positions.iter().map(|position| PageSpan { first: 1, tokens: position + 1 }).collect();
        let values = numbers(94, ROWS * (shape.query_width() + 2 * shape.kv_width()));
        Self { shape, values, positions, spans, tables: vec![3, 1, 0, 2], format }
    }

    fn rows(&self) -> PagedRows<'_> {
        PagedRows { spans: &self.spans, tables: &self.tables, format: self.format }
    }

    fn width(&self) -> usize {
        self.shape.query_width() + 2 * self.shape.kv_width()
    }

    /// Attention of all rows over what `write` wrote to layer 1.
    fn attend<B: Backend>(
        &self,
        backend: &B,
        formats: &[KvFormat],
        write: impl FnOnce(&mut B::Activations, LayerPagesMut<'_, B::Pages>),
    ) -> Vec<f32> {
        let shape = &self.shape;
        let pool = PageShape { pages: 4, layers: 2, kv_heads: shape.kv_heads, head_dim: shape.head_dim };
        let mut pages = backend.pages(pool, formats).unwrap();
        let mut qkv = upload(backend, &self.values, self.width());
        write(&mut qkv, LayerPagesMut { pages: &mut pages, layer: 1 });
        let mut out = backend.activations(ROWS, shape.query_width()).unwrap();
        let attention = PagedAttention::over(shape, KvSide { rows: self.rows(), window: None });
        backend.attend_paged(&qkv, attention, LayerPages { pages: &pages, layer: 1 }, &mut out);
        backend.download(&out, ROWS)
    }
}

/// A norm that differs in the last bit may let a key be stored as the next integer, a 127th of the largest away.
/// Measured: 1.1e-4 at most, and 1.1e-5 for all numbers together.
const NEXT_INTEGER: Slack = Slack { largest: 1e-3, root_mean_square: 5e-5 };

/// The runner, with what keys lose where they are kept in this format.
fn keeping<'a, B: Backend>(run: &Runner<'a, B>, format: KvFormat) -> Runner<'a, B> {
    let Runner { backend, reference, precision, head_multiple, .. } = *run;
    let slack = if format == KvFormat::Int8 { NEXT_INTEGER } else { run.slack };
    Runner { backend, reference, precision, label: format!("{format:?} keys, {}", run.label), head_multiple, slack }
}

/// Head widths that lie in one page word, in several, and across a warp.
const WIDTHS: [usize; 3] = [16, 80, 256];

pub fn normed_heads_are_rotated_and_written<B: Backend>(run: &Runner<'_, B>, format: KvFormat) {
    for head_dim in WIDTHS {
        let sequence = Sequence::new(head_dim, format);
        let run = keeping(run, format);
        both!(run, paged_tolerance(format).max(2e-5), |backend| {
            let (query, key) = (gain(backend, 92, head_dim), gain(backend, 93, head_dim));
            let table = backend.rope_table(64, head_dim, RopeSpec::unscaled(10_000.0)).unwrap();
            let norms = Some(HeadNorms { query: &query, key: &key, eps: EPS });
            let heads = RotaryHeads { shape: &sequence.shape, table: &table, norms };
            sequence.attend(backend, &[run.precision.into(), format], |qkv, to| {
                let rows = RotaryRows { positions: &sequence.positions, paged: sequence.rows() };
                backend.rope_and_write(qkv, rows, heads, to);
            })
        });
    }
}

pub fn keys_are_normed_on_their_way_to_pages<B: Backend>(run: &Runner<'_, B>, format: KvFormat) {
    for head_dim in WIDTHS {
        let sequence = Sequence::new(head_dim, format);
        let run = keeping(run, format);
        both!(run, paged_tolerance(format).max(2e-5), |backend| {
            let key = gain(backend, 93, head_dim);
            sequence.attend(backend, &[run.precision.into(), format], |qkv, to| {
                let key_norm = Some(Norm { gain: &key, eps: EPS });
                let kv = KvColumns { rows: &*qkv, first: sequence.shape.query_width(), key_norm };
                backend.write_pages(kv, sequence.rows(), to);
            })
        });
    }
}

/// A norm on the way to a page has the bits of the same norm by itself, for a backend that keeps rows in float32.
pub fn keys_normed_on_their_way_are_those_of_the_norm_by_itself<B: Backend>(
    backend: &B,
    precision: Precision,
    format: KvFormat,
) {
    for head_dim in WIDTHS {
        let mut sequence = Sequence::new(head_dim, format);
        let formats = [precision.into(), format];
        let (key, first) = (gain(backend, 93, head_dim), sequence.shape.query_width());
        let norm = || Norm { gain: &key, eps: EPS };
        let on_the_way = sequence.attend(backend, &formats, |qkv, to| {
            let kv = KvColumns { rows: &*qkv, first, key_norm: Some(norm()) };
            backend.write_pages(kv, sequence.rows(), to);
        });
        let (width, keys) = (sequence.width(), first..first + sequence.shape.kv_width());
        for row in sequence.values.chunks_mut(width) {
            let own = upload(backend, &row[keys.clone()], head_dim);
            let mut normed = backend.activations(sequence.shape.kv_heads, head_dim).unwrap();
            backend.rms_norm(&own, norm(), sequence.shape.kv_heads, &mut normed);
            row[keys.clone()].copy_from_slice(&backend.download(&normed, sequence.shape.kv_heads));
        }
        let by_itself = sequence.attend(backend, &formats, |qkv, to| {
            backend.write_pages(KvColumns { rows: &*qkv, first, key_norm: None }, sequence.rows(), to);
        });
        assert_eq!(on_the_way, by_itself, "{format:?}, heads {head_dim} wide, {}", backend.describe());
    }
}

/// Norms and angles of heads that are narrower or wider are refused; those that fit are not.
pub fn norms_and_angles_of_other_heads_are_refused<B: Backend>(run: &Runner<'_, B>) {
    let Runner { backend, precision, .. } = *run;
    let shape = shape(16);
    let sequence = Sequence::new(16, precision.into());
    let rope = |angles, query, key| {
        let (query, key) = (gain(backend, 92, query), gain(backend, 93, key));
        let table = backend.rope_table(64, angles, RopeSpec::unscaled(10_000.0)).unwrap();
        let norms = Some(HeadNorms { query: &query, key: &key, eps: EPS });
        let mut rows = upload(backend, &sequence.values, sequence.width());
        backend.rope(&mut rows, &sequence.positions, RotaryHeads { shape: &shape, table: &table, norms });
    };
    let write = |key| {
        let key = gain(backend, 93, key);
        sequence.attend(backend, &[precision.into()], |qkv, to| {
            let kv =
                KvColumns { rows: &*qkv, first: shape.query_width(), key_norm: Some(Norm { gain: &key, eps: EPS }) };
            backend.write_pages(kv, sequence.rows(), to);
        });
    };
    let is_refused = |op: &dyn Fn()| catch_unwind(AssertUnwindSafe(op)).is_err();
    for (angles, query, key) in [(8, 16, 16), (8, 8, 8), (16, 8, 16), (16, 16, 8), (16, 32, 16), (16, 16, 32)] {
        assert!(is_refused(&|| rope(angles, query, key)), "angles {angles}, query {query}, key {key}");
    }
    assert!(is_refused(&|| write(8)) && is_refused(&|| write(32)), "{}", backend.describe());
    rope(16, 16, 16);
    write(16);
}
