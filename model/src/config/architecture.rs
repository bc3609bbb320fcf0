//! The one description of what a checkpoint is: a generation of Gemma, the stacks that it has, what its head scores.
//!
//! Read from `config.json` by [`super::ConfigDocument::architecture`]. Code that treats checkpoints differently asks
//! this description instead of the JSON.

use std::fmt;

/// The architecture of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture {
    /// Generation of Gemma whose layers the model has.
    pub generation: Generation,
    /// Stacks of layers.
    pub stacks: Stacks,
    /// The head on the last stack.
    pub head: Head,
    /// Whether the encoder was trained with a causal mask. Only the training network computes such an encoder.
    pub causal_encoder: bool,
}

/// A generation of Gemma: which sublayers a layer has and what they compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Gemma 2 and T5Gemma: separate cross-attention, soft-capped scores, one base of the rotary angles.
    Gemma2,
    /// Gemma 3 and T5Gemma 2: merged attention, normed query and key heads, rotary angles by the kind of layer, one
    /// table for both stacks and the output.
    Gemma3,
}

/// The stacks of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stacks {
    /// An encoder, and a decoder that attends to the encoder's states.
    EncoderDecoder,
    /// An encoder alone.
    Encoder,
    /// A decoder alone.
    Decoder,
}

/// The head of a model, by the things that it scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Every token of the vocabulary, as the next one.
    Vocabulary,
    /// A set of named classes, by the state of the last token.
    Classes,
    /// Nothing: the final states are the result. Only an encoder alone has no head.
    States,
}

impl Architecture {
    /// An encoder-decoder that can be served.
    pub(super) const T5GEMMA: Self = Self {
        generation: Generation::Gemma2,
        stacks: Stacks::EncoderDecoder,
        head: Head::Vocabulary,
        causal_encoder: false,
    };

    /// An encoder-decoder of this generation that can be served.
    pub(super) const fn pair(generation: Generation) -> Self {
        Self { generation, ..Self::T5GEMMA }
    }

    /// Whether the model has an encoder.
    pub const fn has_encoder(self) -> bool {
        !matches!(self.stacks, Stacks::Decoder)
    }

    /// Whether the model tells classes apart instead of writing text.
    pub const fn classifies(self) -> bool {
        matches!(self.head, Head::Classes)
    }

    /// The architecture of the classifier that keeps this model's encoder or, without an encoder, its decoder.
    pub const fn as_classifier(self) -> Self {
        let stacks = match self.stacks {
            Stacks::EncoderDecoder | Stacks::Encoder => Stacks::Encoder,
            Stacks::Decoder => Stacks::Decoder,
        };
        Self { stacks, head: Head::Classes, ..self }
    }

    /// The class of transformers that reads the checkpoint.
    pub const fn class(self) -> &'static str {
        let [first, second] = match (self.stacks, self.head) {
            (Stacks::Encoder, Head::States) => ["T5GemmaEncoderModel", "T5Gemma2Encoder"],
            (Stacks::EncoderDecoder, Head::Vocabulary | Head::States) | (Stacks::Encoder, Head::Vocabulary) => {
                ["T5GemmaForConditionalGeneration", "T5Gemma2ForConditionalGeneration"]
            }
            (Stacks::EncoderDecoder | Stacks::Encoder, Head::Classes) => {
                ["T5GemmaForSequenceClassification", "T5Gemma2ForSequenceClassification"]
            }
            (Stacks::Decoder, Head::Vocabulary | Head::States) => ["Gemma2ForCausalLM", "Gemma3ForCausalLM"],
            (Stacks::Decoder, Head::Classes) => {
                ["Gemma2ForSequenceClassification", "Gemma3TextForSequenceClassification"]
            }
        };
        match self.generation {
            Generation::Gemma2 => first,
            Generation::Gemma3 => second,
        }
    }
}

impl fmt::Display for Architecture {
    /// The architecture in words, as `encoder-decoder` or `decoder-only classifier`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.stacks, self.head) {
            (Stacks::EncoderDecoder, Head::Vocabulary | Head::States) => "encoder-decoder",
            (Stacks::EncoderDecoder, Head::Classes) => "encoder-decoder classifier",
            (Stacks::Encoder, Head::Vocabulary | Head::States) => "encoder",
            (Stacks::Encoder, Head::Classes) => "encoder classifier",
            (Stacks::Decoder, Head::Vocabulary | Head::States) => "decoder-only model",
            (Stacks::Decoder, Head::Classes) => "decoder-only classifier",
        })?;
        f.write_str(if self.causal_encoder { " with a causal encoder" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Architecture = Architecture::T5GEMMA;

    #[test]
    fn a_pair_becomes_an_encoder_classifier_and_a_decoder_stays_a_decoder() {
        let classifier = PAIR.as_classifier();
        assert_eq!((classifier.stacks, classifier.head), (Stacks::Encoder, Head::Classes));
        assert_eq!(classifier.class(), "T5GemmaForSequenceClassification");
        let decoder = Architecture { stacks: Stacks::Decoder, ..PAIR };
        assert_eq!((decoder.class(), decoder.has_encoder()), ("Gemma2ForCausalLM", false));
        assert_eq!(decoder.as_classifier().class(), "Gemma2ForSequenceClassification");
        let second = Architecture::pair(Generation::Gemma3);
        assert_eq!(second.class(), "T5Gemma2ForConditionalGeneration");
        assert_eq!(second.as_classifier().class(), "T5Gemma2ForSequenceClassification");
    }

    #[test]
    fn an_architecture_is_named_in_words() {
        assert_eq!(PAIR.to_string(), "encoder-decoder");
        assert_eq!(Architecture { causal_encoder: true, ..PAIR }.to_string(), "encoder-decoder with a causal encoder");
        assert_eq!(PAIR.as_classifier().to_string(), "encoder classifier");
    }
}
