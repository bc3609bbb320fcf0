//! Flags of `server check`.

use std::path::PathBuf;

use clap::Args;
use ureq::http::Uri;

use super::settings::{FlagSettings, LogFlags};

#[derive(Debug, Args)]
pub(super) struct CheckFlags {
    /// Address of the server, as in http://127.0.0.1:8080; with a path, that is asked [default: the address in the
    /// settings, and /ready].
    #[arg(value_parser = url)]
    url: Option<Uri>,
    /// Settings to lay over the built-in config.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    log: LogFlags,
}

/// The server to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOptions {
    /// Its address; that of the settings if there is none.
    pub url: Option<Uri>,
}

impl CheckFlags {
    /// Adds the settings that were given; gives the command's own options.
    pub fn set(self, settings: &mut FlagSettings) -> CheckOptions {
        settings.file = self.config;
        self.log.set(settings);
        CheckOptions { url: self.url }
    }
}

fn url(text: &str) -> Result<Uri, &'static str> {
    let is_url = |url: &Uri| matches!(url.scheme_str(), Some("http" | "https"));
    text.parse().ok().filter(is_url).ok_or("is no http://HOST:PORT or https://HOST:PORT")
}
