//! Creates metrics that differ by labels, and registers them.
//!
//! Used by the files that name metrics. All label values of one metric share its name and help text.

use prometheus::core::Collector;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result};

/// The label that tells models apart.
pub const MODEL: &str = "model";

/// Makes metrics and adds them to a registry.
pub struct Families<'a>(pub &'a Registry);

impl Families<'_> {
    /// A metric without labels.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    /// A whole number that goes up and down.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// A number that goes up and down, for each model.
    pub fn ratios(&self, name: &str, help: &str) -> GaugeVec {
        self.register(GaugeVec::new(Opts::new(name, help), &[MODEL]))
    }

    /// A count that only grows.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// A distribution over `buckets`, one for each model.
    pub fn histograms(&self, name: &str, help: &str, buckets: Vec<f64>) -> HistogramVec {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), &[MODEL]))
    }

    /// A distribution over `buckets`, one for each value of `label` and each model.
    pub fn histograms_by(&self, name: &str, help: &str, label: &str, buckets: Vec<f64>) -> HistogramVec {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), &[label, MODEL]))
    }

    /// Adds a collector that reads its values when it is asked.
    pub fn add(&self, collector: Box<dyn Collector>) {
        self.0.register(collector).expect("each name is used once");
    }

    fn register<C: Collector + Clone + 'static>(&self, made: Result<C>) -> C {
        let collector = made.expect("names and labels of metrics are valid");
        self.add(Box::new(collector.clone()));
        collector
    }
}
