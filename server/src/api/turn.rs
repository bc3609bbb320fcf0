//! A request's turn: its places in a model's queue, and how long it waits there.
//!
//! Used by the rooms that submit requests. A request is charged to its client's quota when it enters the queue. If its
//! work does not begin, the quota gets it back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::http::ApiError;
use super::quota_book::Charge;
use super::state::Api;
use crate::engine::{Place, Slots};
use crate::overload::{Entered, NewCall, Recall, Work};
use crate::registry::ServedModel;
use crate::request::{Caller, Refusal, Salt};
use crate::source_sharing::Client;

/// Rows and work that a request asks of a model, before its texts are tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Its sequences, or its encoder requests.
    pub rows: u32,
    /// The most that it takes.
    pub work: Work,
    /// The least that its first sequence takes.
    pub least: Work,
}

/// The time within which a client wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When it is over.
    pub at: Instant,
    /// The time from the request's arrival until then.
    pub timeout: Duration,
}

impl Deadline {
    /// The sooner of the deadlines that the head and the body of a request set, which arrived then.
    pub fn soonest(arrived: Instant, of_head: Option<Duration>, of_body: Option<Duration>) -> Option<Self> {
        let timeout = of_head.into_iter().chain(of_body).min()?;
        Some(Self { at: arrived + timeout, timeout })
    }
}

/// A request that wants to enter a queue.
pub struct Entry<'a> {
    /// Its client.
    pub client: &'a Client,
    /// Keeps its sources apart.
    pub salt: Salt,
    /// Rows and work that it asks for.
    pub demand: Demand,
    /// Until when.
    pub deadline: Option<Deadline>,
}

/// The wait of a request for its turn.
#[derive(Debug)]
pub struct Turn {
    /// When the request entered the queue.
    since: Instant,
    /// The least time that its answer takes once it has begun.
    least_time: Duration,
    /// Until when it wants its answer.
    pub deadline: Option<Deadline>,
    /// Tells it when it is shed.
    recall: Arc<Recall>,
    /// Its client's quota, if it has one.
    charge: Option<Charge>,
}

/// Takes the places of a request in the model's queue.
///
/// # Errors
/// The refusal of a request that is shed, or of a client that has used up its quota.
pub fn enter(api: &Api, model: &ServedModel, entry: Entry<'_>) -> Result<(Slots, Turn), ApiError> {
    let Entry { client, salt, demand, deadline } = entry;
    let Demand { rows, work, least } = demand;
    let party = client.party();
    api.quotas.check(client, &party).map_err(Refusal::from)?;
    let time_left = deadline.map(|deadline| deadline.at.saturating_duration_since(Instant::now()));
    let caller = Caller { party: party.clone(), priority: client.priority, salt, ..Caller::default() };
    let call = NewCall { caller, rows, work, least, time_left, is_patient: false };
    let Place { slots, entered } = model.engine.enter(call)?;
    let charge = api.quotas.charge(client, party, work.tokens());
    let Entered { recall, least_time } = entered;
    let turn = Turn { since: Instant::now(), least_time, deadline, recall, charge };
    Ok((slots, turn))
}

impl Turn {
    /// The wait of a request that takes no place in a queue.
    pub fn outside_queues(deadline: Option<Deadline>) -> Self {
        Self { since: Instant::now(), least_time: Duration::ZERO, deadline, recall: Arc::default(), charge: None }
    }

    /// The request's work has begun.
    pub fn begun(&self) {
        if let Some(charge) = &self.charge {
            charge.keep();
        }
    }

    /// The result of `work`, which ends with the request's turn or comes before it.
    ///
    /// # Errors
    /// When the request does not get its turn in time, or is shed.
    pub async fn in_time<T>(&self, api: &Api, work: impl Future<Output = T>) -> Result<T, ApiError> {
        let patience = api.limits.queue_timeout;
        let given_up = (self.since + patience, ApiError::QueuedTooLong { seconds: patience.as_secs() });
        let late = self.deadline.map(|Deadline { at, timeout }| {
            // From then on the answer cannot be whole in time.
            (at.checked_sub(self.least_time).unwrap_or(self.since), ApiError::TimedOut { timeout })
        });
        let (end, error) = late.filter(|late| late.0 < given_up.0).unwrap_or(given_up);
        tokio::select! {
            biased;
            shed = self.recall.told() => Err(Refusal::from(shed).into()),
            done = tokio::time::timeout_at(end, work) => done.map_err(|_| error),
        }
    }
}
