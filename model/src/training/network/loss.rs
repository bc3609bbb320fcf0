//! The loss of a batch: that of its target tokens, or of its labels.
//!
//! Called by the training run and by `gradients`.

use candle_core::Tensor;

use super::dropout::DropoutOptions;
use super::pass::Pass;
use super::rows::Rows;
use super::{Head, Network};
use crate::training::ops::{self, CrossEntropy, TokenLosses};
use crate::training::{Batch, Result};

/// Options of a loss.
#[derive(Debug, Clone, Copy, Default)]
pub struct LossOptions<'a> {
    /// Weight of the squared log-normaliser.
    pub z_loss: f32,
    /// Dropout; `None` drops nothing.
    pub dropout: Option<DropoutOptions>,
    /// Teacher whose distribution is learned beside the data.
    pub teacher: Option<TeacherOptions<'a>>,
}

/// A teacher of the same vocabulary.
#[derive(Debug, Clone, Copy)]
pub struct TeacherOptions<'a> {
    /// The teacher's network: encoder-decoder or decoder-only, whatever the student is.
    pub network: &'a Network,
    /// Temperature of both distributions.
    pub temperature: f32,
    /// Share of the teacher's cross-entropy in the loss; the data has the rest.
    pub weight: f32,
}

/// The loss of a batch.
#[derive(Debug, Clone)]
pub struct BatchLoss {
    /// Sum over the target tokens (or labels); a float32 scalar with its graph.
    pub sum: Tensor,
    /// Sum of `-log p(target)` alone.
    pub cross_entropy: f64,
    /// Number of target tokens that are the most probable ones.
    pub correct: usize,
    /// Number of target tokens.
    pub tokens: usize,
}

/// The loss of a batch as plain numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossSums {
    /// Sum over the target tokens (or labels) of everything that is minimised.
    pub loss: f64,
    /// Sum of `-log p(target)` alone.
    pub cross_entropy: f64,
    /// Number of target tokens that are the most probable ones.
    pub correct: usize,
    /// Number of target tokens.
    pub tokens: usize,
}

impl Network {
    /// The loss of a batch, as the root of a graph.
    ///
    /// # Errors
    /// [`crate::training::Error::Example`] for a row that does not fit the network, or when the tensor library refuses.
    pub fn loss(&self, batch: &Batch, how: &LossOptions<'_>) -> Result<BatchLoss> {
        self.loss_by(&Pass::training(self, how.dropout), batch, how)
    }

    /// The loss of a batch by a pass.
    pub(super) fn loss_by(&self, pass: &Pass<'_>, batch: &Batch, how: &LossOptions<'_>) -> Result<BatchLoss> {
        let rows = Rows::new(self, batch)?;
        let taught = self.taught(batch, how)?;
        let states = self.states(pass, &rows)?;
        self.loss_of_states(pass, &states, &rows.labels, taught, how.z_loss)
    }

    /// The plain loss of a batch for validation, without a graph.
    ///
    /// # Errors
    /// As [`Network::loss`].
    pub fn evaluate(&self, batch: &Batch) -> Result<LossSums> {
        let rows = Rows::new(self, batch)?;
        let pass = Pass::plain(self);
        let states = self.states(&pass, &rows)?;
        self.loss_of_states(&pass, &states, &rows.labels, None, 0.0)?.sums()
    }

    /// Final-normed states of the tokens with a loss, `[target tokens, hidden]`, without a graph.
    ///
    /// # Errors
    /// As [`Network::loss`].
    pub fn target_states(&self, batch: &Batch) -> Result<Tensor> {
        self.states(&Pass::plain(self), &Rows::new(self, batch)?)
    }

    /// Soft-capped float32 logits of the target tokens, `[target tokens, vocab]`, or a classifier's scores, `[rows,
    /// classes]`, without a graph.
    ///
    /// # Errors
    /// As [`Network::loss`].
    pub fn logits(&self, batch: &Batch) -> Result<Tensor> {
        Pass::plain(self).scores(&self.target_states(batch)?)
    }

    /// Final-normed states of the rows with a loss.
    fn states(&self, pass: &Pass<'_>, rows: &Rows) -> Result<Tensor> {
        let source = pass.encode(rows.sources.as_ref())?;
        let x = pass.stack(&self.main, &rows.input, source.as_ref())?;
        self.picked_states(pass, &x, rows)
    }

    /// The rows with a loss of the last layer's output, normed.
    pub(super) fn picked_states(&self, pass: &Pass<'_>, x: &Tensor, rows: &Rows) -> Result<Tensor> {
        let all = rows.input.ids.len();
        let picked = match &rows.picked {
            Some(picked) if picked.len() < all => x.index_select(&Tensor::new(picked.as_slice(), x.device())?, 0)?,
            _ => x.clone(),
        };
        pass.finish(&self.main, &picked)
    }

    /// The teacher's part of the loss.
    pub(super) fn taught(&self, batch: &Batch, how: &LossOptions<'_>) -> Result<Option<ops::Teacher>> {
        let Some(TeacherOptions { network, temperature, weight }) = how.teacher else { return Ok(None) };
        let (table, softcap) = network.output();
        let states = network.target_states(batch)?;
        let table = table.to_dtype(states.dtype())?;
        Ok(Some(ops::Teacher { states, table, softcap, temperature, weight }))
    }

    pub(super) fn loss_of_states(
        &self,
        pass: &Pass<'_>,
        states: &Tensor,
        labels: &[u32],
        teacher: Option<ops::Teacher>,
        z_loss: f32,
    ) -> Result<BatchLoss> {
        let tokens = labels.len();
        let how = CrossEntropy { labels: labels.to_vec(), softcap: self.main.config.final_softcap, z_loss, teacher };
        let TokenLosses { sum, cross_entropy, correct } = match &self.head {
            Head::Vocabulary { table } => {
                ops::cross_entropy(states, &pass.weight(table)?, &how, pass.table_gradient())?
            }
            Head::Classes { weight, bias } => {
                ops::cross_entropy_of_logits(&pass.classes(states, weight, bias.as_ref())?, &how)?
            }
        };
        Ok(BatchLoss { sum, cross_entropy, correct, tokens })
    }
}

impl BatchLoss {
    /// Drops the graph and keeps the numbers.
    ///
    /// # Errors
    /// When the tensor library refuses.
    pub fn sums(&self) -> Result<LossSums> {
        let &Self { ref sum, cross_entropy, correct, tokens } = self;
        Ok(LossSums { loss: f64::from(sum.to_scalar::<f32>()?), cross_entropy, correct, tokens })
    }
}
