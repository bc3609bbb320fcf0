//! The mark that training with denoisers leaves in `config.json`: the tokens by which a span was asked for.
//!
//! Written by the training network, read when a model is loaded to write texts. No other program knows it.

use serde_json::json;

use super::document::ConfigDocument;
use super::fields::Problems;
use crate::error::Result;

/// The field of the mark.
const FIELD: &str = "encdec_denoising";
const SENTINELS: &str = "sentinel_token_ids";
const MODE: &str = "mode_token_id";

/// Tokens by which a denoised model was asked for spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenoisingTokens {
    /// The first sentinels, in their order, at least one.
    pub sentinels: Vec<u32>,
    /// The token before sources with short spans.
    pub mode: Option<u32>,
}

impl ConfigDocument {
    /// The mark, whose ids must be below `vocab`; `None` for a model that was not trained with denoisers here.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when the mark is not as training writes it.
    pub fn denoising_tokens(&self, vocab: usize) -> Result<Option<DenoisingTokens>> {
        let mut problems = Problems::default();
        let top = self.fields().top;
        let Some(mark) = top.object(FIELD, &mut problems) else {
            problems.none_or_error(&self.path)?;
            return Ok(None);
        };
        let sentinels = mark.tokens(SENTINELS, Some(vocab), &mut problems).unwrap_or_default();
        if mark.get(SENTINELS).is_none() {
            problems.add(mark.name(SENTINELS), "is missing");
        }
        let mode = mark.tokens(MODE, Some(vocab), &mut problems).and_then(|ids| ids.first().copied());
        problems.none_or_error(&self.path)?;
        Ok(Some(DenoisingTokens { sentinels, mode }))
    }

    /// Says with which tokens the model was denoised.
    pub(crate) fn mark_denoising(&mut self, tokens: &DenoisingTokens) {
        let mut mark = json!({ SENTINELS: tokens.sentinels });
        if let Some(mode) = tokens.mode {
            mark[MODE] = json!(mode);
        }
        self.config[FIELD] = mark;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    fn document(config: &Value) -> ConfigDocument {
        ConfigDocument::parse(Path::new("config.json"), config.to_string().as_bytes(), None).unwrap()
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        for mode in [None, Some(3)] {
            let tokens = DenoisingTokens { sentinels: vec![7, 6], mode };
            let mut marked = document(&json!({"model_type": "t5gemma"}));
            assert_eq!(marked.denoising_tokens(8).unwrap(), None);
            marked.mark_denoising(&tokens);
            assert_eq!(marked.denoising_tokens(8).unwrap(), Some(tokens));
        }
    }

    #[test]
    fn every_problem_of_a_mark_is_told() {
        let message = |mark: Value| document(&json!({ FIELD: mark })).denoising_tokens(8).unwrap_err().to_string();
        let wrong = message(json!({"sentinel_token_ids": [7, 8], "mode_token_id": "x"}));
        for part in ["encdec_denoising.sentinel_token_ids is 8, outside", "encdec_denoising.mode_token_id is \"x\""] {
            assert!(wrong.contains(part), "{part}: {wrong}");
        }
        assert!(message(json!({})).contains("sentinel_token_ids is missing"));
        assert!(message(json!({"sentinel_token_ids": []})).contains("sentinel_token_ids is an empty list"));
        assert!(message(json!(5)).contains("encdec_denoising is not an object"));
    }
}
