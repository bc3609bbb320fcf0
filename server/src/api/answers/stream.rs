//! An answer piece by piece, as server-sent events.
//!
//! Called by `completions`. The client's reading drives it: when the connection goes, the work is cancelled.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;

use super::completion::Completion;
use super::wire::{ChoicePiece, Heading, UsageField};

/// A comment is sent after so long a silence: proxies keep the connection, and a client that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `stream_options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamOptions {
    /// Send the usage at the end of the stream.
    pub include_usage: bool,
    /// Send the usage so far with every chunk.
    pub continuous_usage_stats: bool,
    /// Send no chunk for a token that adds nothing to the text yet.
    pub coalesce: bool,
}

/// The response whose body streams `completion`.
pub fn stream_answer(completion: Completion, heading: Heading, options: StreamOptions) -> Response {
    let events = Events { completion: Some(completion), heading, options, stage: Stage::Choices };
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
    completion: Option<Completion>,
    heading: Heading,
    options: StreamOptions,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    Choices,
    Usage,
    Done,
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        let completion = self.completion.as_mut()?;
        loop {
            match self.stage {
                Stage::Choices => match tokio::time::timeout(KEEP_ALIVE, completion.advance()).await {
                    Err(_) => return Some(Bytes::from_static(b": keep-alive\n\n")),
                    Ok(Ok(Some(index))) => {
                        if let Some(piece) = completion.take(index) {
                            let usage = match self.options {
                                StreamOptions { continuous_usage_stats: true, .. } => {
                                    UsageField::Now(completion.usage())
                                }
                                StreamOptions { include_usage: true, .. } => UsageField::Later,
                                _ => UsageField::Absent,
                            };
                            return Some(event(&self.heading.message(&[ChoicePiece { index, piece }], usage)));
                        }
                    }
                    Ok(Ok(None)) if self.options.include_usage => self.stage = Stage::Usage,
                    Ok(Ok(None)) => self.stage = Stage::Done,
                    Ok(Err(error)) => {
                        completion.record().fail(&error);
                        self.completion = None;
                        return Some(event(&error.body()));
                    }
                },
                Stage::Usage => {
                    self.stage = Stage::Done;
                    return Some(event(&self.heading.message(&[], UsageField::Now(completion.usage()))));
                }
                Stage::Done => {
                    let delivery = self.completion.take()?.end();
                    return Some(delivery.last("data: [DONE]\n\n"));
                }
            }
        }
    }
}

fn event(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}
