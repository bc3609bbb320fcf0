//! Loads an encoder that classifies; `server eval` measures it, nothing serves it.

use std::path::Path;

use kernels::cpu::Cpu;
use model::{Arithmetic, Classifier, ClassifierCheckpoint, TensorSource, Tokenizer};

use super::device::processor;
use super::error::LoadError;
use super::tokenizer::tokenizer_beside;
use crate::config::{Config, Quantize};
use crate::process::progress::LoadProgress;

/// Loads an encoder that classifies, which is evaluated and never served, with its tokenizer.
///
/// # Errors
/// When files, shapes, instructions or memory do not allow it.
pub fn load_classifier(config: &Config, folder: &Path) -> Result<(Classifier<Cpu>, Option<Tokenizer>), LoadError> {
    let choice = &config.model;
    let mut checkpoint = ClassifierCheckpoint::open(folder)?;
    checkpoint.limit_source(config.limits.source_tokens);
    let tokenizer = tokenizer_beside(choice, folder, checkpoint.config().encoder.vocab)?;
    let progress = LoadProgress::new("loading", checkpoint.total_bytes());
    let quantize = match choice.quantize {
        Quantize::To(scheme) => Some(scheme),
        Quantize::Auto | Quantize::None => None,
    };
    let arithmetic = Arithmetic { quantize, ..choice.precision.into() };
    let backend = processor(choice)?;
    let classifier = Classifier::load(backend, &checkpoint, arithmetic, &mut |bytes| progress.advance(bytes))?;
    progress.finish();
    Ok((classifier, tokenizer))
}
