//! Training: from data on disk to a checkpoint that is served.
//!
//! Called by the server's `train`. The network here is defined over candle, for its gradients; the one that serves is
//! defined over `kernels`, and a test holds the two equal. Knows no terminal: whoever trains gives an observer.

pub mod error;
pub mod example;
pub mod network;
pub mod ops;
pub mod settings;

pub use error::{Error, Result};
pub use example::{Batch, Example};
pub use network::{Architecture, Network, NetworkOptions};
pub use settings::Settings;
