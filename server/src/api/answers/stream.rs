//! An answer piece by piece, as server-sent events.
//!
//! Called by `generation`. The client's reading drives it: when the connection goes, the work is cancelled.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;

use super::answer::Answer;
use super::form::{AnswerForm, ChoicePiece};

/// A comment is sent after so long a silence: proxies keep the connection, and a client that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The response whose body streams `answer`.
pub fn stream_answer(answer: Answer, form: Box<dyn AnswerForm>) -> Response {
    let events = Events { answer: Some(answer), form, is_open: false };
    let body = unfold(events, |mut events| async move {
        let bytes = events.next().await?;
        Some((Ok::<_, Infallible>(bytes), events))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // nginx would collect the events into large blocks.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(body)).into_response()
}

/// The events still to be sent.
struct Events {
    /// Taken at the end: the request is over with its last bytes.
    answer: Option<Answer>,
    form: Box<dyn AnswerForm>,
    /// Whether the events before the first piece are sent.
    is_open: bool,
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.is_open, true) {
            let opening = self.form.opening();
            if !opening.is_empty() {
                return Some(Bytes::from(opening));
            }
        }
        let answer = self.answer.as_mut()?;
        loop {
            match tokio::time::timeout(KEEP_ALIVE, answer.advance()).await {
                Err(_) => return Some(Bytes::from_static(b": keep-alive\n\n")),
                Ok(Ok(Some(index))) => {
                    let Some(piece) = answer.take(index) else { continue };
                    let events = self.form.piece(&ChoicePiece { index, piece }, answer.usage());
                    if !events.is_empty() {
                        return Some(Bytes::from(events));
                    }
                }
                Ok(Ok(None)) => {
                    let closing = self.form.closing(answer.usage());
                    return Some(self.answer.take()?.end().last(closing));
                }
                Ok(Err(error)) => {
                    answer.record().fail(&error);
                    self.answer = None;
                    return Some(Bytes::from(self.form.failure(&error)));
                }
            }
        }
    }
}
