//! Panels: the unit in which packed weights, keys and values are laid out and multiplied.
//!
//! Used by everything that packs, and by the tiles.

/// Output columns of a panel.
pub const PANEL: usize = 64;
