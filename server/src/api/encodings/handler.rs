//! A request of one of the encoder's routes, from its arrival to its answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::admission::{Admitted, admit};
use super::task::{Answered, Task};
use crate::api::Api;
use crate::api::answers::{RequestRecord, Written};
use crate::api::arrival::{Arrival, in_time};
use crate::api::http::ApiError;

/// Answers of so many numbers are written where they are: it takes less time than a change of threads.
const FEW_NUMBERS: usize = 16 << 10;

/// Answers a request of the route whose own part is `T`.
pub async fn answer<T: Task>(State(api): State<Arc<Api>>, request: Request) -> Response {
    let Arrival { account, mut record } = Arrival::of(&request, &api);
    let admitted = tokio::select! {
        error = record.cut_off() => Err(error),
        admitted = admit::<T>(&api, &account, request) => admitted,
    };
    let written = match admitted {
        Ok(admitted) => write(&api, admitted, &mut record).await,
        Err(error) => Err(error),
    };
    Written::respond(written, record)
}

/// Waits for the results and writes them.
async fn write<T: Task>(
    api: &Arc<Api>,
    admitted: Admitted<T>,
    record: &mut RequestRecord,
) -> Result<Written, ApiError> {
    let Admitted { model, task, mut results, tokens, share, queued } = admitted;
    record.submitted(tokens.iter().copied());
    tokio::select! {
        error = record.cut_off() => return Err(error),
        begun = in_time(api, queued, results.begin()) => begun??,
    }
    record.started(0);
    let results = tokio::select! {
        error = record.cut_off() => return Err(error),
        results = results.finish() => results?,
    };
    let numbers = results.iter().map(Vec::len).sum::<usize>();
    let answered = Answered { model, results, tokens };
    let json = if numbers <= FEW_NUMBERS {
        task.answer(answered)
    } else {
        api.parsers.run(move || task.answer(answered)).await?
    };
    Ok(Written { json, share })
}
