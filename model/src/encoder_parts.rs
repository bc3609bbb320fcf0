//! How the encoder's work on a batch is divided into parts, so that a step can do a few of them.
//!
//! A part is a whole layer, or some rows of a layer where a source is so long that a layer takes more time than a step
//! may. Every row depends on keys and values of all rows alone, so parts give the bits that whole layers give. Planned
//! by whoever drives a model, run by its layers.

use std::ops::Range;

use crate::config::StackConfig;

/// Rows of a part begin at a multiple of this number, so that kernels find whole tiles.
const ROW_STEP: usize = 192;

/// Number of parts that each layer is divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerParts {
    /// Parts of a layer whose window is short.
    pub narrow: usize,
    /// Parts of a layer in which a query may see most of the longest source.
    pub wide: usize,
}

impl LayerParts {
    /// Layers are not divided.
    pub const WHOLE: Self = Self { narrow: 1, wide: 1 };
}

impl Default for LayerParts {
    fn default() -> Self {
        Self::WHOLE
    }
}

/// Consecutive parts of the work on a batch, counted from the first part of the first layer on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderParts {
    /// Parts to run.
    pub range: Range<usize>,
    /// Parts of each layer, the same for the whole work on the batch.
    pub of_layer: LayerParts,
}

impl From<Range<usize>> for EncoderParts {
    /// Whole layers.
    fn from(layers: Range<usize>) -> Self {
        Self { range: layers, of_layer: LayerParts::WHOLE }
    }
}

/// Cost of rows in an encoder: from this follows how its work is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderCost {
    /// Number of layers.
    pub layers: usize,
    /// Number of layers in which a query may see most of the longest source.
    pub wide_layers: usize,
    /// Most keys that a query sees in other layers.
    pub narrow_keys: usize,
    /// Keys of a query whose attention takes as many operations as the products of a layer for its row; 0 where layers
    /// are never to be divided.
    pub keys_as_products: usize,
}

impl EncoderCost {
    /// The cost of the encoder that a stack is.
    pub fn of(stack: &StackConfig) -> Self {
        let (wide, narrow): (Vec<usize>, Vec<usize>) = (0..stack.layers).partition(|&layer| stack.sees_most(layer));
        let keys = |&layer: &usize| stack.encoder_window(layer).longest(stack.max_positions);
        let attention = stack.hidden * 2 * (stack.query_width() + stack.kv_width());
        let products = attention + 3 * stack.hidden * stack.intermediate;
        Self {
            layers: stack.layers,
            wide_layers: wide.len(),
            narrow_keys: narrow.iter().map(keys).max().unwrap_or(0),
            // A key takes a product of a query and one of a value.
            keys_as_products: (products / (2 * stack.query_width())).max(1),
        }
    }

    /// An encoder whose layers are never divided.
    pub const fn undivided(layers: usize) -> Self {
        Self { layers, wide_layers: 0, narrow_keys: 0, keys_as_products: 0 }
    }

    /// Parts of each layer for a source of so many tokens, if a part is to take no more than `step_tokens` tokens take
    /// in all layers without attention. Sources within that number are not divided.
    pub fn parts_of_layer(&self, tokens: usize, step_tokens: usize) -> LayerParts {
        if self.keys_as_products == 0 || tokens <= step_tokens {
            return LayerParts::WHOLE;
        }
        let unit = self.keys_as_products as u128;
        let step = (step_tokens * self.layers) as u128 * unit;
        let parts = |keys: usize| (tokens as u128 * (unit + keys as u128)).div_ceil(step) as usize;
        LayerParts { narrow: parts(self.narrow_keys.min(tokens)), wide: parts(tokens) }
    }

    /// Parts of the work on a batch.
    pub const fn all_parts(&self, of_layer: LayerParts) -> usize {
        (self.layers - self.wide_layers) * of_layer.narrow + self.wide_layers * of_layer.wide
    }
}

/// Rows of part `part` of `parts`, of a batch of so many rows; there may be none.
pub(crate) fn rows_of_part(rows: usize, part: usize, parts: usize) -> Range<usize> {
    let step = rows.div_ceil(parts).next_multiple_of(ROW_STEP);
    rows.min(part * step)..if part + 1 == parts { rows } else { rows.min((part + 1) * step) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::shape;

    #[test]
    fn a_part_takes_about_a_step_however_long_the_source() {
        let cost = EncoderCost::of(&shape("2-270m").unwrap().encoder);
        assert_eq!((cost.layers, cost.wide_layers, cost.narrow_keys, cost.keys_as_products), (18, 3, 512, 2720));
        assert_eq!(cost.parts_of_layer(1024, 1024), LayerParts::WHOLE);
        assert_eq!(cost.parts_of_layer(4096, 1024), LayerParts::WHOLE);
        assert_eq!(cost.parts_of_layer(32_768, 1024), LayerParts { narrow: 3, wide: 24 });
        assert_eq!(cost.all_parts(cost.parts_of_layer(32_768, 1024)), 15 * 3 + 3 * 24);
        let unlimited = EncoderCost::undivided(18);
        assert_eq!(unlimited.all_parts(unlimited.parts_of_layer(1 << 40, 1)), 18);
    }

    #[test]
    fn windows_of_the_first_generation_reach_over_most_of_its_sources() {
        let cost = EncoderCost::of(&shape("s-s").unwrap().encoder);
        assert_eq!((cost.layers, cost.wide_layers), (8, 8));
        assert_eq!(cost.parts_of_layer(8192, 1024), LayerParts { narrow: 1, wide: 5 });
    }

    #[test]
    fn parts_hold_every_row_once() {
        for rows in [1, 191, 192, 193, 5000] {
            for parts in [1, 2, 3, 40] {
                let ranges: Vec<_> = (0..parts).map(|part| rows_of_part(rows, part, parts)).collect();
                assert_eq!(ranges.iter().cloned().flatten().collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
            }
        }
    }
}
