//! Ending requests and choices, and removing the sequences that ended.

use super::event::Event;
use super::plan::narrow;
use super::sequence::Selection;
use super::state::Scheduler;
use crate::request::RequestId;

impl Scheduler {
    /// Ends a request, or one of its choices. No event of it follows and its pages are free at once; while a plan is
    /// under way, with its commit. Unknown ones are ignored.
    pub fn cancel(&mut self, request: RequestId, choice: Option<u32>) {
        let selection = Selection { request, choice };
        if self.plans_under_way > 0 {
            self.cancelled.push(selection);
            return;
        }
        self.end(selection);
        self.sweep();
    }

    /// Ends choices that were cancelled while a plan was under way.
    pub(super) fn end_cancelled(&mut self) {
        let mut cancelled = std::mem::take(&mut self.cancelled);
        for selection in cancelled.drain(..) {
            self.end(selection);
        }
        self.cancelled = cancelled;
    }

    /// Removes selected choices from the queue, and marks running ones for [`Self::sweep`]. A beam search ends with its
    /// last choice.
    pub(super) fn end(&mut self, mut selection: Selection) {
        let Selection { request, choice } = selection;
        let concerns = |event: &Event| event.request() == request && (choice.is_none() || event.choice() == choice);
        self.announced.retain(|event| !concerns(event));
        let Some(open) = self.requests.get_mut(&request) else { return self.memory.encoder.cancel(request) };
        if let (Some(choice), Some(choices)) = (choice, open.searched) {
            if open.silence(choice) < choices {
                return;
            }
            selection.choice = None;
        }
        for running in &mut self.running {
            running.ended |= running.sequence.is_in(selection);
        }
        let memory = &mut self.memory;
        open.alive -= narrow(self.queue.remove(open.call, selection, |source| memory.release(source)));
        if open.alive == 0 {
            self.requests.remove(&request);
        }
    }

    /// Removes the running sequences that ended and releases their pages. Sequences with rows under way still need
    /// theirs.
    pub(super) fn sweep(&mut self) {
        let Self { running, memory, requests, queue, .. } = self;
        running.retain(|running| {
            if !running.ended || running.granted.rows > 0 {
                return true;
            }
            running.release_pages(&mut memory.pool);
            memory.release(running.source);
            let id = running.sequence.request.id;
            if let Some(open) = requests.get_mut(&id) {
                queue.end(open.call, running.sequence.rows());
                open.alive -= 1;
                if open.alive == 0 {
                    requests.remove(&id);
                }
            }
            false
        });
    }
}
