//! Taking requests into the queue.

use std::sync::Arc;

use super::event::Event;
use super::sequence::Request;
use super::state::{OpenRequest, Scheduler};
use crate::request::{Caller, EncodeRequest, FinishReason, GenerationRequest, Rating, Refusal, RequestId};

impl Scheduler {
    /// Queues all sequences of a request. Ids are not reused.
    ///
    /// # Errors
    /// [`Refusal::TooWide`] or [`Refusal::NeverFits`]; nothing is queued then.
    pub fn submit(&mut self, id: RequestId, caller: &Caller, asked: GenerationRequest) -> Result<(), Refusal> {
        let (choices, lengths) = (asked.choices, asked.lengths());
        let source = self.memory.sources.key(&asked.source, &caller.salt);
        let mut request = Request::new(id, source, &self.tokens, asked);
        request.priority = caller.priority;
        request.spare_rows = self.limits.step_rows - self.limits.running_rows;
        let request = Arc::new(request);
        if request.is_trivial() {
            self.announced.push(Event::Started { request: id, cached_tokens: 0 });
            for choice in 0..choices {
                if request.asked.beams.is_some() {
                    let rating = Rating::of_no_tokens(request.asked.searches_targets().then_some(true));
                    self.announced.push(Event::Rated { request: id, choice, rating });
                }
                self.announced.push(Event::Finished { request: id, choice, reason: FinishReason::Length });
            }
            return Ok(());
        }
        if lengths.branches > self.limits.running_rows {
            return Err(Refusal::TooWide { width: lengths.branches, limit: self.limits.running_rows });
        }
        let pool = self.limits.pool;
        let (needed, pages) = (pool.request_pages(lengths), pool.pages);
        if needed > pages {
            return Err(Refusal::NeverFits { needed, pages });
        }
        let alive = request.asked.sequences();
        let searched = request.asked.beams.map(|_| choices as usize);
        let open = OpenRequest { call: caller.call, alive, searched, started: false, silent: Vec::new() };
        self.requests.insert(id, open);
        self.queue.push(caller, &request);
        Ok(())
    }

    /// Queues an encoder request. It takes no pages and no row. Ids are not reused, and generations have others.
    ///
    /// # Panics
    /// When the source is empty: it has no states.
    pub fn submit_encoding(&mut self, id: RequestId, caller: &Caller, asked: EncodeRequest) {
        assert!(asked.tokens() > 0, "a source has at least one token");
        self.memory.encoder.submit(id, caller, asked);
    }
}
