//! Placeholder until the merge.
use serde::{Deserialize, Serialize};
/// Position
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// e
    pub epoch: u64,
    /// b
    pub batch: u64,
}
