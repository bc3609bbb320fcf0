//! Tables of rotary angles: one for each kind of layer, or one for both.

use kernels::Backend;

use crate::config::{LayerKind, StackConfig};
use crate::error::Result;

/// Angles of every position of a stack.
pub(crate) struct Ropes<B: Backend> {
    sliding: B::RopeTable,
    /// Where they are others than those of sliding layers.
    full: Option<B::RopeTable>,
}

impl<B: Backend> Ropes<B> {
    pub fn new(backend: &B, config: &StackConfig) -> Result<Self> {
        let table = |spec| backend.rope_table(config.max_positions, config.head_dim, spec);
        let (sliding, full) = (config.ropes.sliding, config.ropes.full);
        Ok(Self { sliding: table(sliding)?, full: (full != sliding).then(|| table(full)).transpose()? })
    }

    /// Angles of a kind of layer.
    pub fn of(&self, kind: LayerKind) -> &B::RopeTable {
        match (kind, &self.full) {
            (LayerKind::Full, Some(full)) => full,
            _ => &self.sliding,
        }
    }
}
