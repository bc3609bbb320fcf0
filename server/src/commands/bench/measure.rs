//! Measures one model: encoder time, step time, and the floor that the memory sets to a step.
//!
//! Used by the plain bench and the sweep, and in part by `beams`.

use std::sync::Arc;

use kernels::{KvFormat, SpeedMeter};
use model::{Arithmetic, EncoderLoad, ModelConfig, StepLoad};

use super::driver::{Driver, room_for};
use super::figures::BenchFigures;
use crate::cli::BenchOptions;
use crate::commands::error::CommandError;
use crate::config::Config;
use crate::loading::{LoadError, load};

/// Measurements of each figure; the median is reported.
pub(super) const REPEATS: usize = 3;

/// A model that is being measured.
pub struct Bench<'a> {
    driver: Driver,
    options: &'a BenchOptions,
    model: ModelConfig,
    arithmetic: Arithmetic,
    memory: SpeedMeter,
    /// Speed of the memory when it was last measured.
    read_bytes_per_s: f64,
    instruction_set: &'static str,
    screens: bool,
}

impl<'a> Bench<'a> {
    /// Loads the model and starts an engine with room for the largest batch.
    pub fn start(config: &Config, options: &'a BenchOptions) -> Result<Self, CommandError> {
        let loaded = load(config)?;
        let limits = room_for(options, loaded.limits(config)?)?;
        let arithmetic = loaded.arithmetic();
        let screens = loaded.screens_output();
        let (model, instruction_set) = (loaded.config().clone(), loaded.instruction_set);
        let memory = loaded.memory_meter()?;
        let read_bytes_per_s = memory().map_err(LoadError::from)?;
        let driver = Driver::start(loaded.start(limits, Arc::default())?, options, model.encoder.vocab)?;
        Ok(Self { driver, options, model, arithmetic, memory, read_bytes_per_s, instruction_set, screens })
    }

    /// Name of the instructions that the kernels use.
    pub fn instruction_set(&self) -> &'static str {
        self.instruction_set
    }

    /// Arithmetic of the model.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Name of the format in which the sources' keys and values are kept.
    pub fn cross_kv(&self) -> &'static str {
        match self.arithmetic.cross_kv {
            KvFormat::F32 => "f32",
            KvFormat::Bf16 => "bf16",
            KvFormat::Int8 => "int8",
        }
    }

    /// Medians of [`REPEATS`] runs, and the floor by the speed of the memory before and after them.
    pub fn measure(&mut self, batch: usize) -> Result<BenchFigures, CommandError> {
        let (source_len, target_len) = (self.options.source_len.get(), self.options.target_len);
        let (mut first, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..REPEATS {
            first.push(self.driver.run(batch, 1)?.as_secs_f64());
            whole.push(self.driver.run(batch, target_len)?.as_secs_f64());
        }
        let (first_s, whole_s) = (median(first), median(whole));
        let step_s = (whole_s - first_s) / (target_len - 1) as f64;
        let read_bytes_per_s = self.mean_read_bytes_per_s()?;
        let load = StepLoad { batch, source_len, target_len: target_len / 2, screens: self.screens };
        let step_bytes = self.model.step_bytes(self.arithmetic, load);
        Ok(BenchFigures {
            batch,
            encode_ms: rounded(first_s * 1e3),
            step_ms: rounded(step_s * 1e3),
            decode_tokens_per_s: rounded(batch as f64 / step_s),
            tokens_per_s: rounded((batch * target_len) as f64 / whole_s),
            encoder_operations: self.model.encoder_operations(EncoderLoad { sources: batch, source_len }),
            step_bytes,
            read_bytes_per_s: read_bytes_per_s.round(),
            floor_ms: rounded(step_bytes as f64 / read_bytes_per_s * 1e3),
        })
    }

    /// Speed of the memory over the time since it was last measured. It changes where others share the machine.
    fn mean_read_bytes_per_s(&mut self) -> Result<f64, CommandError> {
        let now = (self.memory)().map_err(LoadError::from)?;
        Ok(mean_speed([std::mem::replace(&mut self.read_bytes_per_s, now), now]))
    }

    /// Ends the engine and frees the model.
    pub fn end(self) {
        self.driver.end();
    }
}

/// The speed that takes the mean of the times that these speeds take.
fn mean_speed(speeds: [f64; 2]) -> f64 {
    2.0 / speeds.map(f64::recip).iter().sum::<f64>()
}

/// The middle of these values.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Three decimals: enough for a comparison, short enough to read.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_speed_takes_the_mean_of_both_times() {
        assert!((mean_speed([30.0, 60.0]) - 40.0).abs() < 1e-9);
        assert!((mean_speed([50.0, 50.0]) - 50.0).abs() < 1e-9);
    }
}
