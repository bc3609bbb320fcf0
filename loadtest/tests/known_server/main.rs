//! Runs of the program against a server whose delays and faults are known.

#![allow(clippy::unwrap_used, reason = "clippy takes the server and the process for more than tests")]

mod docs;
mod faults;
mod full_disk;
mod https;
mod latencies;
mod mock;
mod program;
mod reports;
mod requests;
