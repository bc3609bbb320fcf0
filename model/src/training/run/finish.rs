//! The end of a run: the model that is served.
//!
//! Called by `run` after the last step. Repeating it gives the same model.

use std::path::PathBuf;

use super::{Outcome, Run};
use crate::checkpoint::VisionTower;
use crate::config::{Generation, Stacks};
use crate::training::average::Average;
use crate::training::error::Result;
use crate::training::observer::Observer;
use crate::training::state::verify;
use crate::training::whole_folder;

/// Name of the model's folder in the run's folder.
pub(super) const FINAL: &str = "final";

impl Run<'_> {
    pub(super) fn finish(mut self, observer: &mut dyn Observer) -> Result<Outcome> {
        let steps = self.progress.step;
        let mut is_saved = self.checkpoints.steps()?.contains(&steps);
        if self.validation.rows() > 0 && self.progress.validated_step != Some(steps) {
            self.validate(observer)?;
            is_saved = false;
        }
        if !is_saved {
            self.save(observer)?;
        }
        self.tell_of_sentinels(observer);
        let model = self.publish(observer)?;
        observer.saved(&model);
        Ok(Outcome::Finished { model, steps, stopped_early: self.has_stalled() && steps < self.plan.steps() })
    }

    pub(super) fn tell_of_sentinels(&self, observer: &mut dyn Observer) {
        let short = self.recipe.short_of_sentinels();
        if short > 0 {
            observer.note(&format!(
                "{short} texts had fewer spans than their denoiser asks for: there are too few sentinels"
            ));
        }
    }

    /// Writes the model: the mean of several checkpoints, or a single one.
    fn publish(&self, observer: &mut dyn Observer) -> Result<PathBuf> {
        let path = self.settings.out.join(FINAL);
        let sources = self.sources()?;
        sources.iter().try_for_each(|checkpoint| verify(checkpoint))?;
        let mean = Average::open(&sources)?;
        let tower = self.tower(observer)?;
        let mut shapes = self.shapes();
        shapes.extend(tower.iter().flat_map(VisionTower::shapes));
        let model = self.published(&shapes, self.settings.model.save_as);
        let mut numbers = |name: &str| match tower.as_ref().and_then(|tower| tower.numbers(name)) {
            Some(numbers) => Ok(numbers?),
            None => mean.mean(name),
        };
        whole_folder::write(&path, |folder| model.write(folder, &mut numbers))?;
        Ok(path)
    }

    /// The tower for images of the checkpoint that the run began with.
    fn tower(&self, observer: &mut dyn Observer) -> Result<Option<VisionTower>> {
        let architecture = self.network.architecture();
        let may_have_one =
            architecture.stacks == Stacks::EncoderDecoder && architecture.generation == Generation::Gemma3;
        let Some(init) = self.settings.model.init.as_ref().filter(|_| may_have_one) else { return Ok(None) };
        if !init.exists() {
            observer.note("model.init is not there any more: a tower for images that it had is not in the final model");
            return Ok(None);
        }
        Ok(Some(VisionTower::open(init)?))
    }

    fn sources(&self) -> Result<Vec<PathBuf>> {
        let (last, steps) = (self.progress.step, self.checkpoints.steps()?);
        let count = self.settings.checkpoints.average_last;
        let chosen: Vec<u64> = if count > 1 {
            let counted = |step: u64| step == last || self.is_regular(step);
            let mut newest: Vec<u64> =
                steps.into_iter().rev().filter(|&step| step <= last && counted(step)).take(count).collect();
            newest.reverse();
            newest
        } else {
            let best = self.progress.best.filter(|_| self.settings.validation.patience > 0).map(|best| best.step);
            vec![best.filter(|best| steps.contains(best)).unwrap_or(last)]
        };
        Ok(chosen.into_iter().map(|step| self.checkpoints.path(step)).collect())
    }
}
