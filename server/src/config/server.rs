//! The settings of the process and its socket.
//!
//! Read by `config`.

use std::time::Duration;

use super::Fault;
use super::reader::Reader;

/// Values of `server.log_level`.
pub const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The process and its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// IP address or host name to listen on.
    pub host: String,
    /// TCP port; 0 takes any free one.
    pub port: u16,
    /// One of [`LOG_LEVELS`].
    pub log_level: &'static str,
    /// Time that running streams have to finish at SIGTERM.
    pub drain_timeout: Duration,
    /// Threads that tokenise.
    pub tokenizer_threads: usize,
}

impl ServerConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let host = reader.text("server.host");
        if host.trim().is_empty() {
            reader.refuse("server.host", Fault::Empty);
        }
        Self {
            host,
            port: reader.integer("server.port", 0..=65_535),
            log_level: reader.choice("server.log_level", &LOG_LEVELS.map(|level| (level, level))),
            drain_timeout: Duration::from_secs(reader.integer("server.drain_timeout_s", 0..=86_400)),
            tokenizer_threads: reader.integer("server.tokenizer_threads", 1..=256),
        }
    }
}
