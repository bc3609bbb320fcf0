//! Beam search, as a request asks for it.
//!
//! Built by `api` and the commands, which check the ranges; read by the scheduler.

/// A beam search over one source. Its hypotheses are the choices of the request, best first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeamSearch {
    /// Number of branches that run side by side, and of hypotheses that are kept; at least the number of choices.
    pub width: u32,
    /// A hypothesis of `l` tokens has the score `log_prob / l^length_penalty`. Finite.
    pub length_penalty: f64,
    /// When the search ends before its branches do.
    pub early_stopping: EarlyStopping,
}

/// When a search ends whose branches could go on. Values and meanings are those of transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyStopping {
    /// `false`: when the best branch, at its present length, would score no better than the worst kept hypothesis.
    #[default]
    Unlikely,
    /// `true`: when as many hypotheses are kept as the search is wide.
    Full,
    /// `"never"`: when no branch can score better than the worst kept hypothesis at any length.
    Impossible,
}
