//! Flags of `server pull`.

use std::path::PathBuf;

use clap::Args;

use super::settings::{FlagSettings, LogFlags};
use crate::config::HubId;

#[derive(Debug, Args)]
pub(super) struct PullFlags {
    /// Repository of the hub, as OWNER/NAME or OWNER/NAME@REVISION.
    #[arg(value_parser = hub_id)]
    id: HubId,
    /// Branch, tag or commit; it counts instead of that of the id [default: main].
    #[arg(long, value_name = "REVISION", value_parser = revision)]
    revision: Option<String>,
    /// Settings to lay over the built-in config.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    log: LogFlags,
}

/// The checkpoint to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullOptions {
    /// Its repository and revision.
    pub id: HubId,
}

impl PullFlags {
    /// Adds the settings that were given; gives the command's own options.
    pub fn set(self, settings: &mut FlagSettings) -> PullOptions {
        settings.file = self.config;
        self.log.set(settings);
        let HubId { repository, revision } = self.id;
        PullOptions { id: HubId { repository, revision: self.revision.unwrap_or(revision) } }
    }
}

fn hub_id(text: &str) -> Result<HubId, &'static str> {
    HubId::parse(text).ok_or("is no OWNER/NAME or OWNER/NAME@REVISION")
}

fn revision(text: &str) -> Result<String, &'static str> {
    let is_one = HubId::parse(&format!("owner/name@{text}")).is_some();
    if is_one { Ok(text.to_owned()) } else { Err("is no branch, tag or commit") }
}
