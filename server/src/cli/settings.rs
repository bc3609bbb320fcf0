//! Settings that flags give, as a configuration file would say them.
//!
//! Filled by each command's flags. Flags carry no defaults: `config.toml` does.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use toml::{Table, Value};

use crate::config::LOG_LEVELS;

/// The configuration file and the flags that are laid over it.
#[derive(Debug, Default)]
pub(super) struct FlagSettings {
    /// File that `--config` names.
    pub file: Option<PathBuf>,
    /// The list `model`, where models are named.
    pub models: Table,
    /// Sections of keys, which are laid over every model.
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

/// A model as `--model` names it: a folder or an id of the hub, maybe with a name for clients before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedModel {
    name: Option<String>,
    path: String,
}

impl FromStr for NamedModel {
    type Err = &'static str;

    /// Reads `NAME=PATH` or `PATH`. A path that begins with a slash or a dot may hold `=` itself.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let split = text.split_once('=').filter(|(name, _)| !name.starts_with(['/', '.']));
        match split {
            None if text.is_empty() => Err("names no folder"),
            None => Ok(Self { name: None, path: text.to_owned() }),
            Some(("", _)) => Err("has no name before the `=`: write ./ before a path that begins with one"),
            Some((_, "")) => Err("names no folder after the `=`"),
            Some((name, path)) => Ok(Self { name: Some(name.to_owned()), path: path.to_owned() }),
        }
    }
}

impl FlagSettings {
    /// Sets the models, if any are named.
    pub fn set_models(&mut self, models: Vec<NamedModel>) {
        if models.is_empty() {
            return;
        }
        let table = |NamedModel { name, path }| {
            let mut table = Table::new();
            table.insert("path".to_owned(), Value::String(path));
            table.extend(name.map(|name| ("served_name".to_owned(), Value::String(name))));
            Value::Table(table)
        };
        self.models.insert("model".to_owned(), Value::Array(models.into_iter().map(table).collect()));
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
