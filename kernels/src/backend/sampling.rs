//! Choosing ids from logits, and reading log-probabilities.
//!
//! Implemented by each backend. [`crate::sampling`] defines which id a draw chooses.

use super::products::{OutputLayer, ProductOps};
use crate::sampling::{BestAsk, Candidate, DrawRules, Draws, ScoreAsk, TokenScore};

/// Buffers that [`SamplingOps::choose`] writes.
#[derive(Debug)]
pub struct ChosenRows<'a, Activations, Drawn> {
    /// Working memory, `[rows, vocab]`.
    pub logits: &'a mut Activations,
    /// List that the ids are appended to.
    pub ids: &'a mut Drawn,
}

/// Drawing and scoring ids.
pub trait SamplingOps: ProductOps {
    /// Chooses one id for each draw, as [`crate::sampling::choose`] defines it, and appends it to `out`; `None` where
    /// the row's logits are not numbers, or the draw's rule leaves no id.
    fn sample(&self, logits: &Self::Activations, draws: Draws<'_>, out: &mut Self::Drawn);

    /// Chooses the ids that [`ProductOps::logits`] and [`Self::sample`] would choose from rows of `x`, without
    /// computing logits that cannot matter. Only for draws whose [`crate::Sampling::is_narrow`] holds, under any rule,
    /// from a table for [`crate::MatrixUse::Output`]. A rule that allows ids in many places and refuses ids in as many
    /// costs up to what all logits cost.
    fn choose(
        &self,
        x: &Self::Activations,
        output: OutputLayer<'_, Self::Matrix>,
        draws: Draws<'_>,
        to: ChosenRows<'_, Self::Activations, Self::Drawn>,
    );

    /// Begins to bring drawn ids to the host, so that a later [`Self::take`] waits for nothing that is asked in
    /// between.
    fn fetch(&self, _: &mut Self::Drawn) {}

    /// Waits for drawn ids, appends them to `out` and empties the list, which [`super::RowOps::embed_drawn`] may still
    /// read.
    fn take(&self, drawn: &mut Self::Drawn, out: &mut Vec<Option<u32>>);

    /// Appends the log-softmax of each asked row at an id to `out`, with the id's rank and the most probable ids. Where
    /// a logit of the row is not a number, or the largest is infinite, none of the row's log-probabilities is a number.
    /// A logit of minus infinity among finite ones has the log-probability minus infinity.
    fn score(&self, logits: &Self::Activations, asked: &[ScoreAsk], out: &mut Vec<TokenScore>);

    /// Appends the best ids of each asked row under its rule, with their edited log-probabilities, as
    /// [`crate::sampling::best`] defines them: one list for each row.
    fn best(&self, logits: &Self::Activations, asked: &[BestAsk], rules: &DrawRules, out: &mut Vec<Vec<Candidate>>);
}
