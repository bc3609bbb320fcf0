//! The paths with what they take and give: one line for each.
//!
//! Turned into a document by `document`; a test holds it to the routes.

use utoipa::openapi::Schema;
use utoipa::openapi::path::HttpMethod;

use crate::api::answers::{ChatCompletion, CompletionMessage, ResponseMessage};
use crate::api::batches::{
    BATCH_FIELDS, BATCH_QUERY, BatchList, BatchMessage, DeletedFile, FILE_QUERY, FileList, FileMessage, QueryField,
};
use crate::api::encodings::{Class, Classify, Embedding, Embeddings, Encode, Pooled, Pooling, States, Task};
use crate::api::generation::RenderedRequest;
use crate::api::health::Version;
use crate::api::json::FieldTable;
use crate::api::load::Load;
use crate::api::models::{ModelList, ModelMessage};
use crate::api::tokens::{DETOKENIZE_FIELDS, DetokenizeMessage, TOKENIZE_FIELDS, TokenizeMessage, TokenizerInfo};
use crate::api::{batches, chat, completions, responses, scoring};

use super::document::{AnswerForm, json, list_of};

/// A path under one method.
pub struct Operation {
    /// The path, with `{name}` for a part of it that varies.
    pub path: &'static str,
    /// The method.
    pub method: HttpMethod,
    /// Its purpose, in a line.
    pub summary: &'static str,
    /// Fields of the body, if it takes one.
    pub body: Option<&'static FieldTable>,
    /// The answer with the status 200.
    pub answer: AnswerForm,
    /// Whether nobody needs a key for it.
    pub is_open: bool,
    /// Whether the query may name a model.
    pub has_model_query: bool,
    /// Parameters of the query.
    pub query: &'static [QueryField],
    /// The schema of the form that it takes, if it takes one.
    pub form: Option<fn() -> Schema>,
}

impl Operation {
    fn read(path: &'static str, summary: &'static str, answer: AnswerForm) -> Self {
        Self {
            path,
            method: HttpMethod::Get,
            summary,
            body: None,
            answer,
            is_open: false,
            has_model_query: false,
            query: &[],
            form: None,
        }
    }

    fn ask(path: &'static str, summary: &'static str, body: &'static FieldTable, answer: AnswerForm) -> Self {
        Self { method: HttpMethod::Post, body: Some(body), ..Self::read(path, summary, answer) }
    }

    fn act(path: &'static str, summary: &'static str, answer: AnswerForm) -> Self {
        Self { method: HttpMethod::Post, ..Self::read(path, summary, answer) }
    }

    fn with_model(self) -> Self {
        Self { has_model_query: true, ..self }
    }

    fn open(self) -> Self {
        Self { is_open: true, ..self }
    }
}

/// All operations.
pub fn operations() -> Vec<Operation> {
    [generating(), encoding(), keeping(), telling()].into_iter().flatten().collect()
}

/// Operations that write texts, or show what they would be asked with.
fn generating() -> Vec<Operation> {
    vec![
        Operation::ask(
            "/v1/completions",
            "Generates text, whole or streamed",
            &completions::FIELDS,
            json::<CompletionMessage<'_>>().or_events(),
        ),
        Operation::ask(
            "/v1/chat/completions",
            "Answers a conversation, whole or streamed",
            &chat::FIELDS,
            json::<ChatCompletion<'_>>().or_events(),
        ),
        Operation::ask(
            "/v1/completions/render",
            "What a completion request would ask of the model, without running it",
            &completions::FIELDS,
            AnswerForm::listed::<RenderedRequest<'_>>(),
        ),
        Operation::ask(
            "/v1/chat/completions/render",
            "What a chat request would ask of the model, without running it",
            &chat::FIELDS,
            json::<RenderedRequest<'_>>(),
        ),
        Operation::ask(
            "/v1/responses",
            "Answers a conversation in the form of OpenAI's Responses, whole or streamed",
            &responses::FIELDS,
            json::<ResponseMessage<'_>>().or_events(),
        ),
    ]
}

/// Operations that encode and score texts.
fn encoding() -> Vec<Operation> {
    vec![
        Operation::ask(
            "/v1/embeddings",
            "One vector for each input",
            Embeddings::known(),
            list_of::<Embedding<'_>>("EmbeddingList"),
        ),
        Operation::ask(
            "/v1/encode",
            "The final state of every token",
            Encode::known(),
            list_of::<States<'_>>("StatesList"),
        ),
        classes("/v1/classify", "The classes of each input"),
        classes("/classify", "The classes of each input, under vLLM's path"),
        Operation::ask(
            "/pooling",
            "Whatever an encoder gives, under vLLM's path",
            Pooling::known(),
            list_of::<Pooled<'_>>("PooledList"),
        ),
        Operation::ask(
            "/v1/score",
            "How well targets fit sources",
            &scoring::SCORE_FIELDS,
            json::<scoring::ScoresMessage>(),
        ),
        ranking("/v1/rerank", "Documents from best to worst"),
        ranking("/v2/rerank", "Documents from best to worst, under Cohere's newer path"),
        ranking("/rerank", "Documents from best to worst, under vLLM's path"),
    ]
}

/// Operations on files and batches.
fn keeping() -> Vec<Operation> {
    let file = || json::<FileMessage>();
    let batch = || json::<BatchMessage>();
    vec![
        Operation {
            form: Some(batches::upload_schema),
            ..Operation::act("/v1/files", "Keeps a file of requests", file())
        },
        Operation { query: &FILE_QUERY, ..Operation::read("/v1/files", "The files", json::<FileList>()) },
        Operation::read("/v1/files/{file_id}", "A file", file()),
        Operation {
            method: HttpMethod::Delete,
            ..Operation::read("/v1/files/{file_id}", "Deletes a file", json::<DeletedFile>())
        },
        Operation::read("/v1/files/{file_id}/content", "The bytes of a file", AnswerForm::Bytes),
        Operation::ask("/v1/batches", "Answers a file of requests", &BATCH_FIELDS, batch()),
        Operation { query: &BATCH_QUERY, ..Operation::read("/v1/batches", "The batches", json::<BatchList>()) },
        Operation::read("/v1/batches/{batch_id}", "A batch", batch()),
        Operation::act("/v1/batches/{batch_id}/cancel", "Ends a batch before it is done", batch()),
    ]
}

/// Operations that tell of models, tokens and the server.
fn telling() -> Vec<Operation> {
    let text = || AnswerForm::Text;
    vec![
        Operation::read("/v1/models", "The served models and their limits", json::<ModelList<'_>>()),
        Operation::read("/v1/models/{name}", "One served model and its limits", json::<ModelMessage<'_>>()),
        Operation::ask("/tokenize", "The ids of a text", &TOKENIZE_FIELDS, json::<TokenizeMessage>()),
        Operation::ask("/detokenize", "The text of ids", &DETOKENIZE_FIELDS, json::<DetokenizeMessage>()),
        Operation::read("/tokenizer_info", "Facts of a model's tokenizer", json::<TokenizerInfo>()).with_model(),
        Operation::read("/load", "How busy the server is", json::<Load>()),
        Operation::read("/health", "Answers as long as the process lives", text()).open(),
        Operation::read("/ready", "Answers 200 when requests are accepted", text()).open(),
        Operation::read("/ping", "Answers 200 when requests are accepted", text()).open(),
        Operation::read("/metrics", "Metrics in Prometheus' text format", text()),
        Operation::read("/version", "The server's version", json::<Version>()),
        Operation::read("/openapi.json", "This description", AnswerForm::AnyJson),
    ]
}

fn classes(path: &'static str, summary: &'static str) -> Operation {
    Operation::ask(path, summary, Classify::known(), list_of::<Class<'_>>("ClassList"))
}

fn ranking(path: &'static str, summary: &'static str) -> Operation {
    Operation::ask(path, summary, &scoring::RERANK_FIELDS, json::<scoring::RankingMessage<'_>>())
}
