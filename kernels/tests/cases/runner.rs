//! A backend beside the reference, and how far their results may lie apart.

use kernels::reference::Reference;
use kernels::{Backend, Precision};

/// Holds numbers to those of the reference.
#[track_caller]
pub fn assert_close(name: &str, actual: &[f32], expected: &[f32], slack: Slack) {
    let Slack { largest, root_mean_square: most } = slack;
    assert_eq!(actual.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(1e-3_f32, |max, v| max.max(v.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= largest * scale, "{name}: number {i} is {a}, the reference has {e} (scale {scale})");
    }
    // Few numbers may lie that far off.
    let squares: f32 = actual.iter().zip(expected).map(|(a, e)| (a - e).powi(2)).sum();
    let root_mean_square = (squares / actual.len() as f32).sqrt();
    assert!(root_mean_square <= most * scale, "{name}: the root mean square error is {root_mean_square} of {scale}");
}

/// A backend beside the reference that rounds where it rounds.
pub struct Runner<'a, B> {
    pub backend: &'a B,
    pub reference: &'a Reference,
    pub precision: Precision,
    /// Backend and precision, for messages.
    pub label: String,
    /// Heads must be a multiple of this wide.
    pub head_multiple: usize,
    /// Loss of rows that are kept rounded, beside the op's own tolerance.
    pub slack: Slack,
}

/// How far results may lie from the reference's, as parts of its largest.
#[derive(Debug, Clone, Copy)]
pub struct Slack {
    pub largest: f32,
    pub root_mean_square: f32,
}

impl<B: Backend> Runner<'_, B> {
    pub fn allow(&self, largest: f32) -> Slack {
        Slack { largest: largest.max(self.slack.largest), ..self.slack }
    }
}

/// `both!(runner, tolerance, |backend| rows)` evaluates the body for the backend and for the reference.
macro_rules! both {
    ($runner:expr, $tolerance:expr, |$backend:ident| $body:expr) => {{
        let expected: Vec<f32> = {
            let $backend = $runner.reference;
            $body
        };
        let actual: Vec<f32> = {
            let $backend = $runner.backend;
            $body
        };
        $crate::cases::assert_close(&$runner.label, &actual, &expected, $runner.allow($tolerance));
    }};
}
pub(super) use both;
