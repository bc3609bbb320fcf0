//! Kinds of requests that a model takes.

/// Kinds of requests that a model takes, beside token ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// It takes and gives text.
    pub text: bool,
    /// It generates targets. Every model gives the states of its encoder.
    pub generation: bool,
    /// It writes the span between two texts.
    pub infilling: bool,
    /// It scores classes.
    pub classes: bool,
}

impl Capabilities {
    /// Their names in `GET /v1/models`. A conversation needs a tokenizer, and every model has an encoder.
    pub fn names(self) -> Vec<&'static str> {
        let Self { text, generation, infilling, classes } = self;
        [
            ("generate", generation),
            ("suffix", infilling),
            ("chat", generation && text),
            ("embeddings", true),
            ("encode", true),
            ("classify", classes),
            ("score", true),
        ]
        .into_iter()
        .filter_map(|(name, is_given)| is_given.then_some(name))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_requests_that_are_answered() {
        let pair = Capabilities { text: true, generation: true, infilling: false, classes: false };
        assert_eq!(pair.names(), ["generate", "chat", "embeddings", "encode", "score"]);
        let denoised = Capabilities { infilling: true, ..pair };
        assert_eq!(denoised.names(), ["generate", "suffix", "chat", "embeddings", "encode", "score"]);
        let of_ids = Capabilities { text: false, ..pair };
        assert_eq!(of_ids.names(), ["generate", "embeddings", "encode", "score"]);
        let classifier = Capabilities { generation: false, classes: true, ..pair };
        assert_eq!(classifier.names(), ["embeddings", "encode", "classify", "score"]);
    }
}
