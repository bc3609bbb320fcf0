//! Loads an encoder without a decoder onto the processor, for `server eval`.

use std::path::Path;
use std::sync::Arc;

use kernels::cpu::Cpu;
use model::{Arithmetic, EncoderCheckpoint, EncoderModel, TensorSource, Tokenizer};

use super::device::processor;
use super::error::LoadError;
use super::shared::Shared;
use super::tokenizer::tokenizer_beside;
use crate::config::{Config, Quantize};
use crate::process::progress::LoadProgress;

/// Loads an encoder on the processor, with its tokenizer.
///
/// # Errors
/// When files, shapes, instructions or memory do not allow it.
pub fn load_encoder_on_processor(
    config: &Config,
    folder: &Path,
) -> Result<(EncoderModel<Cpu>, Option<Arc<Tokenizer>>), LoadError> {
    let choice = &config.model;
    let mut checkpoint = EncoderCheckpoint::open(folder)?;
    checkpoint.limit_source(config.limits.source_tokens);
    let tokenizer = tokenizer_beside(choice, folder, checkpoint.config().encoder.vocab)?;
    let progress = LoadProgress::new("loading", checkpoint.total_bytes());
    let quantize = match choice.quantize {
        Quantize::To(scheme) => Some(scheme),
        Quantize::Auto | Quantize::None => None,
    };
    let arithmetic = Arithmetic { quantize, ..choice.precision.into() };
    let backend = processor(choice, &mut Shared::default())?;
    let model = EncoderModel::load(backend, &checkpoint, arithmetic, &mut |bytes| progress.advance(bytes))?;
    progress.finish();
    Ok((model, tokenizer))
}
