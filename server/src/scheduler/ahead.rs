//! The step after the one that is under way, made while that one's tokens are still being drawn.
//!
//! Called by the engine thread where the device can run on without the host. Every running sequence gets a row, whether or not the
//! token that is being drawn ends it; what such a row draws is thrown away. What the plan under way encodes counts as encoded.
//! Preempts nobody.

use super::Scheduler;
use super::plan::Plan;
use super::sequence::{Grant, Running};

impl Scheduler {
    /// Writes the step that follows the plan under way, to be run after it and committed after it. False when there is none, or
    /// it has to wait: for somebody who was cancelled, for pages, or because logits of the plan under way are still to be read.
    ///
    /// # Panics
    /// Unless exactly one plan is under way.
    pub fn plan_ahead(&mut self, plan: &mut Plan) -> bool {
        assert_eq!(self.plans_under_way, 1, "a plan is made ahead of the only one under way");
        let wants_scores =
            |running: &Running| running.granted.rows > 0 && running.sequence.request.asked.log_probs.is_some();
        if !self.cancelled.is_empty() || self.running.iter().any(wants_scores) {
            return false;
        }
        self.finish_encoding();
        self.grant_rows();
        let missing = self.running.iter().map(Running::missing_pages).sum::<usize>();
        if missing > self.memory.available() {
            self.running.iter_mut().for_each(|running| running.next = Grant::default());
            return false;
        }
        self.write(plan);
        self.plans_under_way += usize::from(!plan.is_empty());
        !plan.is_empty()
    }
}
