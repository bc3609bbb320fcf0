//! What a configuration calls for: the stacks, the head, the special tokens and every tensor.
//!
//! Read by `network` before any weight exists.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Var;
use serde_json::Value;

use super::weights::{Head, Names, Stack};
use super::{Architecture, SpecialTokens, configuration};
use crate::checkpoint::TensorTable;
use crate::config::{DecoderConfig, ModelConfig, StackConfig};
use crate::training::Result;

/// A network without weights.
pub struct Blueprint {
    pub architecture: Architecture,
    pub tokens: SpecialTokens,
    /// The stack that reads a source, where there are two or it is the only one.
    encoder: Option<StackConfig>,
    /// The stack that writes, where it is used.
    decoder: Option<StackConfig>,
    tensors: Vec<(String, Vec<usize>)>,
}

/// Whether a tensor is part of a classification head.
pub fn is_head(name: &str) -> bool {
    name.starts_with("score.")
}

impl Blueprint {
    /// Reads a checked configuration and names its architecture in it. `generation` is `generation_config.json`.
    pub fn read(path: &Path, config: &mut Value, generation: Option<&[u8]>) -> Result<Self> {
        let architecture = configuration::architecture(path, config)?;
        configuration::check_trainable(path, config, architecture)?;
        let blueprint = match architecture {
            Architecture::EncoderDecoder | Architecture::EncoderClassifier => {
                Self::t5gemma(architecture, path, config, generation)?
            }
            Architecture::DecoderOnly | Architecture::DecoderClassifier => {
                Self::gemma2(architecture, path, config, generation)?
            }
        };
        configuration::name_architecture(config, architecture);
        Ok(blueprint)
    }

    fn t5gemma(architecture: Architecture, path: &Path, config: &Value, generation: Option<&[u8]>) -> Result<Self> {
        let served = configuration::as_served(config).to_string();
        let model = ModelConfig::from_json(path, served.as_bytes(), generation)?;
        let mut tensors = entries(&TensorTable::new(&model));
        let mut decoder = Some(model.decoder);
        if architecture == Architecture::EncoderClassifier {
            let classes = configuration::labels(config).len();
            tensors.retain(|(name, _)| name.starts_with("model.encoder."));
            tensors.push(("score.out_proj.weight".to_owned(), vec![classes, model.encoder.hidden]));
            tensors.push(("score.out_proj.bias".to_owned(), vec![classes]));
            decoder = None;
        }
        let tokens = SpecialTokens {
            start: model.start_token,
            bos: model.bos_token,
            pad: model.pad_token,
            end: model.end_tokens,
        };
        Ok(Self { architecture, tokens, encoder: Some(model.encoder), decoder, tensors })
    }

    fn gemma2(architecture: Architecture, path: &Path, config: &Value, generation: Option<&[u8]>) -> Result<Self> {
        let model = DecoderConfig::from_json(path, config.to_string().as_bytes(), generation)?;
        let mut tensors = entries(&TensorTable::decoder_only(&model));
        if architecture == Architecture::DecoderClassifier {
            let classes = configuration::labels(config).len();
            tensors.retain(|(name, _)| name.starts_with("model."));
            tensors.push(("score.weight".to_owned(), vec![classes, model.stack.hidden]));
        }
        let (bos, pad, end) = (model.bos_token, model.pad_token, model.end_tokens);
        let tokens = SpecialTokens { start: bos, bos, pad, end };
        Ok(Self { architecture, tokens, encoder: None, decoder: Some(model.stack), tensors })
    }

    /// Every tensor's name and shape.
    pub fn tensors(&self) -> &[(String, Vec<usize>)] {
        &self.tensors
    }

    pub fn has_encoder(&self) -> bool {
        self.encoder.is_some()
    }

    /// The stacks and the head over weights of all the tensors: the encoder under cross-attention, the stack under the
    /// head, and the head.
    pub fn build(&self, parameters: &BTreeMap<String, Var>, encoder_causal: bool) -> (Option<Stack>, Stack, Head) {
        let stack = |config: &StackConfig, names, causal| Stack::new(config.clone(), names, causal, parameters);
        let encoder = self.encoder.as_ref().map(|encoder| stack(encoder, &Names::ENCODER, encoder_causal));
        let names = if encoder.is_some() { &Names::DECODER } else { &Names::DECODER_ONLY };
        let (encoder, main) = match (encoder, self.decoder.as_ref().map(|decoder| stack(decoder, names, true))) {
            (encoder, Some(decoder)) => (encoder, decoder),
            (Some(encoder), None) => (None, encoder),
            (None, None) => unreachable!("every architecture has a stack"),
        };
        let head = Head::find(parameters, &main);
        (encoder, main, head)
    }
}

fn entries(table: &TensorTable) -> Vec<(String, Vec<usize>)> {
    table.iter().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect()
}
