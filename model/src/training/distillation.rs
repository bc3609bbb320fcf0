//! The teacher of a run: opened, and refused if its vocabulary is not the student's.
//!
//! Called by `run`. The loss from its distribution is in `network`.

use std::path::Path;

use super::error::{Error, Result};
use super::network::{Network, NetworkOptions};
use super::published::Companions;
use super::settings::Distillation;
use crate::tokenizer;

/// Opens a teacher for a student.
///
/// # Errors
/// When it cannot be opened, writes no texts, or has another vocabulary.
pub fn open(
    settings: &Distillation,
    student: &Network,
    tokenizer_json: Option<&[u8]>,
    options: &NetworkOptions,
) -> Result<Network> {
    let options = NetworkOptions { encoder_causal: false, activation_checkpointing: false, ..options.clone() };
    let teacher = Network::open(&settings.teacher, &options)?;
    let mut problems = Vec::new();
    if teacher.architecture().classifies() {
        problems.push("distillation.teacher is a classifier: it has no distribution of the next token".to_owned());
    }
    if teacher.vocab() != student.vocab() {
        let (own, other) = (student.vocab(), teacher.vocab());
        problems.push(format!("distillation.teacher has a vocabulary of {other} tokens, the model one of {own}"));
    } else if !same_pieces(tokenizer_json, &settings.teacher)? {
        problems.push("distillation.teacher has a tokenizer with other pieces than the model's".to_owned());
    }
    if problems.is_empty() { Ok(teacher) } else { Err(Error::Settings { problems }) }
}

/// Whether two `tokenizer.json` give the same ids to the same pieces. If one is missing, they are taken to be equal.
fn same_pieces(tokenizer_json: Option<&[u8]>, teacher: &Path) -> Result<bool> {
    let companions = Companions::of(teacher)?;
    let (Some(own), Some(others)) = (tokenizer_json, companions.get("tokenizer.json")) else { return Ok(true) };
    Ok(own == others || tokenizer::have_same_pieces(own, others))
}
