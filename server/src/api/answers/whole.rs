//! An answer in one piece.
//!
//! Called by `completions`.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::completion::Completion;
use super::wire::{ChoicePiece, Heading, UsageField};

/// Waits for all choices, then answers.
pub async fn whole_answer(mut completion: Completion, heading: Heading) -> Response {
    loop {
        match completion.advance().await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                completion.record().fail(&error);
                return error.into_response();
            }
        }
    }
    let pieces: Vec<_> = (0..completion.choices())
        .filter_map(|index| Some(ChoicePiece { index, piece: completion.take(index)? }))
        .collect();
    let message = heading.message(&pieces, UsageField::Now(completion.usage()));
    drop(pieces);
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], completion.end().last(message)).into_response()
}
