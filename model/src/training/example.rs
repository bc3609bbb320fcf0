//! What a model is trained on, once an objective has made it: token ids only.
//!
//! Made by `objective`, grouped by `data`, read by `network`. Knows no tensor.

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Example {
    /// A source and what is to follow it.
    Pair {
        /// What the encoder reads. A decoder-only model reads it before the target, without a loss on it; there it is
        /// never empty (the start token alone, when there is no source).
        source: Vec<u32>,
        /// What is to be written, with its end token; never empty. The decoder reads the start token and all but the
        /// last of these.
        target: Vec<u32>,
    },
    /// A source and its class.
    Labelled {
        /// What is classified; never empty.
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

    /// Tokens of the source.
    pub fn source_len(&self) -> usize {
        self.source().len()
    }

    /// Tokens with a loss: those of the target, or the one label.
    pub fn target_len(&self) -> usize {
        match self {
            Self::Pair { target, .. } => target.len(),
            Self::Labelled { .. } => 1,
        }
    }

    /// Tokens that a network computes: source and target.
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
    /// The rows; never none.
    pub examples: Vec<Example>,
}

impl Batch {
    /// Tokens that the network computes.
    pub fn tokens(&self) -> usize {
        self.examples.iter().map(Example::tokens).sum()
    }

    /// Tokens with a loss.
    pub fn target_tokens(&self) -> usize {
        self.examples.iter().map(Example::target_len).sum()
    }
}
