//! Changes that training makes to a configuration, and the marks that it reads.
//!
//! Called by the training network and its run. Keys that this program does not know are kept.

use serde_json::{Value, json};

use super::architecture::{Architecture, Stacks};
use super::document::{CAUSAL_ENCODER, ConfigDocument};
use super::labels;

/// Field that says where cross-attention comes from while it has not been trained yet.
pub(super) const CROSS_ATTENTION_FIELD: &str = "encdec_cross_attention";
/// The field's value for weights drawn at random.
pub(super) const CROSS_ATTENTION_RANDOM: &str = "random";
/// Deviation of first weights where the file names none; transformers' default.
const INITIALIZER_RANGE: f64 = 0.02;

impl ConfigDocument {
    /// The deviation that training draws random matrices with: the first number that the file names. It may be 0.
    pub(crate) fn initializer_range(&self) -> f64 {
        let places = [&self.config, &self.config["decoder"]];
        places.into_iter().find_map(|place| place["initializer_range"].as_f64()).unwrap_or(INITIALIZER_RANGE)
    }

    /// The deviation that a decoder-only model's own weights were first drawn with, for what adaptation draws and
    /// writes: the positive number at the top of the file.
    pub(crate) fn source_initializer_range(&self) -> f64 {
        let range = self.config["initializer_range"].as_f64();
        range.filter(|range| *range > 0.0).unwrap_or(INITIALIZER_RANGE)
    }

    /// Whether cross-attention was drawn at random and has not been trained.
    pub(crate) fn has_random_cross_attention(&self) -> bool {
        self.config.get(CROSS_ATTENTION_FIELD).is_some_and(|mark| mark == CROSS_ATTENTION_RANDOM)
    }

    /// Says that the output table is a tensor of its own.
    pub(crate) fn untie(&mut self) {
        self.config["tie_word_embeddings"] = json!(false);
    }

    /// Says that the encoder was trained with a causal mask. Such an encoder is never served.
    pub(crate) fn mark_causal_encoder(&mut self) {
        self.config["encoder"][CAUSAL_ENCODER] = json!(true);
    }

    /// Names the class of transformers that reads this architecture.
    pub(crate) fn name_class(&mut self, architecture: Architecture) {
        self.config["architectures"] = json!([architecture.class()]);
    }

    /// Turns the configuration into that of the classifier over the same encoder or, without an encoder, the same
    /// decoder.
    pub(crate) fn make_classifier(&mut self, from: Architecture, labels: &[String]) {
        let classifier = from.as_classifier();
        if classifier.stacks == Stacks::Encoder {
            self.config["is_encoder_decoder"] = Value::Bool(false);
        }
        self.name_class(classifier);
        labels::write(&mut self.config, labels);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn training_draws_with_the_first_deviation_named_and_adaptation_with_a_positive_one_at_the_top() {
        for (config, trained, adapted) in [
            (json!({"initializer_range": 0.5, "decoder": {"initializer_range": 0.25}}), 0.5, 0.5),
            (json!({"initializer_range": 0, "decoder": {"initializer_range": 0.25}}), 0.0, INITIALIZER_RANGE),
            (json!({"initializer_range": -1.0}), -1.0, INITIALIZER_RANGE),
            (json!({"initializer_range": "wide", "decoder": {"initializer_range": 0.25}}), 0.25, INITIALIZER_RANGE),
            (json!({"decoder": {"initializer_range": 0.25}}), 0.25, INITIALIZER_RANGE),
            (json!({}), INITIALIZER_RANGE, INITIALIZER_RANGE),
        ] {
            let text = config.to_string();
            let document = ConfigDocument::parse(Path::new("config.json"), text.as_bytes(), None).unwrap();
            let ranges = (document.initializer_range(), document.source_initializer_range());
            assert_eq!(ranges, (trained, adapted), "{config}");
        }
    }
}
