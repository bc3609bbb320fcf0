//! Flags of every command that runs a model.
//!
//! Flattened into the flags of each such command.

use std::path::PathBuf;

use clap::Args;

use super::settings::{FlagSettings, LogFlags, NamedModel, path};
use crate::config::{CROSS_KVS, DTYPES, QUANTIZATIONS};

/// Flags of a command that runs a model.
#[derive(Debug, Args)]
pub(super) struct WithModel<Options: Args> {
    #[command(flatten)]
    model: ModelFlags,
    #[command(flatten)]
    options: Options,
}

impl<Options: Args> WithModel<Options> {
    /// Adds the settings that were given; gives the command's own options.
    pub fn set(self, settings: &mut FlagSettings) -> Options {
        self.model.set(settings);
        self.options
    }
}

/// Which model runs, and how it computes.
#[derive(Debug, Args)]
pub(super) struct ModelFlags {
    /// Settings to lay over the built-in config.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of a checkpoint in the published layout, or an id of the hub as OWNER/NAME@REVISION, which is fetched.
    /// `serve` and `batch` take several, each under the NAME before it [default: the built-in demo].
    #[arg(long = "model", value_name = "[NAME=]FOLDER", conflicts_with = "shape")]
    models: Vec<NamedModel>,
    /// Random weights of a published shape instead of a checkpoint, such as s-s or 2b-2b.
    #[arg(long, value_name = "NAME")]
    shape: Option<String>,
    /// A tokenizer.json, or "none" for token ids only [default: the checkpoint's own].
    #[arg(long, value_name = "FILE|none")]
    tokenizer: Option<PathBuf>,
    /// Where to compute: auto, cpu or cuda [default: auto].
    #[arg(long)]
    device: Option<String>,
    /// Arithmetic of whatever is not quantised: keys, values, tables, attention [default: auto, which is bf16].
    #[arg(long, value_parser = DTYPES)]
    dtype: Option<String>,
    /// Format that the matrices of the layers are quantised to [default: auto, which is as the checkpoint is].
    #[arg(long, value_name = "SCHEME", value_parser = QUANTIZATIONS)]
    quantize: Option<String>,
    /// How the sources' keys and values are kept: same (as dtype), int8 or auto [default: auto].
    #[arg(long, value_name = "FORMAT", value_parser = CROSS_KVS)]
    cross_kv: Option<String>,
    /// Threads of the model; 0 takes every core [default: 0].
    #[arg(long, value_name = "COUNT")]
    threads: Option<u32>,
    #[command(flatten)]
    log: LogFlags,
}

impl ModelFlags {
    /// Adds the settings that were given.
    pub fn set(self, settings: &mut FlagSettings) {
        settings.file = self.config;
        settings.set_models(self.models);
        settings.set("model", "shape", self.shape);
        settings.set("model", "tokenizer", self.tokenizer.as_deref().map(path));
        settings.set("model", "device", self.device);
        settings.set("model", "dtype", self.dtype);
        settings.set("model", "quantize", self.quantize);
        settings.set("model", "cross_kv", self.cross_kv);
        settings.set("model", "threads", self.threads);
        self.log.set(settings);
    }
}
