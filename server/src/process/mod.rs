//! The process and its surroundings: memory, threads, descriptors, signals, log, terminal and service manager.
//!
//! Used by the commands and by whatever reports to the system. Nothing here knows models or requests.

pub mod allocator;
pub mod causes;
pub mod liveness;
pub mod log;
pub mod memory;
pub mod progress;
pub mod resources;
pub mod service_manager;
pub mod signals;
pub mod terminal;
