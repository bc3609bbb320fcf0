//! Faults of the device: steps that fail, and rows without numbers, at given places.

use super::fake_model::{BROKEN, StepResult};
use super::world::World;
use crate::request::RequestId;
use crate::scheduler::{Event, NoToken};

/// A fault of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The step fails after it ran.
    FailsAfter,
    /// The step fails, and nothing of it ran.
    FailsBefore,
    /// The logits of one output are no numbers: that of this index, of as many as there are.
    NotFinite(usize),
}

impl World {
    /// Plans a step with a fault, lets `meanwhile` happen while it runs, and ends it.
    pub fn step_with(&mut self, fault: Fault, meanwhile: impl FnOnce(&mut Self)) {
        let before = (fault == Fault::FailsBefore).then(|| self.model.clone());
        let mut result = self.plan_and_run();
        meanwhile(self);
        match fault {
            Fault::NotFinite(index) => {
                let is_spoiled = spoil(&mut result, index);
                let events = self.commit(&result);
                self.strike_one(&events, usize::from(is_spoiled));
            }
            Fault::FailsAfter | Fault::FailsBefore => {
                // A device on which plans are made ahead has run this one.
                if let Some(before) = before.filter(|_| !self.runs_ahead) {
                    self.model = before;
                }
                self.fail_step();
            }
        }
        self.step_bound += 1;
    }

    /// The step fails: whoever has work in it is told so, and nobody else.
    fn fail_step(&mut self) {
        let mut failed = Vec::new();
        self.scheduler.fail_step(&mut failed);
        self.next_result = None;
        assert!(failed.is_sorted_by(|a, b| a < b), "each is told once");
        failed.into_iter().for_each(|id| self.strike(id));
        let mut events = Vec::new();
        self.threads.take(&mut self.scheduler);
        self.threads.work(&mut self.scheduler, &mut events);
        self.tell(&events, &StepResult::default());
        self.check_books();
    }

    /// Notes the request that failed because of at most so many outputs without numbers.
    fn strike_one(&mut self, events: &[Event], most: usize) {
        let failed = events.iter().filter(|event| matches!(event, Event::Failed { cause: NoToken::NotFinite, .. }));
        let failed = failed.map(Event::request).filter(|id| !self.clients[id].asked.source.contains(&BROKEN));
        let failed: Vec<RequestId> = failed.collect();
        assert!(failed.len() <= most, "{failed:?} failed for {most} outputs");
        failed.into_iter().for_each(|id| self.strike(id));
    }

    fn strike(&mut self, id: RequestId) {
        if let Some(reader) = self.readers.get_mut(&id) {
            assert!(!std::mem::replace(&mut reader.cancelled, true), "{id:?} was in the encoder");
            return;
        }
        let client = self.clients.get_mut(&id).unwrap();
        assert!(client.answers.iter().any(|answer| answer.finish.is_none()), "{id:?} had work in the step");
        client.cancelled.fill(true);
        client.is_struck = true;
    }
}

/// Takes what was found at an output. Returns whether there was any.
fn spoil(result: &mut StepResult, index: usize) -> bool {
    let StepResult { chosen, best, .. } = result;
    let outputs = chosen.len() + best.len();
    let Some(index) = index.checked_rem(outputs) else { return false };
    match index.checked_sub(chosen.len()) {
        None => chosen[index] = None,
        Some(index) => best[index].clear(),
    }
    true
}
