//! Metrics of an evaluation: written texts compared with wanted ones, and the likelihood of the wanted ones.
//!
//! Fed row by row by `server eval`; the order of rows does not matter. Knows no model and no file.

mod bleu;
mod chrf;
mod exact;
mod likelihood;
mod overlap;
mod rouge;
mod words;

pub use bleu::Bleu;
pub use chrf::{Chrf, ChrfWords};
pub use exact::Accuracy;
pub use likelihood::{Likelihood, WantedToken};
pub use rouge::{Rouge, RougeScores};
pub use words::words_13a;
