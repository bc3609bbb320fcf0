//! From settings to a model in memory: its checkpoint, tokenizer, device and weights.
//!
//! Called by the commands.

use std::sync::Arc;

use kernels::Scheme;
use kernels::profiled::Profile;
use model::{Checkpoint, PositionLimits, RandomWeights, WeightSource, shapes};

use super::device::{OpenDevice, open_device};
use super::error::LoadError;
use super::fit::check_weights;
use super::loaded::Loaded;
use super::tokenizer::{check_vocabulary, served_tokenizer};
use crate::config::{Config, CudaConfig, ModelSource, Quantize};
use crate::engine::StepSizes;
use crate::process::memory::MemoryBounds;
use crate::process::progress::LoadProgress;

/// Loads weights and tokenizer.
///
/// # Errors
/// When files, shapes, instructions or memory do not allow it.
pub fn load(config: &Config) -> Result<Loaded, LoadError> {
    load_on(config, None)
}

/// Loads a model as [`load`] does, with every op measured.
///
/// # Errors
/// When files, shapes, instructions or memory do not allow it.
pub fn load_profiled(config: &Config, profile: &Profile) -> Result<Loaded, LoadError> {
    load_on(config, Some(profile))
}

fn load_on(config: &Config, profile: Option<&Profile>) -> Result<Loaded, LoadError> {
    let choice = &config.model;
    let mut checkpoint = match &choice.source {
        ModelSource::Demo => Some(Checkpoint::embedded()?),
        ModelSource::Checkpoint(folder) => Some(Checkpoint::open(folder)?),
        ModelSource::Shape(_) => None,
    };
    if let Some(checkpoint) = &mut checkpoint {
        checkpoint.limit_positions(positions(config));
        warn_of_ignored_keys(checkpoint);
    }
    let quantize = quantization(choice.quantize, checkpoint.as_ref())?;
    // A tokenizer is small and may be wrong: look at it before the long part.
    let tokenizer = served_tokenizer(&choice.tokenizer, checkpoint.as_ref())?;
    let source: Box<dyn WeightSource> = match (&choice.source, checkpoint) {
        (ModelSource::Shape(name), _) => {
            let mut shape = shapes::shape(name)?;
            shape.limit_positions(positions(config));
            Box::new(RandomWeights::new(shape))
        }
        (_, Some(checkpoint)) => Box::new(checkpoint),
        (_, None) => unreachable!("every source but a shape is a checkpoint"),
    };
    if let Some(tokenizer) = &tokenizer {
        let config = source.config();
        check_vocabulary(tokenizer, config.encoder.vocab.min(config.decoder.vocab))?;
    }
    let (device, arithmetic) = open_device(config, quantize)?;
    let (instruction_set, in_main_memory) = (device.instruction_set(), matches!(device, OpenDevice::Processor(..)));
    if in_main_memory {
        check_weights(source.config().least_weight_bytes(arithmetic), &MemoryBounds::read())?;
    }
    let progress = LoadProgress::new("loading", source.total_bytes());
    let model = device.load(source.as_ref(), arithmetic, profile, &mut |bytes| progress.advance(bytes))?;
    progress.finish();
    tracing::debug!(%arithmetic, device = model.describe(), "the model is loaded");
    let CudaConfig { step_row_buckets, step_source_tokens, step_target_tokens, .. } = &config.cuda;
    let (source_tokens, target_tokens) = (*step_source_tokens, *step_target_tokens);
    let rehearsed = StepSizes { rows: step_row_buckets.clone(), source_tokens, target_tokens };
    Ok(Loaded { tokenizer: tokenizer.map(Arc::new), instruction_set, model, in_main_memory, rehearsed })
}

/// The longest sequences that requests may have.
fn positions(config: &Config) -> PositionLimits {
    let limits = &config.limits;
    PositionLimits { source_tokens: limits.source_tokens, target_tokens: limits.target_tokens }
}

fn warn_of_ignored_keys(checkpoint: &Checkpoint) {
    let keys = checkpoint.document().ignored_generation_keys();
    if !keys.is_empty() {
        tracing::warn!(
            "these keys of generation_config.json have no effect here: {}; say in each request what they should do",
            keys.join(", ")
        );
    }
}

/// The scheme to quantise to; a quantised checkpoint leaves no choice.
fn quantization(choice: Quantize, checkpoint: Option<&Checkpoint>) -> Result<Option<Scheme>, LoadError> {
    let stored =
        checkpoint.and_then(|checkpoint| Some((checkpoint.origin().display().to_string(), checkpoint.scheme()?)));
    match (choice, stored) {
        (Quantize::Auto, stored) => Ok(stored.map(|(_, scheme)| scheme)),
        (Quantize::To(wanted), Some((_, scheme))) if wanted == scheme => Ok(Some(scheme)),
        (_, Some((origin, scheme))) => Err(LoadError::Quantized { origin, scheme }),
        (Quantize::None, None) => Ok(None),
        (Quantize::To(wanted), None) => Ok(Some(wanted)),
    }
}
