//! A request of one of the encoder's routes, from its arrival to its answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::admission::{Admitted, admit};
use super::task::{Answered, Task};
use crate::api::Api;
use crate::api::answers::{RequestRecord, Written, write_json};
use crate::api::arrival::Arrival;
use crate::api::http::{ApiError, RequestAccount};

/// Answers a request of the route whose own part is `T`.
pub async fn answer<T: Task>(State(api): State<Arc<Api>>, request: Request) -> Response {
    let Arrival { account, mut record } = Arrival::of(&request, &api);
    let written = write::<T>(&api, &account, request, &mut record).await;
    Written::respond(written, record)
}

/// Has the inputs encoded and writes their results.
async fn write<T: Task>(
    api: &Arc<Api>,
    account: &RequestAccount,
    request: Request,
    record: &mut RequestRecord,
) -> Result<Written, ApiError> {
    let admitted = record.unless_cut_off(admit::<T>(api, account, request)).await?;
    let Admitted { model, task, results, tokens, size, share, turn, tokenising } = admitted;
    record.tokenised(tokenising);
    record.end_by(turn.deadline);
    record.submitted(tokens.iter().copied());
    let results = results.collect(api, &turn, record).await?;
    let answered = Answered { model, results, tokens, json_bytes: size.json_bytes };
    let json = write_json(&api.parsers, size.json_bytes, move || task.answer(answered)).await?;
    Ok(Written { json, share })
}
