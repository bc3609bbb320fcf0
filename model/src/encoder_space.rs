//! Working memory of the encoder: activation buffers for each lane, allocated once for the largest batch.
//!
//! A lane holds the activations of one batch. A batch that pauses between layers keeps its lane, while batches in the
//! other lane go on. Made as part of a [`crate::Workspace`] or for a [`crate::EncoderModel`].

use kernels::Backend;

use crate::config::StackConfig;
use crate::error::Result;
use crate::layers::StackSpace;

/// Number of lanes, and so of batches that can be in the encoder at once.
pub const ENCODER_LANES: usize = 2;

/// Most source tokens of a batch in each lane; a lane without rows is never used.
pub type LaneRows = [usize; ENCODER_LANES];

/// The buffers of all lanes.
pub struct EncoderSpace<B: Backend> {
    lanes: [Option<StackSpace<B>>; ENCODER_LANES],
    rows: LaneRows,
}

impl<B: Backend> EncoderSpace<B> {
    pub(crate) fn new(backend: &B, config: &StackConfig, rows: LaneRows) -> Result<Self> {
        let lane = |rows| (rows > 0).then(|| StackSpace::new(backend, config, rows)).transpose();
        let [first, second] = rows;
        Ok(Self { lanes: [lane(first)?, lane(second)?], rows })
    }

    /// Bytes of the buffers once all of them are used.
    pub(crate) fn bytes(backend: &B, config: &StackConfig, rows: LaneRows) -> usize {
        let lanes = rows.into_iter().filter(|&rows| rows > 0);
        lanes.flat_map(|rows| StackSpace::shapes(backend, config, rows)).map(|shape| shape.bytes(backend)).sum()
    }

    /// The buffers of a lane, for a batch of so many rows.
    ///
    /// # Panics
    /// When the lane has fewer rows.
    pub(crate) fn holding(&mut self, rows: usize, lane: usize) -> &mut StackSpace<B> {
        assert!(rows <= self.rows[lane], "an encoder batch is larger than its lane");
        self.lane_mut(lane)
    }

    /// The buffers of a lane.
    pub(crate) fn lane(&self, lane: usize) -> &StackSpace<B> {
        self.lanes[lane].as_ref().expect("a lane without rows is never used")
    }

    /// The buffers of a lane, to be written.
    pub(crate) fn lane_mut(&mut self, lane: usize) -> &mut StackSpace<B> {
        self.lanes[lane].as_mut().expect("a lane without rows is never used")
    }
}
