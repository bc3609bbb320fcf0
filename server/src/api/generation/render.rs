//! A request of a generating endpoint that is not run: read, checked and tokenised as the endpoint does it, and
//! answered with what the engine would get.
//!
//! It takes no place in the queue, as questions for the tokenizer take none.

use std::sync::Arc;

use crate::api::turn::{Deadline, Turn};
use axum::extract::Request;
use axum::response::Response;

use super::admission::{Waiting, read_call, tokenised};
use super::asked::{Asked, ReadBody};
use super::call::GenerationCall;
use super::rendered::rendered;
use super::tokenise::TokenisedCall;
use crate::api::Api;
use crate::api::answers::{AnswerSize, Repeats, Written};
use crate::api::arrival::Arrival;
use crate::api::http::{ApiError, RequestAccount};
use crate::api::json::json_bytes;
use crate::api::reading::{ReadRequest, Unread};
use crate::api::structure::RenderedStructure;

/// Most bytes of an id and the comma after it, and those of the id in memory.
const ID_BYTES: usize = 15;

/// Answers of so many ids are written where they are: it takes less time than a change of threads.
const FEW_IDS: usize = 16 << 10;

/// Answers with what the engine would get of a request whose body `read` reads.
pub async fn render(api: &Arc<Api>, request: Request, read: ReadBody) -> Response {
    let Arrival { account, mut record } = Arrival::of(&request, api);
    let written = tokio::select! {
        error = record.cut_off() => Err(error),
        written = write(api, &account, request, read) => written,
    };
    Written::respond(written, record)
}

async fn write(
    api: &Arc<Api>,
    account: &RequestAccount,
    request: Request,
    read: ReadBody,
) -> Result<Written, ApiError> {
    let unread = Unread { account, request, queued_as: None };
    let ReadRequest { model, asked, client, arrived, timeout, held } = read_call(api, unread, read).await?;
    let Asked { mut call, .. } = asked;
    let form = call.sources.rendered_form();
    let turn = Turn::outside_queues(Deadline::soonest(arrived, timeout, call.timeout));
    let waiting = Waiting { client: &client, turn: &turn };
    let tokens = tokenised(api, &model, &mut call, waiting).await?;
    let share = api.answer_budget.reserve(answer_size(&call, &tokens), client.peer)?;
    let beginnings = tokens.beginning_lengths();
    let of_sources = tokens.source_lengths().sum::<usize>() * beginnings.len();
    let ids = of_sources + tokens.sources.len() * beginnings.iter().sum::<usize>();
    let write = move || rendered(&model, &call, &tokens, form).into_bytes();
    let json = if ids <= FEW_IDS { write() } else { api.parsers.run(write).await? };
    drop(held);
    Ok(Written { json, share })
}

/// The memory of the answer and of the tokens that it is made of.
fn answer_size(call: &GenerationCall, tokens: &TokenisedCall) -> AnswerSize {
    let stop = call.stop.iter().map(|text| json_bytes(text)).sum::<usize>();
    let form = call.structure.as_ref().map_or(0, |given| RenderedStructure::json_bytes(&given.form));
    let around =
        [&tokens.around.before, &tokens.around.after].map(|text| text.len() + json_bytes(text)).iter().sum::<usize>();
    let bytes = tokens.sources.iter().map(|source| {
        let text = source.text.as_ref().map_or(0, |text| around + text.len() + json_bytes(text));
        let of_each = |beginning: usize| text + ID_BYTES * (source.ids.len() + beginning) + stop + form;
        tokens.beginning_lengths().into_iter().map(of_each).sum::<usize>()
    });
    let repeats = Repeats { pieces: 0, request_bytes: bytes.sum() };
    AnswerSize {
        choices: tokens.sources.len() * tokens.beginnings.len(),
        tokens: 0,
        token_bytes: 0,
        log_prob_bytes: 0,
        held_bytes: 0,
        repeats,
    }
}
