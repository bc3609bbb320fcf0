//! The record of one HTTP request for a model in metrics and log, from its arrival to its end.
//!
//! Held by `generation` and then by `answer`; a record that is dropped early means that the client went away.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use crate::api::http::{ApiError, AskedOutput, Completed, OpenRequest, RequestAccount, Visit};
use crate::api::turn::Deadline;
use crate::client_connection::ConnectionLife;
use crate::request::FinishReason;
use crate::telemetry::{Outcome, RequestMetrics};
use crate::traces::{Period, PromptTimes, TokenTimes};

/// Most prompts of a request whose stages are traced.
const TRACED_PROMPTS: usize = 8;

/// One request's times and outcome.
#[derive(Debug)]
pub struct RequestRecord {
    account: RequestAccount,
    /// The account's metrics, which are final once the engine has the request.
    metrics: Arc<RequestMetrics>,
    visit: Visit,
    arrived: Instant,
    completed: Completed,
    open: OpenRequest,
    /// The end of the client's own time, and how long that was.
    deadline: Option<(Pin<Box<Sleep>>, Duration)>,
    life: ConnectionLife,
}

impl RequestRecord {
    /// The record of a request that has just arrived, on the connection with this `life`.
    pub fn new(account: RequestAccount, open: OpenRequest, visit: Visit, life: ConnectionLife) -> Self {
        account.open();
        Self {
            metrics: account.metrics(),
            account,
            visit,
            arrived: Instant::now(),
            completed: Completed::default(),
            open,
            deadline: None,
            life,
        }
    }

    /// Notes that the engine has the prompts; `sources` are their numbers of tokens.
    pub fn submitted(&mut self, sources: impl Iterator<Item = usize>) {
        self.completed.stages.submitted = Some(Instant::now());
        self.metrics = self.account.metrics();
        for tokens in sources {
            self.completed.source_tokens += tokens as u64;
            self.metrics.source_length.observe(tokens as f64);
        }
        self.metrics.source_tokens.inc_by(self.completed.source_tokens);
    }

    /// Notes the time in which its texts became tokens.
    pub const fn tokenised(&mut self, period: Period) {
        self.completed.stages.tokenising = Some(period);
    }

    /// Whether the request leaves a trace.
    pub fn is_traced(&self) -> bool {
        self.visit.is_traced()
    }

    /// Notes what is wanted of the engine beside encoding.
    pub fn asked(&mut self, output: AskedOutput) {
        self.completed.asked = Some(output);
        self.metrics.asked_choices.observe(f64::from(output.choices));
        self.metrics.asked_tokens.observe(f64::from(output.tokens));
    }

    /// Notes that one of the prompts runs. `cached_tokens` of its source were encoded already.
    pub fn started(&mut self, cached_tokens: u32, prompt: &mut PromptTimes) {
        prompt.started = Some(Instant::now());
        prompt.cached_tokens = cached_tokens;
        self.completed.cached_tokens += u64::from(cached_tokens);
        self.metrics.cached_source_tokens.inc_by(u64::from(cached_tokens));
        if let Some(submitted) = self.completed.stages.submitted {
            let queued = submitted.elapsed();
            self.metrics.queue_seconds.observe(queued.as_secs_f64());
            self.completed.queued.get_or_insert(queued);
        }
    }

    /// Notes the end of a choice.
    pub fn finished(&mut self, reason: FinishReason, generated_tokens: u32, times: &TokenTimes) {
        if let (Some(Period { from, to }), 2..) = (times.period(), generated_tokens) {
            self.metrics.time_per_token_seconds.observe((to - from).as_secs_f64() / f64::from(generated_tokens - 1));
        }
        self.metrics.count_finish(reason);
        self.metrics.target_length.observe(f64::from(generated_tokens));
        match reason {
            FinishReason::Stop => self.completed.stopped_choices += 1,
            FinishReason::Length => self.completed.full_choices += 1,
        }
    }

    /// Notes that all choices of a prompt have ended, or its encoding.
    pub fn prompt_finished(&mut self, times: &PromptTimes) {
        let prompts = &mut self.completed.stages.prompts;
        if self.visit.is_traced() && prompts.len() < TRACED_PROMPTS {
            prompts.push(*times);
        }
        let (Some(started), Some(Period { from, to })) = (times.started, times.tokens.period()) else { return };
        self.metrics.prefill_seconds.observe((from - started).as_secs_f64());
        self.metrics.decode_seconds.observe((to - from).as_secs_f64());
        self.metrics.run_seconds.observe((to - started).as_secs_f64());
    }

    /// Notes a generated token of a choice of a prompt.
    pub fn token(&mut self, prompt: &mut PromptTimes, choice: &mut TokenTimes) {
        let now = Instant::now();
        prompt.tokens.note(now);
        self.metrics.generated_tokens.inc();
        self.completed.generated_tokens += 1;
        if self.completed.first_token.is_none() {
            let waited = now - self.arrived;
            self.completed.first_token = Some(waited);
            self.metrics.first_token_seconds.observe(waited.as_secs_f64());
        }
        if let Some(gap) = choice.note(now) {
            self.metrics.token_gap_seconds.observe(gap.as_secs_f64());
        }
    }

    /// Sets the time at which the request ends, whether or not its answer is whole.
    pub fn end_by(&mut self, deadline: Option<Deadline>) {
        self.deadline = deadline.map(|Deadline { at, timeout }| (Box::pin(sleep_until(at)), timeout));
    }

    /// Returns when the request has to end unanswered, with the error for its client.
    pub async fn cut_off(&mut self) -> ApiError {
        let Some((end, timeout)) = &mut self.deadline else { return self.open.cut_off().await };
        tokio::select! {
            biased;
            error = self.open.cut_off() => error,
            () = end => ApiError::TimedOut { timeout: *timeout },
        }
    }

    /// The result of `work`, or the error of a request that has to end unanswered before it.
    ///
    /// # Errors
    /// That error, or the one of `work`.
    pub async fn unless_cut_off<T>(&mut self, work: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        tokio::select! {
            biased;
            error = self.cut_off() => Err(error),
            done = work => done,
        }
    }

    /// Notes that the answer is complete; it counts as completed if it is written before the record is dropped.
    pub const fn complete(&mut self) {
        self.completed.outcome = Outcome::Completed;
    }

    /// Notes that the request ends with `error`.
    pub fn fail(&mut self, error: &ApiError) {
        self.completed.outcome = error.outcome();
        self.completed.error = Some(error.code().0);
        if self.completed.outcome == Outcome::Failed {
            tracing::error!(%error, route = self.visit.route(), "a request failed");
        }
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        if self.completed.outcome == Outcome::Completed && self.life.is_lost() {
            self.completed.outcome = Outcome::Cancelled;
        }
        self.account.close();
        let metrics = self.account.metrics();
        metrics.count_request(self.completed.outcome);
        if self.completed.outcome == Outcome::Completed {
            metrics.request_seconds.observe(self.arrived.elapsed().as_secs_f64());
        }
        self.visit.leave(self.completed.clone());
    }
}
