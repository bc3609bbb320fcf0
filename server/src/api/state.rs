//! Everything that handlers need: the models, limits of requests, and what all requests share.
//!
//! Built by `http_server`, given to every handler by the router.

use std::sync::OnceLock;
use std::time::Duration;

use super::answers::AnswerBudget;
use super::http::{BodyLimits, BodyReader, Budget, Entrance, OpenRequests};
use super::json::{LimitValue, LimitValues};
use super::quota_book::QuotaBook;
use super::structure::StructureBounds;
use crate::batch_store::BatchStore;
use crate::client_connection::Peer;
use crate::job_pool::JobPool;
use crate::registry::ModelRegistry;
use crate::source_sharing::SourceSharing;

/// Limits of one request.
#[derive(Debug, Clone, Copy)]
pub struct ApiLimits {
    /// `n`.
    pub choices: u32,
    /// Prompts in a list.
    pub prompts: usize,
    /// Inputs of a request that the encoder answers.
    pub inputs: usize,
    /// `logprobs`.
    pub top_log_probs: u32,
    /// Choices of all prompts together.
    pub total_choices: usize,
    /// Log-probabilities of all choices together.
    pub total_log_probs: usize,
    /// Stop strings.
    pub stop_strings: usize,
    /// Bytes of one of them.
    pub stop_bytes: usize,
    /// Bytes of a text that is truncated.
    pub truncated_text_bytes: usize,
    /// Forms of answers.
    pub structure: StructureBounds,
    /// Messages of a conversation.
    pub messages: usize,
    /// Limits of the body.
    pub body: BodyLimits,
    /// Longest time that a request waits for its first row.
    pub queue_timeout: Duration,
}

/// Everything the handlers need.
#[derive(Debug)]
pub struct Api {
    /// The models that requests are answered with.
    pub models: ModelRegistry,
    /// Checks and records that every request passes before its route.
    pub entrance: Entrance,
    /// Files and batches; empty where none are kept. Filled before requests are let in.
    pub batches: OnceLock<BatchStore>,
    /// Which clients share encoded sources.
    pub source_sharing: SourceSharing,
    /// Limits of a request.
    pub limits: ApiLimits,
    /// Memory of all large bodies together.
    pub body_budget: Budget,
    /// Memory of all answers together.
    pub answer_budget: AnswerBudget,
    /// Tokens that clients may ask for.
    pub quotas: QuotaBook,
    /// Threads that parse large bodies.
    pub parsers: JobPool,
    /// Requests that are being answered.
    pub open_requests: OpenRequests,
    /// Time without a heartbeat of an engine after which the server is not ready.
    pub stall_timeout: Duration,
}

impl Api {
    /// A reader of the body of one request from this peer, which waits in no queue.
    pub fn body_reader(&self, peer: Option<Peer>) -> BodyReader<'_> {
        BodyReader { limits: self.limits.body, budget: &self.body_budget, peer, queues: None, inflating: &self.parsers }
    }

    /// The limits that fields of bodies name. Lengths are those of the default model.
    pub fn limit_values(&self) -> LimitValues {
        let ApiLimits { choices, prompts, inputs, top_log_probs, total_choices, total_log_probs, .. } = self.limits;
        let (ApiLimits { stop_strings, stop_bytes, structure, messages, body, .. }, lengths) =
            (self.limits, self.models.default_model().limits());
        let values = [
            ("choices", u64::from(choices)),
            ("prompts", prompts as u64),
            ("inputs", inputs as u64),
            ("top_logprobs", u64::from(top_log_probs)),
            ("total_choices", total_choices as u64),
            ("total_logprobs", total_log_probs as u64),
            ("stop_strings", stop_strings as u64),
            ("stop_bytes", stop_bytes as u64),
            ("grammar_bytes", structure.grammar_bytes as u64),
            ("allowed_targets", structure.targets as u64),
            ("allowed_target_bytes", structure.target_bytes as u64),
            ("messages", messages as u64),
            ("body_bytes", body.bytes as u64),
            ("source_tokens", lengths.source_tokens as u64),
            ("target_tokens", lengths.target_tokens as u64),
        ];
        LimitValues::new(values.map(|(name, value)| LimitValue { name, value }))
    }
}
