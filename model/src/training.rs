//! Training: from data on disk to a checkpoint that is served.
//!
//! Called by the server's `train`. The network here is defined over candle, for its gradients; the one that serves is
//! defined over `kernels`, and a test holds the two equal. Knows no terminal: whoever trains gives an observer.

mod average;
pub mod data;
mod device;
mod distillation;
mod draws;
pub mod error;
pub mod example;
pub mod metrics;
pub mod network;
pub mod objective;
pub mod observer;
pub mod ops;
pub mod optimizer;
mod published;
pub mod run;
mod schedule;
pub mod settings;
mod spikes;
mod stages;
pub mod state;
mod validation;
mod whole_folder;

pub use error::{Error, Result};
pub use example::{Batch, Example};
pub use metrics::{Record, Sample, StepRecord, ValidationRecord};
pub use network::{Network, NetworkOptions};
pub use observer::{Observer, Prepared};
pub use run::{Outcome, train};
pub use settings::Settings;
