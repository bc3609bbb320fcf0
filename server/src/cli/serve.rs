//! Flags of `server serve`, which may stand without a command as well.

use std::path::PathBuf;

use clap::Args;

use super::model_flags::ModelFlags;
use super::settings::{FlagSettings, path};

/// Model, name and address of a server.
#[derive(Debug, Args)]
pub(super) struct ServeFlags {
    #[command(flatten)]
    model: ModelFlags,
    /// Name that clients give as `model` [default: the folder's or shape's name, or "demo"].
    #[arg(long, value_name = "NAME")]
    served_model_name: Option<String>,
    /// A Jinja file that turns conversations into text, or "none" for the plain form [default: the checkpoint's own].
    #[arg(long, value_name = "FILE|none")]
    chat_template: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1].
    #[arg(long)]
    host: Option<String>,
    /// TCP port; 0 takes a free one [default: 8080].
    #[arg(long)]
    port: Option<u16>,
}

impl ServeFlags {
    /// Adds the settings that were given.
    pub fn set(self, settings: &mut FlagSettings) {
        self.model.set(settings);
        settings.set("model", "served_name", self.served_model_name);
        settings.set("model", "chat_template", self.chat_template.as_deref().map(path));
        settings.set("server", "host", self.host);
        settings.set("server", "port", self.port.map(u32::from));
    }
}
