//! The message of a server that is ready: address, model, pages, and a curl line that works as printed.
//!
//! Called by `serve`. It goes to the log, in the log's format.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use kernels::PAGE_TOKENS;
use model::Arithmetic;

/// The target of both messages in the log.
const TARGET: &str = "server::startup";
/// A package description as the demo was trained on; any model that reads text takes it.
const EXAMPLE_TEXT: &str = "A small text editor for the terminal with syntax highlighting.\n\
    It opens large files quickly and has an easy interface.";
/// The start token and a few ids that every vocabulary has.
const EXAMPLE_IDS: [u32; 8] = [2, 10, 11, 12, 13, 14, 15, 16];

/// The facts of a server that has just come up.
#[derive(Debug, Clone)]
pub struct StartMessage {
    /// Scheme of its addresses: http or https.
    pub scheme: &'static str,
    /// Whether requests need an API key.
    pub needs_key: bool,
    /// Address on which it listens, with the real port.
    pub address: SocketAddr,
    /// Its models, at least one, the default one first.
    pub models: Vec<ModelMessage>,
    /// The example of a request that is printed.
    pub example: Example,
}

/// The facts of a model that are told.
#[derive(Debug, Clone)]
pub struct ModelMessage {
    /// Name that clients give as `model`.
    pub name: String,
    /// Size in words, such as "4+4 layers of width 192".
    pub shape: String,
    /// Arithmetic of the model.
    pub arithmetic: Arithmetic,
    /// Device that computes, such as "cpu (avx2, 8 threads)".
    pub device: String,
    /// Number of pages of the pool.
    pub pages: usize,
    /// Number of source tokens that fill a page.
    pub source_page_tokens: usize,
    /// Bytes of the pool.
    pub page_pool_bytes: usize,
    /// Tokens of the longest source.
    pub source_tokens: usize,
    /// Tokens of the longest target; 0 without a decoder.
    pub target_tokens: usize,
}

/// The kind of request that the model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// Whether it is a text, for a model with a tokenizer, or token ids.
    pub takes_text: bool,
    /// Whether it asks for a completion, or for an embedding.
    pub generates: bool,
}

impl StartMessage {
    /// Logs two messages: the facts, and a command to try. Each of several models has a message of its own before. A
    /// server that strangers may use has a warning after them.
    pub fn log(&self) {
        let version = env!("CARGO_PKG_VERSION");
        let url = format!("{}://{}", self.scheme, self.address);
        match &self.models[..] {
            [only] => only.log(Some(&url), format_args!("encdec {version} listens on {url}")),
            several => {
                several.iter().for_each(|model| model.log(None, format_args!("a model is ready")));
                let models: Vec<_> = several.iter().map(|model| model.name.as_str()).collect();
                let models = models.join(",");
                tracing::info!(target: TARGET, %url, models, "encdec {version} listens on {url}");
            }
        }
        tracing::info!(target: TARGET, "try: {}", self.curl_line());
        if self.is_open_to_strangers() {
            tracing::warn!(
                target: TARGET,
                address = %self.address,
                "whoever reaches this address may use the server, because it has no API keys: give it some (server key \
                 NAME, access.keys_file), or let only clients that you trust reach it (in a container: docker run -p \
                 127.0.0.1:8080:8080)"
            );
        }
    }

    /// Whether other machines may reach it, and anybody there may use it.
    fn is_open_to_strangers(&self) -> bool {
        !self.needs_key && !self.address.ip().to_canonical().is_loopback()
    }

    /// A command to try. A secret is not known here, so the shell's variable `KEY` stands for it.
    fn curl_line(&self) -> String {
        let line = curl_line(self.address, self.example).replacen("http://", &format!("{}://", self.scheme), 1);
        if self.needs_key { format!("{line} -H \"authorization: Bearer $KEY\"") } else { line }
    }
}

impl ModelMessage {
    fn log(&self, url: Option<&str>, message: fmt::Arguments<'_>) {
        tracing::info!(
            target: TARGET,
            url = url.map(tracing::field::display),
            model = self.name,
            shape = self.shape,
            arithmetic = %self.arithmetic,
            device = self.device,
            pages = self.pages,
            page_tokens = PAGE_TOKENS,
            source_page_tokens = self.source_page_tokens,
            page_pool_bytes = self.page_pool_bytes,
            max_source_tokens = self.source_tokens,
            max_target_tokens = self.target_tokens,
            "{message}"
        );
    }
}

/// A shell command that asks the server at `address` for what the model gives.
pub fn curl_line(address: SocketAddr, example: Example) -> String {
    let source = if example.takes_text { serde_json::json!(EXAMPLE_TEXT) } else { serde_json::json!(EXAMPLE_IDS) };
    let (path, body) = match example.generates {
        true => ("completions", serde_json::json!({ "prompt": source, "max_tokens": 48, "temperature": 0 })),
        false => ("embeddings", serde_json::json!({ "input": source })),
    };
    let address = reachable(address);
    format!("curl http://{address}/v1/{path} -H 'content-type: application/json' -d '{body}'")
}

/// An address to connect to: one that stands for every interface is no destination.
fn reachable(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT_LINE: &str = "curl http://127.0.0.1:8080/v1/completions -H 'content-type: application/json' -d \
        '{\"prompt\":\"A small text editor for the terminal with syntax highlighting.\\nIt opens large files \
        quickly and has an easy interface.\",\"max_tokens\":48,\"temperature\":0}'";

    const TEXT: Example = Example { takes_text: true, generates: true };
    const IDS: Example = Example { takes_text: false, ..TEXT };

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_body_survives_the_shell_s_single_quotes() {
        for example in [TEXT, IDS] {
            let line = curl_line(address("127.0.0.1:1"), example);
            assert_eq!(line.matches('\'').count(), 4, "two quoted words: {line}");
            let body = line.split('\'').nth(3).unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["max_tokens"], 48);
        }
    }

    #[test]
    fn a_model_without_tokenizer_is_asked_with_ids() {
        let line = curl_line(address("127.0.0.1:8080"), IDS);
        assert!(line.contains("\"prompt\":[2,10,"), "{line}");
    }

    #[test]
    fn a_model_that_writes_no_text_is_asked_for_an_embedding() {
        let line = curl_line(address("127.0.0.1:8080"), Example { generates: false, ..IDS });
        assert!(line.contains("/v1/embeddings ") && line.contains("{\"input\":[2,10,"), "{line}");
    }

    #[test]
    fn the_curl_line_of_a_server_on_every_interface_goes_to_this_machine() {
        assert!(curl_line(address("0.0.0.0:80"), TEXT).contains("http://127.0.0.1:80/"));
        assert!(curl_line(address("[::]:80"), TEXT).contains("http://[::1]:80/"));
        assert!(curl_line(address("192.0.2.7:80"), TEXT).contains("http://192.0.2.7:80/"));
    }

    #[test]
    fn the_readme_prints_the_same_curl_line() {
        assert!(include_str!("../../../../README.md").contains(TEXT_LINE));
    }
}
