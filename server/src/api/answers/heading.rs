//! The fields that all messages of one answer share.
//!
//! Made for each answer by its form.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::api::http::random_name;

/// Fields that all messages of one answer share.
#[derive(Debug, Clone)]
pub struct Heading {
    /// A name of the answer's own.
    pub id: String,
    /// Seconds from 1970 until it was made.
    pub created: u64,
    /// The model's name.
    pub model: String,
}

impl Heading {
    /// A heading whose id begins with `prefix`.
    pub fn new(prefix: &str, model: &str) -> Self {
        Self { id: format!("{prefix}{}", random_name()), created: unix_seconds(), model: model.to_owned() }
    }
}

/// Seconds from 1970 until now.
pub fn unix_seconds() -> u64 {
    // A clock set before 1970 is no reason to refuse an answer.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
