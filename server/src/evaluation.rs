//! Figures of merit: written texts against wanted ones, and how probable the wanted ones were.
//!
//! Fed row by row by `server eval`; the same rows in another order give the same counts. Knows no model and no file.

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
pub use likelihood::Likelihood;
pub use rouge::{Rouge, RougeScores};
pub use words::words_13a;
