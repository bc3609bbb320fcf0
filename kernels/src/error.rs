//! Errors of a backend: memory, shapes, missing devices. Arithmetic has no errors.
//!
//! Returned by every implementation.

use crate::number::DType;

/// An error of a backend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A weight's stored size does not match its shape.
    #[error("weight of {rows} x {cols} {dtype:?} has {bytes} bytes")]
    WeightSize {
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
        /// Stored number type.
        dtype: DType,
        /// Bytes given.
        bytes: usize,
    },
    /// A quantised weight's integers or scales do not match its shape.
    #[error("quantised weight of {rows} x {cols} has {integer_bytes} bytes of integers and {scale_bytes} of scales")]
    QuantizedSize {
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
        /// Bytes of integers.
        integer_bytes: usize,
        /// Bytes of scales.
        scale_bytes: usize,
    },
    /// An 8-bit integer outside the range that quantising gives.
    #[error("a quantised weight of {rows} x {cols} holds -128; integers go from -127 to 127")]
    IntegerRange {
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
    },
    /// More inputs than sums of integers can hold.
    #[error("a matrix of {cols} inputs cannot be multiplied in integers; at most {limit} can")]
    TooWide {
        /// Input features.
        cols: usize,
        /// Largest allowed width.
        limit: usize,
    },
    /// Parts of one fused matrix disagree in their input width.
    #[error("matrix parts have input widths {first} and {other}")]
    PartWidth {
        /// Width of the first part.
        first: usize,
        /// The width that differs.
        other: usize,
    },
    /// The machine lacks the instructions or device that were asked for.
    #[error("{wanted} is not available on this machine (it has: {available})")]
    Unavailable {
        /// Instructions or device that were asked for.
        wanted: String,
        /// Instruction sets or devices that the machine has.
        available: String,
    },
    /// There is no GPU to compute on.
    #[error("no GPU can be used: {reason}")]
    NoGpu {
        /// Part that is missing.
        reason: String,
    },
    /// An allocation was refused.
    #[error("cannot allocate {bytes} bytes for {purpose}")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
        /// Use of the memory.
        purpose: &'static str,
    },
    /// A device with memory of its own refused an allocation.
    #[error("the GPU has no {bytes} bytes for {purpose}; {free} are free")]
    DeviceOutOfMemory {
        /// Bytes asked for.
        bytes: usize,
        /// Use of the memory.
        purpose: &'static str,
        /// Bytes that are free.
        free: usize,
    },
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
