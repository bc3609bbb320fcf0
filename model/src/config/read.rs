//! From the text of `config.json` and `generation_config.json` to a checked `ModelConfig`.
//!
//! Called by `config`. Collects every problem before it gives up; knows nothing of tensors.

use std::path::Path;

use serde_json::Value;

use super::documents::{Documents, check_model_type};
use super::fields::{Fields, Problems, brief};
use super::generation;
use super::stack::{check_storage_type, quiet_vocab, read_stack};
use super::{CAUSAL_ENCODER, ConfigFile, ModelConfig, quantization};
use crate::error::{Error, Result};

pub(super) fn read(path: &Path, config: &[u8], generation: Option<&[u8]>) -> Result<ConfigFile> {
    let documents = Documents::parse(path, config, generation)?;
    let (top, generation) = documents.fields();
    documents.expect_model_type("t5gemma")?;

    let mut problems = Problems::default();
    let scheme = quantization::read(&top, &mut problems);
    match read_model(&top, &generation, &mut problems) {
        Some(model) if problems.0.is_empty() => {
            Ok(ConfigFile { model, scheme, ignored_generation_keys: generation::ignored(&generation) })
        }
        _ => Err(Error::Config { path: path.to_owned(), problems: problems.0 }),
    }
}

/// `None` only when a problem was added.
fn read_model(top: &Fields<'_>, generation: &Fields<'_>, problems: &mut Problems) -> Option<ModelConfig> {
    check_model_type(top, problems);
    if top.flag("is_encoder_decoder", problems) == Some(false) {
        problems.add("is_encoder_decoder", "is false: an encoder alone cannot write a text, though it may classify");
    } else if names_classifier(top) {
        problems.add("architectures", "names a classifier, which cannot write a text");
    }
    check_storage_type(top, problems);
    let tied = top.flag("tie_word_embeddings", problems).unwrap_or(true);

    let encoder_fields = stack_fields(top, "encoder", problems);
    let decoder_fields = stack_fields(top, "decoder", problems);
    if let Some(fields) = encoder_fields.as_ref()
        && fields.flag(CAUSAL_ENCODER, problems) == Some(true)
    {
        let reason = "is true: an encoder that was trained to see earlier tokens only cannot be served";
        problems.add(fields.name(CAUSAL_ENCODER), reason);
    }
    let encoder = encoder_fields.as_ref().and_then(|fields| read_stack(fields, top, problems));
    let decoder = decoder_fields.as_ref().and_then(|fields| read_stack(fields, top, problems));

    let vocab = decoder_fields.as_ref().and_then(|fields| quiet_vocab(fields, top));
    let decoder_fields = decoder_fields.unwrap_or_else(Fields::absent);
    check_pair(&encoder_fields.unwrap_or_else(Fields::absent), &decoder_fields, problems);
    let mut first =
        |field: &str, places: &[&Fields<'_>]| places.iter().find_map(|place| place.token(field, vocab, problems));
    let bos = first("bos_token_id", &[&decoder_fields, top, generation]);
    // As transformers has it: what generation_config.json says, or else what config.json does, each with the token that
    // opens a text where it does not name the one that opens a target.
    let start = first("decoder_start_token_id", &[generation])
        .or_else(|| first("bos_token_id", &[generation]))
        .or_else(|| first("decoder_start_token_id", &[top, &decoder_fields]))
        .or_else(|| first("bos_token_id", &[top, &decoder_fields]));
    let pad = first("pad_token_id", &[top, &decoder_fields]);
    let ends =
        [generation, top, &decoder_fields].iter().find_map(|place| place.tokens("eos_token_id", vocab, problems));
    if start.is_none() {
        problems.add("decoder_start_token_id", "is missing, and so is bos_token_id");
    }
    if ends.is_none() {
        problems.add("eos_token_id", "is missing");
    }

    let (encoder, decoder) = (encoder?, decoder?);
    let start_token = start?;
    Some(ModelConfig {
        encoder,
        decoder,
        tie_word_embeddings: tied,
        start_token,
        end_tokens: ends?,
        // transformers' own default; batches are never padded here, so that nothing depends on it.
        pad_token: pad.unwrap_or(0),
        bos_token: bos.unwrap_or(start_token),
    })
}

fn names_classifier(top: &Fields<'_>) -> bool {
    let names = top.get("architectures").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).any(|name| name.ends_with("ForSequenceClassification"))
}

fn stack_fields<'a>(top: &Fields<'a>, stack: &str, problems: &mut Problems) -> Option<Fields<'a>> {
    if top.get(stack).is_none() {
        problems.add(stack, "is missing");
    }
    top.object(stack, problems)
}

/// What the two stacks must agree on. What transformers overwrites or no tensor has, as `vocab_size` outside the stacks,
/// may be anything.
fn check_pair(encoder: &Fields<'_>, decoder: &Fields<'_>, problems: &mut Problems) {
    let (Some(found), Some(wanted)) = (encoder.get("vocab_size"), decoder.get("vocab_size")) else { return };
    if found != wanted {
        let reason = format!("is {}, but {} is {}", brief(found), decoder.name("vocab_size"), brief(wanted));
        problems.add(encoder.name("vocab_size"), reason);
    }
}
