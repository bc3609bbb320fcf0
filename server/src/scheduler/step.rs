//! Making plans: the next one, or one ahead of the tokens that the plan under way still draws.
//!
//! Called by the engine thread. Plans are made ahead where the device can run on without the host. Every running
//! sequence then gets a row, whether or not the token that is being drawn ends it; what such a row draws is discarded.
//! What the plan under way encodes counts as encoded. A plan made ahead preempts nobody.

use super::encoder_lane::PlacedSources;
use super::memory::Memory;
use super::plan::Plan;
use super::running::{Grant, Running};
use super::state::Scheduler;
use crate::request::Priority;

impl Scheduler {
    /// Writes the work of the next step. It is to be run, then committed or failed, before the next call; an empty plan
    /// too, because events may have come up.
    ///
    /// # Panics
    /// When the last plan was not committed.
    pub fn plan(&mut self, plan: &mut Plan) {
        assert_eq!(
            self.plans_under_way, 0,
            "a plan is committed before the next one is made, unless that is made ahead"
        );
        self.plans_under_way = 1;
        self.give_back_windowed();
        self.grant_rows();
        self.grant_drafts();
        self.write(plan);
        self.running.iter_mut().for_each(Running::move_on);
    }

    /// Writes the step that follows the plan under way, to be run and committed after it. Returns false when there is
    /// no such step, or when it has to wait: for a cancellation, for pages, for idle sequences to be preempted, for
    /// logits or encoder states of the plan under way, which are still to be read, or for tokens that the rule of the
    /// next draw follows.
    ///
    /// # Panics
    /// Unless exactly one plan is under way.
    pub fn plan_ahead(&mut self, plan: &mut Plan) -> bool {
        assert_eq!(self.plans_under_way, 1, "a plan is made ahead of the only one under way");
        let waits = |running: &Running| running.granted.rows > 0 && running.holds_back_plans();
        let reads_results = self.memory.encoder.gives_results();
        if self.idle_ones_are_to_make_room() {
            return false;
        }
        if reads_results || !self.cancelled.is_empty() || self.running.iter().any(waits) {
            return false;
        }
        self.memory.finish_encoding();
        self.give_back_windowed();
        self.grant_rows();
        let missing = self.missing_pages();
        if missing > self.memory.available() {
            self.running.iter_mut().for_each(|running| running.next = Grant::default());
            return false;
        }
        self.plans_under_way = 2;
        self.write(plan);
        self.plans_under_way -= usize::from(plan.is_empty());
        !plan.is_empty()
    }

    /// Takes pages for the rows that were granted, admits what there is room for, and writes the plan. Idle sequences
    /// have what interactive ones leave.
    fn write(&mut self, plan: &mut Plan) {
        self.step += 1;
        plan.clear();
        if self.plans_under_way == 1 {
            self.give_up_stems();
        }
        self.share_prompts();
        for priority in Priority::ALL {
            let preempted_before = self.preemptions;
            self.grow_running(priority, &mut plan.copies);
            self.admit(priority);
            if self.preemptions > preempted_before {
                self.grant_given_up_rows();
            }
        }
        let rows = self.running.iter().map(Running::next_rows).sum();
        let Memory { encoder, sources, pool, .. } = &mut self.memory;
        encoder.plan(PlacedSources { sources, pool }, rows, &mut plan.encode, &mut self.announced);
        self.write_rows(plan);
    }
}
