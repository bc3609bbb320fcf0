//! `POST /v1/score` and `POST /v1/rerank`, from a request's arrival to its answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::admission::{Admitted, Work, admit};
use super::call::{Method, ScoringCall};
use super::message::message;
use super::parse::{ReadBody, parse_rerank, parse_score};
use super::scores::{begin_encoding, cosine, embeddings, likelihoods};
use super::tokenise::Tokens;
use crate::api::Api;
use crate::api::answers::{Generations, RequestRecord, Written};
use crate::api::arrival::{Arrival, in_time};
use crate::api::http::ApiError;

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
    let admitted = tokio::select! {
        error = record.cut_off() => Err(error),
        admitted = admit(api, &account, request, read) => admitted,
    };
    let written = match admitted {
        Ok(admitted) => finish(api, admitted, &mut record).await,
        Err(error) => Err(error),
    };
    Written::respond(written, record)
}

async fn finish(api: &Api, admitted: Admitted, record: &mut RequestRecord) -> Result<Written, ApiError> {
    let Admitted { call, model, tokens, work, share, queued } = admitted;
    record.submitted(encoded(&call, &tokens));
    let scores = match work {
        Work::Likelihoods(generations) => {
            let mut generations = Generations::new(generations);
            let begun = in_time(api, queued, generations.arrived());
            tokio::select! {
                biased;
                error = record.cut_off() => return Err(error),
                begun = begun => begun?,
            }
            let per_token = matches!(call.method, Method::Likelihood { per_token: true, .. });
            let read = likelihoods(generations, call.pairs.len(), record).await?;
            read.into_iter().map(|likelihood| likelihood.score(per_token)).collect::<Vec<_>>()
        }
        Work::Embeddings(mut encodings) => {
            let begun = in_time(api, queued, begin_encoding(&mut encodings));
            tokio::select! {
                biased;
                error = record.cut_off() => return Err(error),
                begun = begun => begun??,
            }
            let read = embeddings(encodings, record).await?;
            let (sources, targets) = read.split_at(tokens.sources.len());
            call.pairs.iter().map(|pair| cosine(&sources[pair.source], &targets[pair.target])).collect()
        }
    };
    Ok(Written { json: message(&call.form, &scores, &model.name, &tokens).into_bytes(), share })
}

/// Numbers of tokens of the texts that the encoder reads.
fn encoded(call: &ScoringCall, tokens: &Tokens) -> impl Iterator<Item = usize> {
    let targets = if call.method == Method::Embedding { tokens.targets.as_slice() } else { &[] };
    tokens.sources.iter().chain(targets).map(|text| text.len())
}
