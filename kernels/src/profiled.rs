//! A backend that hands every op on to another one, and counts its calls, its time and the bytes it must move.
//!
//! Made by whoever measures; a model that is not measured runs without it. Computes nothing itself.

mod attention;
mod device;
mod products;
mod profile;
mod rows;
mod sampling;
mod storage;

pub use device::Profiled;
pub use profile::{Cost, Op, Profile};
pub use storage::{ProfiledMatrix, ProfiledPages, ProfiledRows};
