//! The ways in which a safetensors or GGUF file can be damaged.
//!
//! Found by `checkpoint` when a header is read.

/// Damage of a safetensors or GGUF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// A pointer left by Git LFS in the place of the file.
    #[error("it is a Git LFS pointer, not the file itself")]
    LargeFilePointer,
    /// Too short to hold its header, or the header is longer than any.
    #[error("its header should take {header_bytes} bytes, the file has {file_bytes}; at most {limit_bytes} are read")]
    HeaderLength {
        /// Length that the first eight bytes give.
        header_bytes: u64,
        /// Longest header that is read.
        limit_bytes: u64,
        /// Size of the file.
        file_bytes: u64,
    },
    /// The header is no table of tensors, or its offsets overlap, leave gaps or do not match the shapes.
    #[error("its header is unreadable: {source}")]
    Header {
        /// Where and why.
        source: serde_json::Error,
    },
    /// The tensors end elsewhere than the file.
    #[error("its tensors should end at byte {expected_bytes}, the file has {file_bytes}")]
    DataLength {
        /// Where the header says that the last tensor ends.
        expected_bytes: u64,
        /// Size of the file.
        file_bytes: u64,
    },
    /// The header of a GGUF file breaks off, or holds something that the format does not know.
    #[error("its header is unreadable at byte {byte}; at most {limit_bytes} bytes are read of it")]
    GgufHeader {
        /// The first byte that could not be read.
        byte: usize,
        /// Longest header that is read.
        limit_bytes: usize,
    },
    /// A tensor of a GGUF file ends after the file.
    #[error("it ends before {tensor} does")]
    TensorOutside {
        /// The tensor, by its name in transformers.
        tensor: String,
    },
}
