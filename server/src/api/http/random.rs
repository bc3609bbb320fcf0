//! Random names and numbers.
//!
//! Used for names of requests and answers, and for the seeds of requests that have none.

/// 32 hexadecimal digits that nobody had before.
pub fn random_name() -> String {
    format!("{:016x}{:016x}", random_u64(), random_u64())
}

/// A number nobody can guess.
pub fn random_u64() -> u64 {
    getrandom::u64().expect("the system has a source of randomness")
}
