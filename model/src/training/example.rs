//! Examples that a model is trained on, as token ids.
//!
//! Made by `objective`, grouped by `data`, read by `network`. Knows no tensor.

/// The example of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Example {
    /// A source and its target.
    Pair {
        /// Source for the encoder. A decoder-only model reads it before the target, without a loss on it; there it is
        /// never empty (the start token alone, if there is no source).
        source: Vec<u32>,
        /// Target with its end token; never empty. The decoder reads the start token and all but the
        /// last of these.
        target: Vec<u32>,
    },
    /// A source and its class.
    Labelled {
        /// Source to classify; never empty.
        source: Vec<u32>,
        /// Number of the class.
        label: u32,
    },
}

impl Example {
    /// The source.
    pub fn source(&self) -> &[u32] {
        match self {
            Self::Pair { source, .. } | Self::Labelled { source, .. } => source,
        }
    }

    /// Number of tokens of the source.
    pub fn source_len(&self) -> usize {
        self.source().len()
    }

    /// Number of tokens with a loss: those of the target, or the one label.
    pub fn target_len(&self) -> usize {
        match self {
            Self::Pair { target, .. } => target.len(),
            Self::Labelled { .. } => 1,
        }
    }

    /// Number of tokens that a network computes: source and target.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Pair { source, target } => source.len() + target.len(),
            Self::Labelled { source, .. } => source.len(),
        }
    }
}

/// Rows that go through the network together; all of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The rows, at least one.
    pub examples: Vec<Example>,
}

impl Batch {
    /// Number of tokens that the network computes.
    pub fn tokens(&self) -> usize {
        self.examples.iter().map(Example::tokens).sum()
    }

    /// Number of tokens with a loss.
    pub fn target_tokens(&self) -> usize {
        self.examples.iter().map(Example::target_len).sum()
    }
}
