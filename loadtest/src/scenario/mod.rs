//! A scenario: what is sent to a server, when, and which answers are good enough. Plain data, read from TOML and flags.
//!
//! Knows neither HTTP nor time.

mod check;
mod file;
mod lengths;
mod load;
mod request_kind;

pub use file::{Goodput, Scenario};
pub use lengths::Lengths;
pub use load::{Arrivals, ClientStage, Load, Pace, RateStage, Stage, Sweep};
pub use request_kind::{Cancel, Endpoint, IdRange, RequestKind, Slow, Vanish};
