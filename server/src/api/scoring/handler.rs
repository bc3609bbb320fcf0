//! `POST /v1/score` and `POST /v1/rerank`, from a request's arrival to its answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::admission::{Admitted, Work, admit};
use super::call::{Method, Pair, ScoringCall};
use super::distinct::DistinctTexts;
use super::message::message;
use super::parse::{ReadBody, parse_rerank, parse_score};
use super::scores::{cosine, likelihoods};
use crate::api::Api;
use crate::api::answers::{Generations, RequestRecord, Written, write_json};
use crate::api::arrival::Arrival;
use crate::api::http::{ApiError, RequestAccount};

/// Answers with the score of each pair.
pub async fn score(State(api): State<Arc<Api>>, request: Request) -> Response {
    answer(&api, request, parse_score).await
}

/// Answers with documents from best to worst.
pub async fn rerank(State(api): State<Arc<Api>>, request: Request) -> Response {
    answer(&api, request, parse_rerank).await
}

async fn answer(api: &Arc<Api>, request: Request, read: ReadBody) -> Response {
    let Arrival { account, mut record } = Arrival::of(&request, api);
    let written = write(api, Asked { account: &account, request, read }, &mut record).await;
    Written::respond(written, record)
}

/// A request and how its body is read.
struct Asked<'a> {
    account: &'a RequestAccount,
    request: Request,
    read: ReadBody,
}

/// Has the pairs scored and writes their scores.
async fn write(api: &Arc<Api>, asked: Asked<'_>, record: &mut RequestRecord) -> Result<Written, ApiError> {
    let Asked { account, request, read } = asked;
    let Admitted { call, model, tokens, work, share, turn } =
        record.unless_cut_off(admit(api, account, request, read)).await?;
    record.end_by(turn.deadline);
    let scores: Vec<f64> = match work {
        Work::Likelihoods(order, generations) => {
            record.submitted(tokens.sources.iter().map(|text| text.len()));
            let mut generations = Generations::new(generations);
            record.unless_cut_off(turn.in_time(api, generations.arrived())).await?;
            turn.begun();
            let per_token = matches!(call.method, Method::Likelihood { per_token: true, .. });
            let read = likelihoods(generations, &order, record).await?;
            read.into_iter().map(|likelihood| likelihood.score(per_token)).collect()
        }
        Work::Embeddings(texts, results) => {
            record.submitted(texts.texts.iter().map(|text| text.len()));
            cosines(&call, &texts, &results.collect(api, &turn, record).await?)
        }
    };
    // An entry of the list takes less than 128 bytes beside its document.
    let bytes = call.repeated_bytes() + 128 * scores.len();
    let write = move || message(&call.form, &scores, &model.name, &tokens).into_bytes();
    Ok(Written { json: write_json(&api.parsers, bytes, write).await?, share })
}

/// The cosine of each pair.
fn cosines(call: &ScoringCall, texts: &DistinctTexts, states: &[Vec<f32>]) -> Vec<f64> {
    let state = |text: usize| states[text].as_slice();
    let cosine = |pair: &Pair| cosine(state(texts.sources[pair.source]), state(texts.targets[pair.target]));
    call.pairs.iter().map(cosine).collect()
}
