//! Flags of `server quantize`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use kernels::Scheme;

use super::settings::{FlagSettings, LogFlags, NamedModel};
use crate::config::SCHEMES;

#[derive(Debug, Args)]
pub(super) struct QuantizeFlags {
    /// Folder of a checkpoint in the published layout, or an id of the hub [default: the built-in demo].
    #[arg(long, value_name = "FOLDER")]
    model: Option<NamedModel>,
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    options: QuantizeOptions,
}

/// A quantised copy.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct QuantizeOptions {
    /// Folder to write to; it must be empty or not there yet.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Format that the matrices of the layers are quantised to.
    #[arg(long, value_name = "SCHEME", value_parser = scheme())]
    pub scheme: Scheme,
}

impl QuantizeFlags {
    /// Adds the settings that were given; gives the command's own options.
    pub fn set(self, settings: &mut FlagSettings) -> QuantizeOptions {
        settings.set_models(self.model.into_iter().collect());
        self.log.set(settings);
        self.options
    }
}

fn scheme() -> impl TypedValueParser<Value = Scheme> {
    PossibleValuesParser::new(SCHEMES.map(|(name, _)| name)).map(|text| {
        let known = SCHEMES.into_iter().find(|(name, _)| *name == text);
        known.expect("the parser lets only these names through").1
    })
}
