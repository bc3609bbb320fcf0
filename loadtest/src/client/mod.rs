//! The client: addresses, connections, one exchange at a time, and whether an answer is whole.
//!
//! Knows neither schedules nor figures.

mod address;
mod answer;
mod connections;
mod events;
mod exchange;
mod fault;
mod tls;

pub use address::Address;
pub use answer::{Asked, Brought};
pub use connections::{Access, Client};
pub use exchange::{Observed, Outcome, Piece, observe};
pub use fault::{Fault, FaultClass};
