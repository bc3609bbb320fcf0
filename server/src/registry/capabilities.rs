//! Kinds of requests that a model takes.

/// Kinds of requests that a model takes, beside token ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// It takes and gives text.
    pub text: bool,
    /// It generates targets. Every model gives the states of its encoder.
    pub generation: bool,
    /// It scores classes.
    pub classes: bool,
}

impl Capabilities {
    /// Their names in `GET /v1/models`. A conversation needs a tokenizer, and every model has an encoder.
    pub fn names(self) -> Vec<&'static str> {
        let Self { text, generation, classes } = self;
        [
            ("generate", generation),
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
        let names = |text, generation, classes| Capabilities { text, generation, classes }.names();
        assert_eq!(names(true, true, false), ["generate", "chat", "embeddings", "encode", "score"]);
        assert_eq!(names(false, true, false), ["generate", "embeddings", "encode", "score"]);
        assert_eq!(names(true, false, true), ["embeddings", "encode", "classify", "score"]);
    }
}
