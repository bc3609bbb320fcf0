//! The pieces that a page of keys and values is made of, and the tables that name them.
//!
//! Sliding layers read the positions of a target within their window only, full layers read all of them. The layers of
//! a decoder therefore form groups of one kind each, of as many layers as every other group, and a page has a piece for
//! each group. Pieces of sliding layers can be given back once their positions lie behind the window. Whoever drives a
//! [`crate::Model`] deals them out.

use kernels::PAGE_TOKENS;

use crate::config::{LayerKind, StackConfig};

/// Pieces of a page: first those of full layers, then those of sliding layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagePieces {
    /// Number of all pieces.
    pub all: usize,
    /// Number of those of sliding layers; fewer than `all`.
    pub windowed: usize,
    /// Positions of a target that a row reads of sliding layers, its own included.
    pub window: usize,
}

impl PagePieces {
    /// A page of one piece, which is needed as long as the page.
    pub const ONE: Self = Self { all: 1, windowed: 0, window: usize::MAX };

    /// Number of pieces that are needed as long as the page.
    pub const fn lasting(&self) -> usize {
        self.all - self.windowed
    }

    /// Number of a target's first pages whose sliding layers no row from `position` on reads.
    pub const fn pages_behind(&self, position: usize) -> usize {
        if self.windowed == 0 {
            return 0;
        }
        (position + 1).saturating_sub(self.window) / PAGE_TOKENS
    }
}

/// Where the keys and values of a layer lie in a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerPlace {
    /// The piece.
    pub piece: usize,
    /// Index of the layer among those of the piece.
    pub layer: usize,
}

/// The layers of a decoder in groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerGroups {
    /// The pieces of a page, one for each group.
    pub pieces: PagePieces,
    /// Number of layers of each group.
    pub layers: usize,
    places: Vec<LayerPlace>,
}

impl LayerGroups {
    /// All layers in one group.
    pub fn one(layers: usize) -> Self {
        let places = (0..layers).map(|layer| LayerPlace { piece: 0, layer }).collect();
        Self { pieces: PagePieces::ONE, layers, places }
    }

    /// Full layers and sliding ones apart, in groups as large as both numbers allow; one group if no target is a page
    /// longer than the window, so that no piece could be given back.
    pub fn by_window(decoder: &StackConfig) -> Self {
        let sliding = decoder.layer_kinds.iter().filter(|&&kind| kind == LayerKind::Sliding).count();
        let full = decoder.layers - sliding;
        if sliding == 0 || full == 0 {
            return Self::one(decoder.layers);
        }
        let layers = greatest_common_divisor(full, sliding);
        let (all, windowed) = (decoder.layers / layers, sliding / layers);
        let pieces = PagePieces { all, windowed, window: decoder.sliding_window };
        if pieces.pages_behind(decoder.max_positions.saturating_sub(1)) == 0 {
            return Self::one(decoder.layers);
        }
        let (mut next_full, mut next_sliding) = (0, full);
        let place = |kind: &LayerKind| {
            let next = match kind {
                LayerKind::Full => &mut next_full,
                LayerKind::Sliding => &mut next_sliding,
            };
            *next += 1;
            LayerPlace { piece: (*next - 1) / layers, layer: (*next - 1) % layers }
        };
        Self { pieces, layers, places: decoder.layer_kinds.iter().map(place).collect() }
    }

    /// Where a layer's keys and values lie.
    pub fn place(&self, layer: usize) -> LayerPlace {
        self.places[layer]
    }
}

const fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Page tables of a step: for each piece, a table of its indices in the pool. All have an entry for each page that is
/// listed, so that a span points into all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PageTables(Vec<Vec<u32>>);

impl PageTables {
    /// Tables of pages whose pieces follow each other in the pool: those of page `p` begin at `p * pieces`.
    pub fn in_order(pages: impl IntoIterator<Item = u32>, pieces: usize) -> Self {
        let mut tables = Self::default();
        for page in pages {
            tables.push_in_order(page, pieces);
        }
        tables
    }

    /// Appends a page whose pieces follow each other in the pool.
    pub fn push_in_order(&mut self, page: u32, pieces: usize) {
        let all = u32::try_from(pieces).expect("pieces are counted in 32 bits");
        self.extend(pieces, |piece| {
            let piece = u32::try_from(piece).expect("pieces are counted in 32 bits");
            std::iter::once(page * all + piece)
        });
    }

    /// Appends pages of so many pieces; `indices` gives those of a piece of all pages. Returns the entry of the first.
    ///
    /// # Panics
    /// When the pages before have another number of pieces.
    pub fn extend<Indices: Iterator<Item = u32>>(
        &mut self,
        pieces: usize,
        indices: impl Fn(usize) -> Indices,
    ) -> usize {
        if self.0.is_empty() {
            self.0.resize_with(pieces, Vec::new);
        }
        assert_eq!(self.0.len(), pieces, "all pages of a model have the same number of pieces");
        let first = self.pages();
        self.0.iter_mut().enumerate().for_each(|(piece, table)| table.extend(indices(piece)));
        first
    }

    /// Number of pages that are listed.
    pub fn pages(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    /// The table of a piece.
    ///
    /// # Panics
    /// When the pages have fewer pieces, or there are no pages.
    pub fn of(&self, piece: usize) -> &[u32] {
        &self.0[piece]
    }

    /// Empties the tables and keeps their memory.
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(Vec::clear);
    }

    /// Numbers of entries for which the tables have room.
    pub fn capacities(&self) -> Vec<usize> {
        self.0.iter().map(Vec::capacity).collect()
    }
}

impl Clone for PageTables {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }

    fn clone_from(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::shape;

    fn groups(name: &str) -> LayerGroups {
        LayerGroups::by_window(&shape(name).unwrap().decoder)
    }

    #[test]
    fn every_layer_has_a_place_of_its_own_among_layers_of_its_kind() {
        for (name, all, windowed, layers) in [("2-270m", 6, 5, 3), ("2-1b", 13, 11, 2), ("2-4b", 34, 29, 1)] {
            let (groups, decoder) = (groups(name), shape(name).unwrap().decoder);
            assert_eq!((groups.pieces.all, groups.pieces.windowed, groups.layers), (all, windowed, layers), "{name}");
            assert_eq!(groups.pieces.window, decoder.sliding_window);
            let mut seen = vec![0; decoder.layers];
            for (layer, kind) in decoder.layer_kinds.iter().enumerate() {
                let LayerPlace { piece, layer } = groups.place(layer);
                assert!(layer < layers && (piece < groups.pieces.lasting()) == (*kind == LayerKind::Full), "{name}");
                seen[piece * layers + layer] += 1;
            }
            assert!(seen.iter().all(|&count| count == 1), "{name}");
        }
    }

    #[test]
    fn a_page_is_one_piece_where_no_target_is_a_page_longer_than_the_window() {
        let mut decoder = shape("2-270m").unwrap().decoder;
        for (positions, is_divided) in [(512, false), (527, false), (528, true)] {
            decoder.max_positions = positions;
            let groups = LayerGroups::by_window(&decoder);
            assert_eq!(groups != LayerGroups::one(decoder.layers), is_divided, "{positions}");
        }
        assert_eq!(groups("s-s").pieces.windowed, 1, "half of the layers see 4096 of 8192 positions");
    }

    #[test]
    fn a_page_is_behind_the_window_when_no_later_row_reads_it() {
        let pieces = PagePieces { all: 2, windowed: 1, window: 20 };
        // The row at position 35 reads positions 16 to 35, the one at 34 position 15 as well.
        assert_eq!([0, 34, 35, 50, 51].map(|position| pieces.pages_behind(position)), [0, 0, 1, 1, 2]);
        assert_eq!(PagePieces::ONE.pages_behind(1_000_000), 0);
    }
}
