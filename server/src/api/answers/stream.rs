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
use super::form::{AnswerForm, ChoicePiece, event};
use super::writing::write_json;
use crate::api::http::ApiError;
use crate::job_pool::JobPool;

/// A comment is sent after so long a silence: proxies keep the connection, and a client that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The response whose body streams `answer`. Large events are written by a thread of `writers`.
pub fn stream_answer(answer: Answer, form: Box<dyn AnswerForm>, writers: JobPool) -> Response {
    let events = Events { answer: Some(answer), form: Some(form), writers, is_open: false };
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
    /// Absent once a thread that wrote events has failed.
    form: Option<Box<dyn AnswerForm>>,
    writers: JobPool,
    /// Whether the events before the first piece are sent.
    is_open: bool,
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        match self.advance().await {
            Ok(bytes) => bytes,
            Err(error) => Some(Bytes::from(self.fail(error).await)),
        }
    }

    /// The next events, or nothing at the end.
    async fn advance(&mut self) -> Result<Option<Bytes>, ApiError> {
        if !std::mem::replace(&mut self.is_open, true) {
            let opening = self.write(self.end_bytes(), |form| form.opening()).await?;
            if !opening.is_empty() {
                return Ok(Some(Bytes::from(opening)));
            }
        }
        loop {
            let Some(answer) = &mut self.answer else { return Ok(None) };
            let Ok(next) = tokio::time::timeout(KEEP_ALIVE, answer.advance()).await else {
                return Ok(Some(Bytes::from_static(b": keep-alive\n\n")));
            };
            let (next, usage) = (next?, answer.usage().clone());
            let Some(index) = next else {
                let closing = self.write(self.end_bytes(), move |form| form.closing(&usage)).await?;
                return Ok(self.answer.take().map(|answer| answer.end().last(closing)));
            };
            let Some(piece) = answer.take(index) else { continue };
            let (bytes, piece) = (piece.json_bytes(), ChoicePiece { index, piece });
            let events = self.write(bytes, move |form| form.piece(&piece, &usage)).await?;
            if !events.is_empty() {
                return Ok(Some(Bytes::from(events)));
            }
        }
    }

    /// Ends the request with an error, and writes the events that say so.
    async fn fail(&mut self, error: ApiError) -> String {
        if let Some(mut answer) = self.answer.take() {
            answer.record().fail(&error);
        }
        let plainly = event(&error.body());
        self.write(self.end_bytes(), move |form| form.failure(&error)).await.unwrap_or(plainly)
    }

    /// The events that `write` makes with the form, about this many bytes.
    async fn write(
        &mut self,
        bytes: usize,
        write: impl FnOnce(&mut dyn AnswerForm) -> String + Send + 'static,
    ) -> Result<String, ApiError> {
        let mut form = self.form.take().ok_or(ApiError::WorkerFailed)?;
        let job = move || {
            let events = write(&mut *form);
            (form, events)
        };
        let (form, events) = write_json(&self.writers, bytes, job).await?;
        self.form = Some(form);
        Ok(events)
    }

    /// About how many bytes the events at the beginning or at the end take.
    fn end_bytes(&self) -> usize {
        self.form.as_ref().map_or(0, |form| form.end_bytes())
    }
}
