//! Reports of a run: JSON, lines of requests, text, an HTML page; and the comparison of two runs.
//!
//! Pure: writes no files.

mod chart;
mod comparison;
mod html;
mod json;
mod line;
mod text;

pub use comparison::{Comparison, RunFigures};
pub use html::html;
pub use json::json;
pub use line::record_line;
pub use text::text;

use crate::measurement::Figures;
use crate::scenario::Scenario;
use crate::scrape::Sample;

/// Everything that the reports of a run say.
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// The scenario that was run.
    pub scenario: Scenario,
    /// The figures; of a sweep, those of the highest rate that was kept.
    pub figures: Figures,
    /// Steps of a sweep, in the order in which they were tried.
    pub steps: Vec<Step>,
    /// The server's own figures.
    pub samples: Vec<Sample>,
    /// Everything that was not good.
    pub misses: Vec<String>,
}

/// A step of a sweep.
pub struct Step {
    /// Offered rate, in requests per second.
    pub rate: f64,
    /// Its figures.
    pub figures: Figures,
    /// Share of its requests that were answered well while they came.
    pub share: f64,
}

impl Report {
    /// Offered rate of an open loop with one stage, or of the first.
    fn rate(&self) -> Option<f64> {
        self.scenario.load.stages.first().and_then(|stage| stage.rate)
    }

    /// Most clients of a closed loop, or the most requests in flight that an open loop may have.
    fn concurrency(&self) -> Option<f64> {
        let stages = self.scenario.load.stages.iter();
        let clients = stages.filter_map(|stage| Some(stage.clients?.max(stage.to.unwrap_or_default())));
        let cap = self.scenario.load.concurrency.map(|most| most as f64);
        clients.fold(None, |most: Option<f64>, clients| Some(most.map_or(clients, |most| most.max(clients)))).or(cap)
    }

    /// Highest rate of a sweep that the server kept up with.
    fn highest_kept(&self) -> Option<f64> {
        let least = self.scenario.sweep.unwrap_or_default().least_share;
        let kept = self.steps.iter().filter(|step| step.share >= least).map(|step| step.rate);
        kept.fold(None, |most: Option<f64>, rate| Some(most.map_or(rate, |most| most.max(rate))))
    }
}
