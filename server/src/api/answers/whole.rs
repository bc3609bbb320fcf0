//! A generation's answer in one piece.
//!
//! Called by `generation`.

use axum::response::Response;

use super::answer::Answer;
use super::delivery::Delivery;
use super::form::AnswerForm;
use super::writing::{Written, write_json};
use crate::api::http::ApiError;
use crate::job_pool::JobPool;

/// Waits for all choices, then answers. A large answer is written by a thread of `writers`.
pub async fn whole_answer(mut answer: Answer, form: Box<dyn AnswerForm>, writers: &JobPool) -> Response {
    let finished = finish(&mut answer).await;
    let pieces = answer.take_best();
    let usage = answer.usage().clone();
    let bytes = form.repeats().request_bytes + pieces.iter().map(|choice| choice.piece.json_bytes()).sum::<usize>();
    let Delivery { record, share } = answer.end();
    if let Err(error) = finished {
        return Written::respond(Err(error), record);
    }
    let written = write_json(writers, bytes, move || form.whole(&pieces, &usage).into_bytes()).await;
    Written::respond(written.map(|json| Written { json, share }), record)
}

async fn finish(answer: &mut Answer) -> Result<(), ApiError> {
    while answer.advance().await?.is_some() {}
    Ok(())
}
