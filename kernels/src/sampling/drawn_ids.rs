//! Drawn ids in the host's memory.
//!
//! Kept by backends that compute there.

/// Marks a row whose token id comes from the host instead of from an earlier draw.
pub const NO_PLACE: u32 = u32::MAX;

/// Drawn ids. They can still be read after they were taken, until others are drawn.
#[derive(Debug, Clone, Default)]
pub struct DrawnIds {
    ids: Vec<Option<u32>>,
    are_taken: bool,
}

impl DrawnIds {
    /// An empty list.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { ids: Vec::with_capacity(capacity), are_taken: false }
    }

    /// The list to which further ids are appended.
    pub(crate) fn list(&mut self) -> &mut Vec<Option<u32>> {
        if std::mem::take(&mut self.are_taken) {
            self.ids.clear();
        }
        &mut self.ids
    }

    /// The ids at these places, each with the index of its place; rows without a place, or without an id, are left out.
    pub(crate) fn at<'a>(&'a self, places: &'a [u32]) -> impl Iterator<Item = (usize, u32)> + 'a {
        let drawn = places.iter().enumerate().filter(|(_, place)| **place != NO_PLACE);
        drawn.filter_map(|(row, place)| Some((row, self.ids[*place as usize]?)))
    }

    /// Appends all ids to `out`.
    pub(crate) fn take(&mut self, out: &mut Vec<Option<u32>>) {
        out.extend_from_slice(self.list());
        self.are_taken = true;
    }
}
