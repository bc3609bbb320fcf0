//! `POST /v1/completions`, from the request's arrival to its answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};

use super::admission::{Admitted, admit, in_time};
use crate::api::Api;
use crate::api::answers::{Completion, Delivery, RequestRecord, stream_answer, whole_answer};
use crate::api::http::{RequestAccount, Visit};
use crate::client_connection::ConnectionLife;

/// Answers a completion request, whole or as a stream.
pub async fn completions(State(api): State<Arc<Api>>, request: Request) -> Response {
    let visit = request.extensions().get::<Visit>().cloned().unwrap_or_default();
    let life = request.extensions().get::<ConnectionLife>().cloned().unwrap_or_default();
    let account = request.extensions().get::<RequestAccount>().cloned();
    let account = account.unwrap_or_else(|| RequestAccount::new(api.entrance.metrics.without_model()));
    let mut record = RequestRecord::new(account.clone(), api.open_requests.open(), visit, life);
    let admitted = tokio::select! {
        error = record.cut_off() => Err(error),
        admitted = admit(&api, &account, request) => admitted,
    };
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(error) => {
            record.fail(&error);
            return error.into_response();
        }
    };
    let Admitted { submitted, share, queued, heading, stream, stream_options } = admitted;
    record.submitted(submitted.sources.iter().map(|source| source.len()));
    let mut completion = Completion::new(submitted, Delivery { record, share });
    // Its status is not sent before it is known whether the request gets its turn.
    let begun = in_time(&api, queued, completion.begin()).await;
    if let Err(error) = begun.and_then(|begun| begun) {
        completion.record().fail(&error);
        return error.into_response();
    }
    if stream { stream_answer(completion, heading, stream_options) } else { whole_answer(completion, heading).await }
}
