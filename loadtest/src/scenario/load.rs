//! When requests are sent: the stages of a load, and a sweep over loads.

use serde::Deserialize;

/// A load in stages, one after the other: all of them open (a rate) or all closed (a number of clients).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// Spacing of arrivals in an open loop.
    pub arrivals: Arrivals,
    /// Shape of the gamma distribution of intervals: below 1 arrivals come in bursts, 1 is Poisson.
    pub burstiness: Option<f64>,
    /// Most requests in flight in an open loop. Arrivals beyond it wait, and their latency counts from the schedule.
    pub concurrency: Option<usize>,
    /// Requests after which the load ends, even if its stages are longer.
    pub requests: Option<u64>,
    /// Stages of the load.
    pub stages: Vec<Stage>,
}

/// Spacing of arrivals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Equal intervals.
    Constant,
    /// Independent arrivals: exponential intervals.
    #[default]
    Poisson,
    /// Intervals of a gamma distribution, with `burstiness` as its shape.
    Gamma,
}

/// A stage: a rate or a number of clients, which may move to another in equal steps of time.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Length in seconds.
    pub seconds: f64,
    /// Requests per second at the start: an open loop.
    pub rate: Option<f64>,
    /// Clients at the start, each of which sends its next request when the last is answered: a closed loop.
    pub clients: Option<f64>,
    /// Rate or clients at the end; without it, those of the start.
    pub to: Option<f64>,
}

/// A search for the highest rate that the server keeps up with.
///
/// The rate is multiplied from step to step until the server falls behind; the last gap is then halved by `refine`
/// further steps.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    /// First rate, in requests per second.
    pub from: f64,
    /// Factor from one rate to the next.
    pub factor: f64,
    /// Length of a step in seconds.
    pub seconds: f64,
    /// Steps, at most.
    pub most_steps: usize,
    /// Steps that halve the gap between the last rate kept and the first one missed.
    pub refine: usize,
    /// Share of the offered requests that have to be answered whole (and well, with limits of goodput) for a rate to
    /// count as kept.
    pub least_share: f64,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { from: 1.0, factor: 2.0, seconds: 10.0, most_steps: 16, refine: 2, least_share: 0.95 }
    }
}

/// A load that can be run.
#[derive(Debug, Clone, PartialEq)]
pub enum Pace {
    /// Requests are sent on a schedule, whether earlier ones are answered or not.
    Open(Vec<RateStage>),
    /// Each client sends its next request when the last is answered.
    Closed(Vec<ClientStage>),
}

/// A stage of an open loop: the rate moves linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateStage {
    /// Length in seconds.
    pub seconds: f64,
    /// Requests per second at the start.
    pub from: f64,
    /// Requests per second at the end.
    pub to: f64,
}

/// A stage of a closed loop: the number of clients moves linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClientStage {
    /// Length in seconds.
    pub seconds: f64,
    /// Clients at the start.
    pub from: f64,
    /// Clients at the end.
    pub to: f64,
}

impl Load {
    /// Shape of the gamma distribution of intervals; none for equal intervals.
    pub fn gamma_shape(&self) -> Option<f64> {
        match self.arrivals {
            Arrivals::Constant => None,
            Arrivals::Poisson => Some(1.0),
            Arrivals::Gamma => Some(self.burstiness.unwrap_or(1.0)),
        }
    }
}
