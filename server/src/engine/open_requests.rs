//! Requests that are not over: the way of their events to the client, and their places in the queue.
//!
//! Used by the engine thread.

use std::collections::HashMap;

use tokio::sync::mpsc::UnboundedSender;
use tracing::Span;

use super::messages::News;
use super::slots::{QueueSlots, Slots};
use crate::request::{EncodingEvent, FailureKind, GenerationEvent, GenerationRequest, RequestId};

/// Open requests of one engine.
pub(super) struct OpenRequests {
    /// Name of the engine's model, for the log.
    model: String,
    /// Learns how long answers become.
    queue: QueueSlots,
    by_id: HashMap<RequestId, OpenRequest>,
}

struct OpenRequest {
    client: Client,
    /// The span of the client's request, for the log.
    span: Span,
    /// Places in the queue of choices that have not begun.
    slots: Slots,
    /// Its choices begin together, as those of a beam search do, and all places are then free.
    begins_whole: bool,
    /// Most tokens of each choice.
    max_tokens: u32,
    choices: Vec<Choice>,
}

/// The way back to a client.
pub(super) struct Reply<Event> {
    /// Where events go.
    pub events: UnboundedSender<Event>,
    /// The span of its request, for the log.
    pub span: Span,
}

/// Where the events of a request go.
enum Client {
    Generation(UnboundedSender<GenerationEvent>),
    Encoding(UnboundedSender<EncodingEvent>),
}

#[derive(Clone, Copy)]
struct Choice {
    /// Neither finished nor cancelled.
    is_alive: bool,
    /// Has begun, so that its place in the queue is free.
    has_begun: bool,
    /// Tokens that it has.
    tokens: u32,
}

impl OpenRequests {
    /// No request of the model with this name is open yet.
    pub fn new(model: &str, queue: QueueSlots) -> Self {
        Self { model: model.to_owned(), queue, by_id: HashMap::new() }
    }

    /// Opens a request.
    pub fn insert(&mut self, id: RequestId, asked: &GenerationRequest, slots: Slots, reply: Reply<GenerationEvent>) {
        let Reply { events, span } = reply;
        let open = OpenRequest::new(Client::Generation(events), span, asked.choices, slots);
        let (begins_whole, max_tokens) = (asked.beams.is_some(), asked.max_tokens);
        self.by_id.insert(id, OpenRequest { begins_whole, max_tokens, ..open });
    }

    /// Opens an encoder request.
    pub fn insert_encoding(&mut self, id: RequestId, slot: Slots, reply: Reply<EncodingEvent>) {
        let Reply { events, span } = reply;
        self.by_id.insert(id, OpenRequest::new(Client::Encoding(events), span, 1, slot));
    }

    /// Closes a request or one of its choices. Returns false when the request is not open.
    pub fn cancel(&mut self, id: RequestId, choice: Option<u32>) -> bool {
        let Some(open) = self.by_id.get_mut(&id) else { return false };
        // A text that ended at a stop string is as long as any other.
        for tokens in open.tokens_of_begun(choice) {
            self.queue.finished(open.max_tokens, tokens);
        }
        if choice.is_none_or(|choice| open.end(choice)) {
            self.by_id.remove(&id);
        }
        true
    }

    /// Tells the client of a request, and closes what has ended. News of closed requests is dropped.
    pub fn deliver(&mut self, id: RequestId, news: News) {
        let Some(open) = self.by_id.get_mut(&id) else { return };
        let is_over = match &news {
            News::Started { .. } => {
                open.start();
                false
            }
            News::SourceReady => false,
            News::Token { choice, .. } => {
                open.begin(*choice);
                open.count_token(*choice);
                false
            }
            News::Scored { choice, .. } | News::Drafted { choice, .. } | News::Rated { choice, .. } => {
                open.begin(*choice);
                false
            }
            News::Finished { choice, .. } => {
                self.queue.finished(open.max_tokens, open.tokens(*choice));
                open.end(*choice)
            }
            News::Encoded { .. } => true,
            // The client is told, and its request has a line in the access log.
            News::Failed { kind: FailureKind::Refused | FailureKind::Overloaded, .. } => true,
            News::Failed { message, .. } => {
                tracing::error!(parent: &open.span, model = self.model, request = id.0, message, "a request failed");
                true
            }
        };
        open.client.tell(news);
        if is_over {
            self.by_id.remove(&id);
        }
    }
}

impl Client {
    /// Sends the event of its kind. A client that is gone needs no telling.
    fn tell(&self, news: News) {
        let _ = match self {
            Self::Generation(events) => events.send(generation_event(news)).is_ok(),
            Self::Encoding(events) => events.send(encoding_event(news)).is_ok(),
        };
    }
}

fn generation_event(news: News) -> GenerationEvent {
    match news {
        News::Started { cached_tokens } => GenerationEvent::Started { cached_tokens },
        News::SourceReady => GenerationEvent::SourceReady,
        News::Scored { choice, score } => GenerationEvent::Scored { choice, score },
        News::Token { choice, id, score } => GenerationEvent::Token { choice, id, score },
        News::Drafted { choice, drafted, accepted } => GenerationEvent::Drafted { choice, drafted, accepted },
        News::Rated { choice, rating } => GenerationEvent::Rated { choice, rating },
        News::Finished { choice, reason } => GenerationEvent::Finished { choice, reason },
        News::Failed { message, kind } => GenerationEvent::Failed { message, kind },
        News::Encoded { .. } => unreachable!("only encoder requests have encoder results"),
    }
}

fn encoding_event(news: News) -> EncodingEvent {
    match news {
        News::Started { .. } => EncodingEvent::Started,
        News::Encoded { numbers } => EncodingEvent::Encoded { numbers },
        News::Failed { message, kind } => EncodingEvent::Failed { message, kind },
        News::SourceReady
        | News::Scored { .. }
        | News::Token { .. }
        | News::Drafted { .. }
        | News::Rated { .. }
        | News::Finished { .. } => {
            unreachable!("an encoder request has no target")
        }
    }
}

impl OpenRequest {
    fn new(client: Client, span: Span, choices: u32, slots: Slots) -> Self {
        let choices = vec![Choice { is_alive: true, has_begun: false, tokens: 0 }; choices as usize];
        Self { client, span, slots, begins_whole: false, max_tokens: 0, choices }
    }

    /// Frees the place of the first choice: choices have their turns in order. A search begins with all of them.
    fn start(&mut self) {
        if self.begins_whole {
            self.choices.iter_mut().for_each(|choice| choice.has_begun = true);
            drop(self.slots.take());
        } else {
            self.begin(0);
        }
    }

    /// Frees the place in the queue of a choice that has a row, or will never have one.
    fn begin(&mut self, choice: u32) {
        if let Some(choice) = self.choices.get_mut(choice as usize)
            && !std::mem::replace(&mut choice.has_begun, true)
        {
            drop(self.slots.split(1));
        }
    }

    fn count_token(&mut self, choice: u32) {
        if let Some(choice) = self.choices.get_mut(choice as usize) {
            choice.tokens += 1;
        }
    }

    fn tokens(&self, choice: u32) -> u32 {
        self.choices.get(choice as usize).map_or(0, |choice| choice.tokens)
    }

    /// Numbers of tokens of the choices that have begun and not ended: one of them, or all. A search tells its tokens
    /// at its end, so nothing is known of its choices before.
    fn tokens_of_begun(&self, choice: Option<u32>) -> impl Iterator<Item = u32> {
        let is_chosen = move |index: usize| choice.is_none_or(|one| one as usize == index);
        let chosen = self.choices.iter().enumerate().filter(move |(index, _)| is_chosen(*index));
        let begun = chosen.filter(|(_, one)| one.is_alive && one.has_begun && !self.begins_whole);
        begun.map(|(_, one)| one.tokens)
    }

    /// Ends a choice. Returns whether it was the last one.
    fn end(&mut self, choice: u32) -> bool {
        self.begin(choice);
        if let Some(choice) = self.choices.get_mut(choice as usize) {
            choice.is_alive = false;
        }
        !self.choices.iter().any(|choice| choice.is_alive)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Result, Write};
    use std::sync::{Arc, Mutex};

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::overload::{GateLimits, NewCall, WaitLimits};
    use crate::request::{BeamSearch, CallId, Caller, EarlyStopping};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn queue(queued_rows: u32) -> (QueueSlots, OpenRequests) {
        let all = QueueSlots::new(GateLimits { queued_rows, wait: WaitLimits::default(), draft_rows: 0 });
        (all.clone(), OpenRequests::new("small", all))
    }

    #[test]
    fn a_beam_search_frees_its_places_when_it_starts_and_other_choices_theirs_one_by_one() {
        let beams = BeamSearch { width: 4, length_penalty: 1.0, early_stopping: EarlyStopping::Unlikely };
        for (beams, free) in [(None, [1, 2, 4]), (Some(beams), [4, 4, 4])] {
            let (all, mut open) = queue(4);
            let (id, (events, _received)) = (RequestId(7), unbounded_channel());
            let asked = GenerationRequest { choices: 2, beams, ..GenerationRequest::new([1], 1) };
            let caller = Caller { call: CallId(1), ..Caller::default() };
            let reply = Reply { events, span: Span::none() };
            open.insert(id, &asked, all.take(NewCall::patient(caller, 4)).unwrap().slots, reply);
            open.deliver(id, News::Started { cached_tokens: 0 });
            let at_start = all.free();
            open.deliver(id, News::Token { choice: 1, id: 5, score: None });
            let after_token = all.free();
            open.cancel(id, None);
            assert_eq!([at_start, after_token, all.free()], free);
        }
    }

    #[test]
    fn a_request_that_fails_is_closed_and_logged_with_its_name_and_that_of_its_model() {
        let (log, (all, mut open)) = (Log::default(), queue(1));
        let (events, mut received) = unbounded_channel();
        let caller = Caller { call: CallId(1), ..Caller::default() };
        let (asked, slots) = (GenerationRequest::new([1], 1), all.take(NewCall::patient(caller, 1)).unwrap().slots);
        let (writer, failed) = (log.clone(), News::Failed { message: "no memory".into(), kind: FailureKind::Passing });
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let reply = Reply { events, span: tracing::error_span!("request", id = "mine-1") };
            open.insert(RequestId(7), &asked, slots, reply);
            open.deliver(RequestId(7), failed);
        });
        assert!(matches!(received.try_recv(), Ok(GenerationEvent::Failed { .. })));
        assert!(!open.cancel(RequestId(7), None), "the request is closed");
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("request{id=\"mine-1\"}"), "{text}");
        assert!(text.contains("a request failed model=\"small\" request=7"), "{text}");
    }
}
