//! A request of a generating endpoint, from its arrival to its answer.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};

use super::admission::{Admitted, admit};
use super::asked::ReadBody;
use crate::api::Api;
use crate::api::answers::{Answer, Delivery, stream_answer, whole_answer};
use crate::api::arrival::Arrival;

/// Answers a request whose body `read` reads, whole or as a stream.
pub async fn generate(api: &Arc<Api>, request: Request, read: ReadBody) -> Response {
    let Arrival { account, mut record } = Arrival::of(&request, api);
    let admitted = match record.unless_cut_off(admit(api, &account, request, read)).await {
        Ok(admitted) => admitted,
        Err(error) => {
            record.fail(&error);
            return error.into_response();
        }
    };
    let Admitted { submitted, share, turn, form, stream, output, tokenising } = admitted;
    record.tokenised(tokenising);
    record.end_by(turn.deadline);
    record.submitted(submitted.sources.iter().map(|source| source.len()));
    record.asked(output);
    let mut answer = Answer::new(submitted, Delivery { record, share });
    // Its status is not sent before it is known whether the request gets its turn.
    let begun = turn.in_time(api, answer.begin()).await;
    if let Err(error) = begun.and_then(|begun| begun) {
        answer.record().fail(&error);
        return error.into_response();
    }
    turn.begun();
    if stream {
        stream_answer(answer, form, api.parsers.clone())
    } else {
        whole_answer(answer, form, &api.parsers).await
    }
}
