//! Shapes of attention, and attention inside segments.

use kernels::{AttentionOps, AttentionShape, Backend, FullAttention, Precision, QueryRows, Segment, Storage, Window};

use super::numbers::{numbers, upload};
use super::runner::{Runner, both};

/// An attention with a window.
#[derive(Debug, Clone, Copy)]
pub struct Windowed {
    pub shape: AttentionShape,
    pub window: Option<usize>,
}

/// Shapes whose heads are a multiple of `head_multiple` wide.
pub fn shapes(head_multiple: usize) -> impl Iterator<Item = Windowed> {
    let shape = |heads, kv_heads, head_dim| AttentionShape {
        heads,
        kv_heads,
        head_dim,
        scale: (head_dim as f32).powf(-0.5),
        softcap: Some(50.0),
    };
    let windowed = |shape, window| Windowed { shape, window };
    let shapes = [
        windowed(shape(4, 2, 16), None),
        windowed(shape(4, 1, 8), Some(8)),
        // A window that does not fit in 32 bits.
        windowed(shape(4, 2, 8), Some(1 << 32)),
        windowed(AttentionShape { softcap: None, ..shape(3, 1, 64) }, Some(70)),
        windowed(AttentionShape { softcap: Some(1.5), ..shape(2, 2, 80) }, None),
        windowed(shape(2, 1, 256), None),
        windowed(shape(70, 1, 4), None),
        windowed(shape(18, 1, 8), None),
    ];
    shapes.into_iter().filter(move |case| case.shape.head_dim.is_multiple_of(head_multiple))
}

/// Attention rounds its weights to bfloat16 in the bfloat16 mode: 2^-9 of the largest value.
pub fn attention_tolerance(precision: Precision) -> f32 {
    if precision == Precision::Bf16 { 4e-3 } else { 5e-6 }
}

pub fn full_attention_follows_the_reference_on_ragged_segments<B: Backend>(run: &Runner<'_, B>) {
    for Windowed { shape, window } in shapes(run.head_multiple) {
        let lens = [1_u32, 6, 7, 64, 65, 131, 2];
        let mut segments = Vec::new();
        lens.iter().fold(0, |start, &len| {
            segments.push(Segment { start, len });
            start + len
        });
        let rows = lens.iter().sum::<u32>() as usize;
        let width = shape.query_width() + 2 * shape.kv_width();
        let qkv: Vec<f32> = numbers(13, rows * width).iter().map(|v| v * 2.0).collect();
        for window in [Window::symmetric(window), Window { left: window, right: Some(3) }] {
            both!(run, attention_tolerance(run.precision), |backend| {
                let mut out = backend.activations(rows, shape.query_width()).unwrap();
                let attention =
                    FullAttention { shape: &shape, window, precision: run.precision, queries: QueryRows::ALL };
                backend.attend_full(&upload(backend, &qkv, width), &segments, attention, &mut out);
                backend.download(&out, rows)
            });
        }
    }
}
