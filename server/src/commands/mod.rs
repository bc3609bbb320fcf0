//! The commands of the program, a file or folder each.
//!
//! Called by `main` with checked settings; they are made of the rest of the library.

mod adapt;
mod answer_form;
mod batch;
mod bench;
mod check;
mod deploy;
mod error;
mod eval;
mod generate;
mod key;
mod pull;
mod quantize;
mod runtime;
mod serve;
mod train;
mod try_grammar;

pub use adapt::adapt;
pub use batch::batch;
pub use bench::bench;
pub use check::{CheckError, check};
pub use error::CommandError;
pub use eval::{error::EvalError, eval};
pub use generate::generate;
pub use key::key;
pub use pull::pull;
pub use quantize::quantize;
pub use serve::serve;
pub use train::{settings::SettingsError, train};
pub use try_grammar::try_grammar;
