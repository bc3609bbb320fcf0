//! The server's scheduler, compiled by itself, for a simulation of millions of steps.
//!
//! These are the sources of the server, not a copy. What a profile says of optimisation holds for a whole package, and
//! the server's takes minutes to compile with it; these modules take seconds, and the simulation saves minutes. Their
//! own tests are run in the server.

#[cfg(not(test))]
#[path = "../../server/src/fair_turns.rs"]
pub mod fair_turns;
#[cfg(not(test))]
#[path = "../../server/src/overload/mod.rs"]
pub mod overload;
#[cfg(not(test))]
#[path = "../../server/src/request/mod.rs"]
pub mod request;
#[cfg(not(test))]
#[path = "../../server/src/scheduler/mod.rs"]
pub mod scheduler;
#[cfg(not(test))]
#[path = "../../server/src/turns.rs"]
pub mod turns;
