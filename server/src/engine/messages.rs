//! From the scheduler's events, which name rows, to what clients receive, with scores.

use kernels::{ScoreAsk, TokenScore};

use crate::request::{GenerationEvent, RequestId};
use crate::scheduler::Event;

/// An event for the client of a request.
pub(super) struct Message {
    /// The request.
    pub request: RequestId,
    /// The event.
    pub event: GenerationEvent,
}

/// The log-probabilities that an event carries.
pub(super) fn score_ask(event: &Event) -> Option<ScoreAsk> {
    let (token, at) = match *event {
        Event::Scored { token, score, .. } => (token, Some(score)),
        Event::Token { token, score, .. } => (token, score),
        Event::Started { .. } | Event::Finished { .. } | Event::Failed { .. } => return None,
    };
    at.map(|at| ScoreAsk { row: at.logits_row, id: token, top: at.top })
}

/// The message of an event; `scores` yields what [`score_ask`] asked for, for all events in their order.
pub(super) fn message(event: &Event, scores: &mut impl Iterator<Item = TokenScore>) -> Message {
    let mut next = || scores.next().expect("each score that was asked for is there");
    let client_event = match *event {
        Event::Started { cached_tokens, .. } => GenerationEvent::Started { cached_tokens },
        Event::Scored { choice, .. } => match next() {
            score if score.is_of_distribution() => GenerationEvent::Scored { choice, score },
            _ => no_finite_logits(),
        },
        Event::Token { choice, token, score, .. } => match score.map(|_| next()) {
            Some(score) if !score.is_of_distribution() => no_finite_logits(),
            score => GenerationEvent::Token { choice, id: token, score },
        },
        Event::Finished { choice, reason, .. } => GenerationEvent::Finished { choice, reason },
        Event::Failed { .. } => no_finite_logits(),
    };
    Message { request: event.request(), event: client_event }
}

/// Tells a client that the logits of its request are not finite.
fn no_finite_logits() -> GenerationEvent {
    GenerationEvent::Failed { message: "the model gave no finite logits for this request".to_owned(), is_lasting: true }
}
