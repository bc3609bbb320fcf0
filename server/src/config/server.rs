//! The settings of the process and its socket.
//!
//! Read by `config`.

use std::time::Duration;

use axum::http::uri::Authority;
use axum::http::{HeaderName, Method};

use super::Fault;
use super::reader::Reader;
use crate::source_sharing::SourceSharing;

/// Values of `server.log_level`.
pub const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Values of `server.log_format`.
pub const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
/// Values of `server.share_sources`.
pub const SOURCE_SHARINGS: [(&str, SourceSharing); 3] =
    [("key", SourceSharing::Key), ("all", SourceSharing::All), ("peer", SourceSharing::Peer)];

/// Form of an entry of `server.allowed_origins`.
const ORIGIN: &str = "* or scheme://host[:port], as in https://app.example";

/// Format of log messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// A JSON object on a line of its own.
    Json,
}

/// The process and its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// IP address or host name to listen on.
    pub host: String,
    /// TCP port; 0 takes any free one.
    pub port: u16,
    /// One of [`LOG_LEVELS`].
    pub log_level: &'static str,
    /// Format of log messages.
    pub log_format: LogFormat,
    /// Whether each request gets a line in the access log.
    pub access_log: bool,
    /// One in this many successful requests gets a line.
    pub access_log_sample: u32,
    /// Origins whose pages may send requests; `*` is any.
    pub allowed_origins: Vec<String>,
    /// Methods that pages of those origins may use.
    pub allowed_methods: Vec<String>,
    /// Headers that pages of those origins may send; `*` is any.
    pub allowed_headers: Vec<String>,
    /// Names in `Host` that are accepted beside the server's own; `*` is any.
    pub allowed_hosts: Vec<String>,
    /// Whether there is a page at `/`.
    pub page: bool,
    /// Who shares the keys and values of equal sources.
    pub share_sources: SourceSharing,
    /// Second address, which answers probes only; empty for none.
    pub probe_address: String,
    /// Time without a heartbeat of the engine after which the server is not ready.
    pub stall_timeout: Duration,
    /// Time between SIGTERM and the drain, in which requests are still accepted.
    pub drain_delay: Duration,
    /// Time that running answers have to finish in the drain.
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
            log_format: reader.choice("server.log_format", &LOG_FORMATS),
            access_log: reader.flag("server.access_log"),
            access_log_sample: reader.integer("server.access_log_sample", 1..=1_000_000),
            allowed_origins: entries(reader, "server.allowed_origins", ORIGIN, is_origin),
            allowed_methods: entries(reader, "server.allowed_methods", "the name of a method", |name| {
                Method::from_bytes(name.as_bytes()).is_ok()
            }),
            allowed_headers: entries(reader, "server.allowed_headers", "the name of a header, or *", |name| {
                HeaderName::from_bytes(name.as_bytes()).is_ok()
            }),
            allowed_hosts: reader.texts("server.allowed_hosts"),
            page: reader.flag("server.page"),
            share_sources: reader.choice("server.share_sources", &SOURCE_SHARINGS),
            probe_address: reader.text("server.probe_address"),
            stall_timeout: Duration::from_secs(reader.integer("server.stall_timeout_s", 1..=86_400)),
            drain_delay: Duration::from_secs(reader.integer("server.drain_delay_s", 0..=3600)),
            drain_timeout: Duration::from_secs(reader.integer("server.drain_timeout_s", 0..=86_400)),
            tokenizer_threads: reader.integer("server.tokenizer_threads", 1..=256),
        }
    }
}

/// A list whose entries have a `form`.
fn entries(reader: &mut Reader, key: &'static str, form: &'static str, has_form: fn(&str) -> bool) -> Vec<String> {
    let texts = reader.texts(key);
    if let Some(value) = texts.iter().find(|text| !has_form(text)).cloned() {
        reader.refuse(key, Fault::NotEach { form, value });
    }
    texts
}

/// Whether browsers could send a text as an `Origin`, or it is any.
fn is_origin(text: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let is_server = |text: &str| {
        text.parse::<Authority>().is_ok_and(|authority| {
            let (host, port) = text.split_at(authority.host().len().min(text.len()));
            let is_port = |port: &str| port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
            host == authority.host() && !host.is_empty() && (port.is_empty() || is_port(port))
        })
    };
    text == "*" || text.split_once("://").is_some_and(|(scheme, server)| is_scheme(scheme) && is_server(server))
}
