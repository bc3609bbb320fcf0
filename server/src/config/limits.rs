//! The settings under `[limits]`: bounds beyond which requests are refused or wait.
//!
//! Read by `config`.

use std::time::Duration;

use super::error::KeyValue;
use super::forms::FormLimits;
use super::reader::Reader;
use super::{GIB, MIB, POOL_FITS, PoolFit};
use crate::overload::WaitLimits;

/// Bounds beyond which requests are refused or wait. `config.toml` gives the reason of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once.
    pub connections: usize,
    /// Connections beyond those, for probes only.
    pub reserved_connections: usize,
    /// Connections open at once from one address.
    pub connections_per_peer: usize,
    /// Time from a connection's opening to the end of its first request's head.
    pub header_timeout: Duration,
    /// Time from an answer to the end of the next request's head; at least `header_timeout`.
    pub keep_alive_timeout: Duration,
    /// Time for a client to take in what was written before more can be written.
    pub write_timeout: Duration,
    /// Time for a request's body to arrive.
    pub body_timeout: Duration,
    /// Sequences that may wait; at least `total_choices`.
    pub queued_rows: u32,
    /// How long a newcomer may be expected to wait.
    pub wait: WaitLimits,
    /// Tokens that a client may ask for in a minute; 0: any number.
    pub client_tokens_per_minute: u64,
    /// Longest time that a request waits for its first row.
    pub queue_timeout: Duration,
    /// Sequences decoded at once.
    pub running_rows: u32,
    /// Most running sequences of one HTTP request.
    pub call_rows: u32,
    /// Tokens of one source; the model may allow fewer, and the page pool hold fewer.
    pub source_tokens: usize,
    /// Decoder prompt plus generated tokens of one choice; the model may allow fewer.
    pub target_tokens: usize,
    /// Largest `n`.
    pub choices: u32,
    /// Prompts in one HTTP request; at most `queued_rows`.
    pub prompts: u32,
    /// Inputs in one HTTP request that the encoder answers, and never more than `queued_rows`.
    pub inputs: u32,
    /// Bytes of memory of all pages.
    pub page_pool_bytes: usize,
    /// Reaction if that does not fit.
    pub page_pool_fit: PoolFit,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Bytes of all large bodies that are not parsed yet; at least `peer_body_bytes`.
    pub unparsed_body_bytes: usize,
    /// Bytes of such bodies from one address; at least `body_bytes`.
    pub peer_body_bytes: usize,
    /// Bytes a second at which a large body has to arrive.
    pub body_bytes_per_s: usize,
    /// Bytes of memory of all answers that are being made or taken.
    pub answer_bytes: usize,
    /// Bytes of memory of the answers to one address; at most `answer_bytes`.
    pub peer_answer_bytes: usize,
    /// Bytes a second that a client has to take while there are more to write.
    pub write_bytes_per_s: u64,
    /// Bytes of a refused body that are thrown away before the answer.
    pub drain_body_bytes: usize,
    /// Decoder positions in a step; at least `running_rows`.
    pub step_rows: u32,
    /// Decoder positions up to which a step is filled with drafted tokens.
    pub draft_rows: u32,
    /// Source tokens that go through the encoder in a step.
    pub step_encoder_tokens: u32,
    /// Largest `logprobs`.
    pub top_logprobs: u32,
    /// Largest product of prompts and `n` in one HTTP request.
    pub total_choices: usize,
    /// Largest product of choices, tokens and `logprobs` + 1 in one HTTP request.
    pub total_logprobs: usize,
    /// Steps that a search among given targets may take to be exact.
    pub exact_search_steps: u32,
    /// Strings in `stop`.
    pub stop_strings: usize,
    /// Bytes of each stop string.
    pub stop_bytes: usize,
    /// Forms of answers.
    pub forms: FormLimits,
    /// Bytes of a text that is truncated.
    pub truncated_text_bytes: usize,
    /// Messages of a conversation.
    pub messages: usize,
    /// Instructions of a chat template in one rendering.
    pub chat_template_steps: u64,
}

impl Limits {
    /// Most sequences of one HTTP request that run at once. If there are several rows, some are always left to others.
    pub fn rows_of_a_call(&self) -> usize {
        let most = (self.running_rows - self.running_rows / 4).max(1);
        self.call_rows.min(most) as usize
    }

    pub(super) fn read(reader: &mut Reader) -> Self {
        let (header_timeout_s, keep_alive_timeout_s) = (
            reader.integer("limits.header_timeout_s", 1..=3600),
            reader.integer("limits.keep_alive_timeout_s", 1..=86_400),
        );
        let header_timeout = KeyValue { key: "limits.header_timeout_s", value: header_timeout_s };
        reader.ordered(header_timeout, KeyValue { key: "limits.keep_alive_timeout_s", value: keep_alive_timeout_s });
        let limits = Self {
            connections: reader.integer("limits.connections", 1..=65_536),
            reserved_connections: reader.integer("limits.reserved_connections", 0..=1024),
            connections_per_peer: reader.integer("limits.connections_per_peer", 1..=65_536),
            header_timeout: Duration::from_secs(header_timeout_s),
            keep_alive_timeout: Duration::from_secs(keep_alive_timeout_s),
            write_timeout: Duration::from_secs(reader.integer("limits.write_timeout_s", 1..=3600)),
            body_timeout: Duration::from_secs(reader.integer("limits.body_timeout_s", 1..=3600)),
            queued_rows: reader.integer("limits.queued_rows", 1..=65_536),
            wait: WaitLimits {
                usual: Duration::from_secs(reader.integer("limits.queue_wait_s", 1..=86_400)),
                overload_percent: reader.integer("limits.overload_wait_percent", 0..=1000),
            },
            client_tokens_per_minute: reader.integer("limits.client_tokens_per_minute", 0..=1024 * GIB),
            queue_timeout: Duration::from_secs(reader.integer("limits.queue_timeout_s", 1..=86_400)),
            running_rows: reader.integer("limits.running_rows", 1..=4096),
            call_rows: reader.integer("limits.request_rows", 1..=4096),
            source_tokens: reader.integer("limits.source_tokens", 1..=MIB),
            target_tokens: reader.integer("limits.target_tokens", 1..=MIB),
            choices: reader.integer("limits.choices", 1..=1024),
            prompts: reader.integer("limits.prompts", 1..=65_536),
            inputs: reader.integer("limits.inputs", 1..=65_536),
            page_pool_bytes: reader.integer("limits.page_pool_bytes", MIB..=1024 * GIB),
            page_pool_fit: reader.choice("limits.page_pool_fit", &POOL_FITS),
            body_bytes: reader.integer("limits.body_bytes", 1024..=GIB),
            unparsed_body_bytes: reader.integer("limits.unparsed_body_bytes", 1024..=1024 * GIB),
            peer_body_bytes: reader.integer("limits.peer_body_bytes", 1024..=1024 * GIB),
            body_bytes_per_s: reader.integer("limits.body_bytes_per_s", 0..=GIB),
            answer_bytes: reader.integer("limits.answer_bytes", MIB..=1024 * GIB),
            peer_answer_bytes: reader.integer("limits.peer_answer_bytes", MIB..=1024 * GIB),
            write_bytes_per_s: reader.integer("limits.write_bytes_per_s", 0..=GIB),
            drain_body_bytes: reader.integer("limits.drain_body_bytes", 0..=GIB),
            step_rows: reader.integer("limits.step_rows", 1..=65_536),
            draft_rows: reader.integer("limits.draft_rows", 0..=65_536),
            step_encoder_tokens: reader.integer("limits.step_encoder_tokens", 1..=MIB),
            top_logprobs: reader.integer("limits.top_logprobs", 0..=100),
            total_choices: reader.integer("limits.total_choices", 1..=MIB),
            total_logprobs: reader.integer("limits.total_logprobs", 0..=GIB),
            exact_search_steps: reader.integer("limits.exact_search_steps", 0..=65_536),
            stop_strings: reader.integer("limits.stop_strings", 0..=64),
            stop_bytes: reader.integer("limits.stop_bytes", 1..=MIB),
            forms: FormLimits::read(reader),
            truncated_text_bytes: reader.integer("limits.truncated_text_bytes", 1024..=GIB),
            messages: reader.integer("limits.messages", 1..=65_536),
            chat_template_steps: reader.integer("limits.chat_template_steps", 1000..=GIB),
        };
        let Self { prompts, queued_rows, running_rows, step_rows, body_bytes, unparsed_body_bytes, .. } = limits;
        let prompts = KeyValue { key: "limits.prompts", value: prompts.into() };
        let queued_rows = KeyValue { key: "limits.queued_rows", value: queued_rows.into() };
        reader.ordered(prompts, queued_rows);
        let running_rows = KeyValue { key: "limits.running_rows", value: running_rows.into() };
        reader.ordered(running_rows, KeyValue { key: "limits.step_rows", value: step_rows.into() });
        reader.ordered(KeyValue { key: "limits.total_choices", value: limits.total_choices as u64 }, queued_rows);
        let body = KeyValue { key: "limits.body_bytes", value: body_bytes as u64 };
        let peer_body = KeyValue { key: "limits.peer_body_bytes", value: limits.peer_body_bytes as u64 };
        reader.ordered(body, peer_body);
        let unparsed = KeyValue { key: "limits.unparsed_body_bytes", value: unparsed_body_bytes as u64 };
        reader.ordered(peer_body, unparsed);
        let peer_answer = KeyValue { key: "limits.peer_answer_bytes", value: limits.peer_answer_bytes as u64 };
        reader.ordered(peer_answer, KeyValue { key: "limits.answer_bytes", value: limits.answer_bytes as u64 });
        limits
    }
}
