//! A training run from its settings to the model that is served: steps, validations, checkpoints, an end.
//!
//! Called by the server's `train`. Every decision follows from the settings and the saved progress, so that a run that
//! was killed is resumed as if it had never stopped.

mod finish;
mod open;
mod step;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::data::Feed;
use super::error::{Error, Result};
use super::metrics::{Metrics, Record, ValidationRecord};
use super::network::Network;
use super::objective::Recipe;
use super::observer::Observer;
use super::optimizer::AdamW;
use super::published::{Companions, Published};
use super::settings::{SavedPrecision, Settings};
use super::stages::{Pace, Plan};
use super::state::{Best, Checkpoints, Progress, Saved};
use super::validation::Validation;
use crate::tokenizer::Tokenizer;

/// Stack of each thread. The tensor library walks its graphs by recursion, one call per operation on the longest path
/// through the network. Only the used part takes memory.
const STACK_BYTES: usize = 64 << 20;

/// End of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The run ended with a model.
    Finished {
        /// Its folder, in the published layout.
        model: PathBuf,
        /// Steps taken.
        steps: u64,
        /// Whether the run ended early because validation did not get better.
        stopped_early: bool,
    },
    /// The run was asked to stop; the same settings resume it.
    Stopped {
        /// The checkpoint's folder.
        checkpoint: PathBuf,
        /// Steps taken.
        steps: u64,
    },
}

/// Trains until the last step, or until `stop` is set, which is checked after each step. A run that is already in the
/// settings' folder is resumed from its newest checkpoint.
///
/// # Errors
/// The error that ends the run early. Earlier checkpoints are unchanged.
pub fn train(settings: &Settings, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome> {
    settings.check()?;
    let threads = rayon::ThreadPoolBuilder::new().num_threads(settings.threads).stack_size(STACK_BYTES).build();
    let threads = threads.map_err(|error| Error::Threads { reason: error.to_string() })?;
    threads.install(|| Run::open(settings, observer)?.until_done(stop, observer))
}

/// State of a run.
struct Run<'a> {
    settings: &'a Settings,
    plan: Plan,
    network: Network,
    teacher: Option<Network>,
    feed: Feed,
    recipe: Arc<Recipe>,
    validation: Validation,
    tokenizer: Option<Tokenizer>,
    optimizer: AdamW,
    progress: Progress,
    metrics: Metrics,
    checkpoints: Checkpoints,
    companions: Companions,
    /// The stage that the network is set up for.
    stage: Option<usize>,
    /// Start of this process's part of the run; the seconds before it are in the progress.
    started: Instant,
    earlier_s: f64,
    /// Lock that keeps other processes out of the folder.
    _lock: File,
}

impl Run<'_> {
    fn until_done(mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome> {
        while let Some(pace) = self.next_pace() {
            let record = self.step(pace)?;
            self.add(Record::Step(record.clone()), observer)?;
            observer.step(&record);
            let is_best = self.validation_is_due() && self.validate(observer)?;
            if self.checkpoint_is_due(is_best) && self.next_pace().is_some() {
                self.save(observer)?;
            }
            if stop.load(Ordering::Relaxed) && self.next_pace().is_some() {
                return self.leave(observer);
            }
        }
        self.finish(observer)
    }

    /// Stage, weights and learning rate of the next step; `None` if there is none.
    fn next_pace(&self) -> Option<Pace> {
        self.plan.at(self.progress.step).filter(|_| !self.has_stalled())
    }

    /// Whether `patience` validations in a row were no better than an earlier one.
    fn has_stalled(&self) -> bool {
        let patience = self.settings.validation.patience;
        patience > 0 && self.progress.worse_validations >= patience
    }

    fn validation_is_due(&self) -> bool {
        let every = self.settings.validation.every_steps;
        every > 0 && self.progress.step.is_multiple_of(every) && self.validation.rows() > 0
    }

    /// With early stopping, the best model is the result of the run, so it is saved as soon as it is found.
    fn checkpoint_is_due(&self, is_best: bool) -> bool {
        self.is_regular(self.progress.step) || (is_best && self.settings.validation.patience > 0)
    }

    /// Whether a step always gets a checkpoint, whatever validation finds and whether or not the run is stopped.
    fn is_regular(&self, step: u64) -> bool {
        let every = self.settings.checkpoints.every_steps;
        every > 0 && step.is_multiple_of(every)
    }

    fn elapsed_s(&self) -> f64 {
        self.earlier_s + self.started.elapsed().as_secs_f64()
    }

    /// Validates; returns whether no earlier validation had as good a metric.
    fn validate(&mut self, observer: &mut dyn Observer) -> Result<bool> {
        let figures = self.validation.figures(&self.network)?;
        let samples = self.validation.samples(&self.network, self.tokenizer.as_ref())?;
        let metric = self.settings.validation.metric;
        let value = metric.value(&figures);
        let progress = &mut self.progress;
        let is_best = progress.best.is_none_or(|best| metric.is_better(value, best.value));
        if is_best {
            progress.best = Some(Best { step: progress.step, value });
            progress.worse_validations = 0;
        } else {
            progress.worse_validations += 1;
        }
        progress.validated_step = Some(progress.step);
        let record = ValidationRecord {
            step: progress.step,
            valid_loss: figures.loss,
            accuracy: figures.accuracy,
            perplexity: figures.loss.exp(),
            tokens: figures.tokens,
            best: is_best,
            elapsed_s: self.elapsed_s(),
            samples,
        };
        self.add(Record::Validation(record.clone()), observer)?;
        observer.validated(&record);
        Ok(is_best)
    }

    /// Adds a line to the metrics. If it cannot be written, the run ends after a checkpoint.
    fn add(&mut self, record: Record, observer: &mut dyn Observer) -> Result<()> {
        self.metrics.add(&record).inspect_err(|_| {
            // The first error is the one to report.
            let _ = self.save(observer);
        })
    }

    /// Writes a checkpoint, then removes those that are not kept.
    fn save(&mut self, observer: &mut dyn Observer) -> Result<PathBuf> {
        self.progress.elapsed_s = self.elapsed_s();
        self.progress.updates =
            self.optimizer.moments().iter().map(|(name, moments)| (name.clone(), moments.updates)).collect();
        let shapes = self.shapes();
        let model = self.published(&shapes, SavedPrecision::F32);
        let (weights, moments) = (self.network.parameters(), self.optimizer.moments());
        let saved = Saved { progress: &self.progress, model, weights, moments };
        let path = self.checkpoints.save(&saved)?;
        self.checkpoints.keep_only(&self.kept()?)?;
        observer.saved(&path);
        Ok(path)
    }

    /// Name and shape of every weight.
    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.network.parameters().iter().map(|(name, weight)| (name.clone(), weight.dims().to_vec())).collect()
    }

    /// The model as it is published, with weights of these shapes.
    fn published<'a>(&'a self, shapes: &'a [(String, Vec<usize>)], precision: SavedPrecision) -> Published<'a> {
        Published { config: self.network.document(), companions: &self.companions, weights: shapes, precision }
    }

    /// The newest checkpoint, the best one, and as many regular ones as the settings ask for or the mean needs.
    fn kept(&self) -> Result<BTreeSet<u64>> {
        let steps = self.checkpoints.steps()?;
        let count = self.settings.checkpoints.keep.max(self.settings.checkpoints.average_last).max(1);
        let regular = steps.iter().rev().copied().filter(|&step| self.is_regular(step)).take(count);
        let best = self.progress.best.map(|best| best.step);
        Ok(regular.chain(steps.last().copied()).chain(best).collect())
    }

    fn leave(mut self, observer: &mut dyn Observer) -> Result<Outcome> {
        let steps = self.progress.step;
        let exists = self.checkpoints.steps()?.last() == Some(&steps);
        let checkpoint = if exists { self.checkpoints.path(steps) } else { self.save(observer)? };
        self.tell_of_sentinels(observer);
        Ok(Outcome::Stopped { checkpoint, steps })
    }
}
