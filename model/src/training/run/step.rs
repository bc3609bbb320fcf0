//! One step: batches, the sum of their gradients, and the optimiser's update.
//!
//! Called by `run`. Everything random depends on the seed, the step and the batch's number in it.

use std::time::Instant;

use kernels::math::philox;

use super::Run;
use crate::training::data::Position;
use crate::training::error::{Error, Result};
use crate::training::example::Batch;
use crate::training::metrics::StepRecord;
use crate::training::network::{DropoutOptions, Gradients, LossOptions, LossSums, TeacherOptions};
use crate::training::optimizer;
use crate::training::stages::Pace;

/// Separates the seeds of dropout from other uses of the run's seed.
const DROPOUT: u32 = 0x6472_6f70;

impl Run<'_> {
    /// Takes the next step, or skips it if its loss jumps.
    pub(super) fn step(&mut self, pace: Pace) -> Result<StepRecord> {
        let started = Instant::now();
        self.enter_stage(pace);
        let (batches, next) = self.next_batches()?;
        let (sums, gradients) = self.gradients(&batches)?;
        let number = self.progress.step + 1;
        let count = sums.tokens.max(1) as f64;
        let loss = finite(sums.loss / count, number, "loss")?;
        let gradient_norm = finite(optimizer::norm(&gradients)?, number, "gradient")?;

        let how = &self.settings.optimizer;
        let skipped = self.progress.recent_loss.is_spike(loss, how.skip_loss_factor);
        if skipped {
            self.progress.skipped_steps += 1;
        } else {
            self.optimizer.step(self.network.parameters(), &gradients, gradient_norm, pace.learning_rate)?;
        }
        let tokens: u64 = batches.iter().map(|batch| batch.tokens() as u64).sum();
        self.progress.step = number;
        self.progress.tokens += tokens;
        self.progress.position = next;
        Ok(StepRecord {
            step: number,
            epoch: self.epochs(next)?,
            stage: pace.stage,
            loss,
            cross_entropy: sums.cross_entropy / count,
            learning_rate: pace.learning_rate,
            gradient_norm,
            tokens,
            tokens_per_s: tokens as f64 / started.elapsed().as_secs_f64().max(1e-9),
            elapsed_s: self.elapsed_s(),
            skipped,
        })
    }

    /// Tells the network which weights are trained, so that it computes no other gradients.
    fn enter_stage(&mut self, pace: Pace) {
        if self.stage != Some(pace.stage) {
            self.network.train_only(|name| pace.train.includes(name));
            self.stage = Some(pace.stage);
        }
    }

    fn next_batches(&mut self) -> Result<(Vec<Batch>, Position)> {
        let mut position = self.progress.position;
        let mut batches = Vec::with_capacity(self.settings.data.accumulate);
        for _ in 0..self.settings.data.accumulate {
            let (batch, next) = self.feed.batch(position)?;
            batches.push(batch);
            position = next;
        }
        Ok((batches, position))
    }

    /// Gradients of the mean loss over all target tokens of the step, however they are spread over its batches.
    fn gradients(&self, batches: &[Batch]) -> Result<(LossSums, Gradients)> {
        let target_tokens: usize = batches.iter().map(Batch::target_tokens).sum();
        let scale = 1.0 / target_tokens.max(1) as f64;
        let mut sums = LossSums { loss: 0.0, cross_entropy: 0.0, correct: 0, tokens: 0 };
        let mut gradients = Gradients::new();
        for (number, batch) in batches.iter().enumerate() {
            let (own, own_gradients) = self.network.gradients(batch, &self.loss_options(number as u32), scale)?;
            sums.loss += own.loss;
            sums.cross_entropy += own.cross_entropy;
            sums.correct += own.correct;
            sums.tokens += own.tokens;
            for (name, gradient) in own_gradients {
                let sum = match gradients.remove(&name) {
                    Some(sum) => (sum + gradient)?,
                    None => gradient,
                };
                gradients.insert(name, sum);
            }
        }
        Ok((sums, gradients))
    }

    fn loss_options(&self, batch: u32) -> LossOptions<'_> {
        let model = &self.settings.model;
        let [low, high] = [self.progress.step as u32, (self.progress.step >> 32) as u32];
        let [seed_low, seed_high, ..] = philox(self.settings.seed, [low, high, batch, DROPOUT]);
        let dropout = DropoutOptions {
            hidden: model.dropout,
            attention: model.attention_dropout,
            classifier: model.classifier_dropout,
            seed: u64::from(seed_low) | u64::from(seed_high) << 32,
        };
        let teacher = self.teacher.as_ref().zip(self.settings.distillation.as_ref());
        LossOptions {
            z_loss: self.settings.optimizer.z_loss as f32,
            dropout: Some(dropout),
            teacher: teacher.map(|(network, how)| TeacherOptions {
                network,
                temperature: how.temperature,
                weight: how.weight,
            }),
        }
    }

    /// Passes over the data done before a position.
    fn epochs(&mut self, next: Position) -> Result<f64> {
        let batches = self.feed.epoch_batches(next.epoch)?;
        Ok(next.epoch as f64 + next.batch as f64 / batches.max(1) as f64)
    }
}

fn finite(value: f64, step: u64, what: &'static str) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(Error::NotFinite { step, what }) }
}
