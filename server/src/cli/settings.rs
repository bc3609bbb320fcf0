//! Settings that flags give, as a configuration file would say them.
//!
//! Filled by each command's flags. Flags carry no defaults: `config.toml` does.

use std::path::{Path, PathBuf};

use clap::Args;
use toml::{Table, Value};

use crate::config::LOG_LEVELS;

/// The configuration file and the flags that are laid over it.
#[derive(Debug, Default)]
pub(super) struct FlagSettings {
    /// File that `--config` names.
    pub file: Option<PathBuf>,
    /// Sections of keys.
    pub flags: Table,
}

impl FlagSettings {
    /// Sets a key, if its flag was given.
    pub fn set(&mut self, section: &str, key: &str, value: Option<impl Into<Value>>) {
        let Some(value) = value else { return };
        let section = self.flags.entry(section).or_insert_with(|| Value::Table(Table::new()));
        let section = section.as_table_mut().expect("every key of the flags is in a section");
        section.insert(key.to_owned(), value.into());
    }
}

/// A path as a setting.
pub(super) fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Flags of the log, which every command has.
#[derive(Debug, Args)]
pub(super) struct LogFlags {
    /// Least severe message on standard error [default: info].
    #[arg(long, value_name = "LEVEL", value_parser = LOG_LEVELS)]
    log_level: Option<String>,
}

impl LogFlags {
    /// Adds the flags that were given.
    pub fn set(self, settings: &mut FlagSettings) {
        settings.set("server", "log_level", self.log_level);
    }
}
