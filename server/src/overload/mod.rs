//! Overload control: which calls enter a model's queue, and which are shed before any work is done for them.
//!
//! Used by `engine`, which feeds it with what steps take. Everything here is a function of what it is told and of the
//! time that it is given: it reads no clock, and knows no channel, text or model.
//!
//! A queue bounded by a number of sequences fills up in overload, and whoever is admitted then waits behind all of
//! it. So the queue is bounded by the time that a newcomer is expected to wait. In ordinary times the bound is
//! generous, as bursts pass. Once a call had to be refused, the model has more than it can do: as long as this lasts,
//! only as many sequences wait as are about to begin, which keeps every row busy and every wait short. In a flood, only
//! as many rows run as give nearly the goodput of all of them: the others would make every answer slower for next to
//! nothing.

mod amount_sizes;
mod asked;
mod even_starts;
mod excess;
mod gate;
mod new_call;
mod pace;
mod quota;
mod recall;
mod returning;
mod row_steps;
mod running_rows;
mod step_cost;
mod visitor;
mod waiting;
mod waits;
mod work;

#[cfg(test)]
mod tests;

pub use even_starts::StartLimits;
pub use gate::{Entered, Figures, Gate, GateLimits, WaitLimits};
pub use new_call::NewCall;
pub use pace::StepTaken;
pub use quota::{Quota, Quotas};
pub use recall::Recall;
pub use running_rows::RowsTaken;
pub use visitor::{CallKind, Visitor};
pub use work::Work;
