//! `config.json` of a checkpoint, read as each kind of model.

use std::path::Path;
use std::time::Duration;

use model::config::ConfigDocument;
use model::{DecoderConfig, EncoderConfig, ModelConfig};

use crate::seeds::of_fixtures;
use crate::target::Target;

/// `config.json` of a checkpoint.
pub const CONFIGS: Target =
    Target { name: "configs", seeds: || of_fixtures("config.json"), parse, patience: Duration::from_secs(5) };

fn parse(input: &[u8]) {
    let path = Path::new("config.json");
    // The same bytes in the place of the second file: both have fields of the same names.
    for generation in [None, Some(input)] {
        let Ok(document) = ConfigDocument::parse(path, input, generation) else { continue };
        let _ = (document.architecture(), document.trained_architecture(), document.ignored_generation_keys());
        if let Ok(config) = ModelConfig::read(&document) {
            // Numbers that were accepted can be computed with.
            let _ = (config.parameters(), config.special_tokens());
        }
        if let Ok(config) = DecoderConfig::read(&document) {
            let _ = (config.parameters(), config.special_tokens());
        }
        let _ = EncoderConfig::read(&document);
    }
}
