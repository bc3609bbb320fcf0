//! Gradients of a batch's loss, with all activations kept or with each layer computed a second time.
//!
//! Called by the training run. The library seeds a backward pass with ones, so that a segment of the network is
//! differentiated through `(output * incoming).sum()`.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use super::Network;
use super::loss::{LossOptions, LossSums};
use super::pass::{Pass, Source};
use super::rows::{Ragged, Rows};
use super::weights::{Head, Stack};
use crate::training::ops::TableGradient;
use crate::training::{Batch, Result};

/// Gradient of each trained parameter, under its name; float32.
pub type Gradients = BTreeMap<String, Tensor>;

impl Network {
    /// The loss of a batch, and the gradients of its sum times `scale`.
    ///
    /// # Errors
    /// The errors of [`Network::loss`].
    pub fn gradients(&self, batch: &Batch, how: &LossOptions<'_>, scale: f64) -> Result<(LossSums, Gradients)> {
        if self.options.activation_checkpointing {
            return self.recomputed_gradients(batch, how, scale);
        }
        let pass = Pass::summing(self, how.dropout);
        let loss = self.loss_by(&pass, batch, how)?;
        let mut sums = GradientSums { network: self, sums: Gradients::new() };
        sums.add(&mut loss.sum.affine(scale, 0.0)?.backward()?)?;
        sums.add_table(&pass)?;
        Ok((loss.sums()?, sums.sums))
    }

    /// Runs without a graph and keeps only the input of each layer; then goes back layer by layer, each with a graph
    /// of its own.
    fn recomputed_gradients(&self, batch: &Batch, how: &LossOptions<'_>, scale: f64) -> Result<(LossSums, Gradients)> {
        let rows = Rows::new(self, batch)?;
        let taught = self.taught(batch, how)?;
        let recomputation = Recomputation {
            network: self,
            rehearsal: Pass::rehearsal(self, how.dropout),
            pass: Pass::summing(self, how.dropout),
        };
        let encoded = recomputation.encode(&rows)?;
        let source = encoded.as_ref().map(|encoded| encoded.source());
        let mut trace = recomputation.trace(&self.main, &rows.input, source.as_ref())?;

        let mut sums = GradientSums { network: self, sums: Gradients::new() };
        let top = Var::from_tensor(&trace.output)?;
        let states = self.picked_states(&recomputation.pass, &top, &rows)?;
        let loss = self.loss_of_states(&recomputation.pass, &states, &rows.labels, taught, how.z_loss)?;
        let figures = loss.sums()?;
        let mut store = loss.sum.affine(scale, 0.0)?.backward()?;
        drop((loss, states));
        sums.add(&mut store)?;
        let incoming = taken(&mut store, &top)?;

        recomputation.retrace(&self.main, &rows.input, &mut trace, source.as_ref(), incoming, &mut sums)?;
        if let (Some(mut encoded), Some(incoming)) = (encoded, trace.source_gradient) {
            recomputation.retrace_encoder(&mut encoded, incoming, &mut sums)?;
        }
        sums.add_table(&recomputation.pass)?;
        Ok((figures, sums.sums))
    }
}

/// Both forward passes of a computation that is done twice.
struct Recomputation<'a> {
    network: &'a Network,
    rehearsal: Pass<'a>,
    pass: Pass<'a>,
}

/// States that a stack's forward pass keeps.
struct Trace {
    /// Input of each layer.
    inputs: Vec<Tensor>,
    /// Output of the last layer.
    output: Tensor,
    /// Gradient of the encoder's states, after the backward pass of the decoder's layers.
    source_gradient: Option<Tensor>,
}

/// An encoder that has run, and its states as a variable that the decoder's layers share.
struct Encoded<'a> {
    stack: &'a Stack,
    rows: &'a Ragged,
    trace: Trace,
    states: Var,
}

impl Encoded<'_> {
    fn source(&self) -> Source<'_> {
        Source { states: self.states.as_tensor().clone(), lengths: &self.rows.lengths }
    }
}

impl<'a> Recomputation<'a> {
    fn encode<'r>(&self, rows: &'r Rows) -> Result<Option<Encoded<'r>>>
    where
        'a: 'r,
    {
        let (Some(stack), Some(sources)) = (&self.network.encoder, &rows.sources) else { return Ok(None) };
        let trace = self.trace(stack, sources, None)?;
        let states = Var::from_tensor(&self.rehearsal.finish(stack, &trace.output)?)?;
        Ok(Some(Encoded { stack, rows: sources, trace, states }))
    }

    fn trace(&self, stack: &Stack, rows: &Ragged, source: Option<&Source<'_>>) -> Result<Trace> {
        let source = source.map(|own| Source { states: own.states.detach(), lengths: own.lengths });
        let mut x = self.rehearsal.embed(stack, &rows.ids)?;
        let mut inputs = Vec::with_capacity(stack.layers.len());
        for index in 0..stack.layers.len() {
            let next = self.rehearsal.layer(stack, index, &x, &rows.lengths, source.as_ref())?;
            inputs.push(std::mem::replace(&mut x, next));
        }
        Ok(Trace { inputs, output: x, source_gradient: None })
    }

    /// Runs the backward pass of the layers and the embedding. `incoming` is the gradient of the last layer's output.
    fn retrace(
        &self,
        stack: &Stack,
        rows: &Ragged,
        trace: &mut Trace,
        source: Option<&Source<'_>>,
        mut incoming: Tensor,
        sums: &mut GradientSums<'_>,
    ) -> Result<()> {
        while let Some(input) = trace.inputs.pop() {
            let x = Var::from_tensor(&input)?;
            let output = self.pass.layer(stack, trace.inputs.len(), &x, &rows.lengths, source)?;
            let mut store = (output * incoming)?.sum_all()?.backward()?;
            sums.add(&mut store)?;
            incoming = taken(&mut store, &x)?;
            if let Some(of_source) = source.and_then(|source| remove(&mut store, &source.states)) {
                trace.source_gradient = Some(match trace.source_gradient.take() {
                    Some(sum) => (sum + of_source)?,
                    None => of_source,
                });
            }
        }
        if stack.embed.parameters().any(|parameter| self.network.is_trained(parameter)) {
            let embedded = self.pass.embed(stack, &rows.ids)?;
            sums.add(&mut (embedded * incoming)?.sum_all()?.backward()?)?;
        }
        Ok(())
    }

    fn retrace_encoder(&self, encoded: &mut Encoded<'_>, incoming: Tensor, sums: &mut GradientSums<'_>) -> Result<()> {
        let Encoded { stack, rows, trace, .. } = encoded;
        let is_trained = stack.parameters().chain([&stack.norm]).any(|parameter| self.network.is_trained(parameter));
        if !is_trained {
            return Ok(());
        }
        let top = Var::from_tensor(&trace.output)?;
        let mut store = (self.pass.finish(stack, &top)? * incoming)?.sum_all()?.backward()?;
        sums.add(&mut store)?;
        let incoming = taken(&mut store, &top)?;
        self.retrace(stack, rows, trace, None, incoming, sums)
    }
}

impl Network {
    /// Whether one table is the embedding of both stacks and the output.
    pub(super) fn shares_table(&self) -> bool {
        let main = self.main.embed.table.id();
        let is_output = matches!(&self.head, Head::Vocabulary { table } if table.id() == main);
        is_output && self.encoder.as_ref().is_some_and(|encoder| encoder.embed.table.id() == main)
    }

    fn is_trained(&self, parameter: &Var) -> bool {
        !self.frozen.contains(&parameter.id())
    }
}

/// Gradients by name, summed over the segments.
struct GradientSums<'a> {
    network: &'a Network,
    sums: Gradients,
}

impl GradientSums<'_> {
    fn add(&mut self, store: &mut GradStore) -> Result<()> {
        for (name, parameter) in &self.network.parameters {
            if let Some(gradient) = remove(store, parameter) {
                self.add_one(name, gradient)?;
            }
        }
        Ok(())
    }

    /// Adds the gradient of a shared table that a pass has beside its graph.
    fn add_table(&mut self, pass: &Pass<'_>) -> Result<()> {
        let Some(numbers) = pass.table_gradient().and_then(TableGradient::take) else { return Ok(()) };
        let table = &self.network.main.embed.table;
        let gradient = Tensor::from_vec(numbers, table.shape(), table.device())?;
        let mut names = self.network.parameters.iter();
        let (name, _) = names.find(|(_, own)| own.id() == table.id()).expect("the table is a parameter");
        self.add_one(name, gradient)
    }

    fn add_one(&mut self, name: &str, gradient: Tensor) -> Result<()> {
        let sum = match self.sums.remove(name) {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        };
        self.sums.insert(name.to_owned(), sum);
        Ok(())
    }
}

/// A gradient without its graph. As the library returns it, it refers to the last step of its own computation: it would
/// keep activations alive, and a gradient of the segment that it enters would flow back into the one it comes from.
fn remove(store: &mut GradStore, of: &Tensor) -> Option<Tensor> {
    store.remove(of).map(|gradient| gradient.detach())
}

/// The gradient of a segment's input.
fn taken(store: &mut GradStore, input: &Var) -> Result<Tensor> {
    match remove(store, input) {
        Some(gradient) => Ok(gradient),
        None => Ok(input.zeros_like()?),
    }
}
