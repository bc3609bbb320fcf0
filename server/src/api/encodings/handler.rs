//! A request of one of the encoder's routes, from its arrival to its answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::admission::{Admitted, admit};
use super::task::{Answered, Task};
use crate::api::Api;
use crate::api::answers::{Delivery, RequestRecord};
use crate::api::arrival::{Arrival, in_time};
use crate::api::http::{ApiError, Share};

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
    match written {
        Ok(Written { json, share }) => {
            let kind = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, kind)], Delivery { record, share }.last(json)).into_response()
        }
        Err(error) => {
            record.fail(&error);
            error.into_response()
        }
    }
}

/// An answer as JSON.
struct Written {
    json: Vec<u8>,
    /// Its memory.
    share: Share,
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
