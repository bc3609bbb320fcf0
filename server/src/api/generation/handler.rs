//! A request of a generating endpoint, from its arrival to its answer.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};

use super::admission::{Admitted, admit, in_time};
use super::asked::ReadBody;
use crate::api::Api;
use crate::api::answers::{Answer, Delivery, RequestRecord, stream_answer, whole_answer};
use crate::api::http::{RequestAccount, Visit};
use crate::client_connection::ConnectionLife;

/// Answers a request whose body `read` reads, whole or as a stream.
pub async fn generate(api: &Arc<Api>, request: Request, read: ReadBody) -> Response {
    let visit = request.extensions().get::<Visit>().cloned().unwrap_or_default();
    let life = request.extensions().get::<ConnectionLife>().cloned().unwrap_or_default();
    let account = request.extensions().get::<RequestAccount>().cloned();
    let account = account.unwrap_or_else(|| RequestAccount::new(api.entrance.metrics.without_model()));
    let mut record = RequestRecord::new(account.clone(), api.open_requests.open(), visit, life);
    let admitted = tokio::select! {
        error = record.cut_off() => Err(error),
        admitted = admit(api, &account, request, read) => admitted,
    };
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(error) => {
            record.fail(&error);
            return error.into_response();
        }
    };
    let Admitted { submitted, share, queued, form, stream } = admitted;
    record.submitted(submitted.sources.iter().map(|source| source.len()));
    let mut answer = Answer::new(submitted, Delivery { record, share });
    // Its status is not sent before it is known whether the request gets its turn.
    let begun = in_time(api, queued, answer.begin()).await;
    if let Err(error) = begun.and_then(|begun| begun) {
        answer.record().fail(&error);
        return error.into_response();
    }
    if stream { stream_answer(answer, form) } else { whole_answer(answer, form).await }
}
