//! An answer in one piece.
//!
//! Called by `generation`.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::answer::Answer;
use super::form::{AnswerForm, ChoicePiece};

/// Waits for all choices, then answers.
pub async fn whole_answer(mut answer: Answer, form: Box<dyn AnswerForm>) -> Response {
    loop {
        match answer.advance().await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                answer.record().fail(&error);
                return error.into_response();
            }
        }
    }
    let pieces: Vec<_> =
        (0..answer.choices()).filter_map(|index| Some(ChoicePiece { index, piece: answer.take(index)? })).collect();
    let message = form.whole(&pieces, answer.usage());
    drop(pieces);
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], answer.end().last(message)).into_response()
}
