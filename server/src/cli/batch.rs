//! Flags of `server batch`.

use std::path::PathBuf;

use clap::Args;

use crate::batch::Shard;

/// A file of requests to a file of results.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct BatchOptions {
    /// File of requests in OpenAI's batch format, one JSON object a line: custom_id, method, url, body.
    #[arg(long = "in", value_name = "FILE")]
    pub requests: PathBuf,
    /// File that results are appended to. Requests whose results are there already are not run again.
    #[arg(long = "out", value_name = "FILE")]
    pub results: PathBuf,
    /// Write results in the order of the requests, instead of as they are finished.
    #[arg(long)]
    pub ordered: bool,
    /// Only answer every COUNT-th request, from the one of this index on, counted from 0.
    #[arg(long, value_name = "INDEX/COUNT", default_value_t = Shard::ALL)]
    pub shard: Shard,
}
