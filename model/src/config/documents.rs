//! The two files a configuration is read from, as JSON objects.
//!
//! Called by the readers of each architecture. Knows which architecture a file says it is, nothing else of it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::fields::{Fields, Problems};
use crate::error::{Error, Result};

/// `config.json`, and `generation_config.json` where there is one.
pub(super) struct Documents {
    path: PathBuf,
    config: Value,
    generation: Option<Value>,
}

impl Documents {
    pub fn parse(path: &Path, config: &[u8], generation: Option<&[u8]>) -> Result<Self> {
        let generation =
            generation.map(|text| parse(&path.with_file_name("generation_config.json"), text)).transpose()?;
        Ok(Self { path: path.to_owned(), config: parse(path, config)?, generation })
    }

    /// The fields of both; of an absent file, none.
    pub fn fields(&self) -> (Fields<'_>, Fields<'_>) {
        let generation = self.generation.as_ref();
        let generation = generation.map_or_else(Fields::absent, |value| Fields::document("generation_config", value));
        (Fields::document("", &self.config), generation)
    }

    /// An error when the file is of another architecture: listing what it lacks of this one would mislead.
    pub fn expect_model_type(&self, expected: &'static str) -> Result<()> {
        match self.config.get("model_type").and_then(Value::as_str) {
            Some(found) if found != expected => {
                Err(Error::ModelType { path: self.path.clone(), found: found.to_owned(), expected })
            }
            _ => Ok(()),
        }
    }
}

/// The architecture's name has to be there, and be one.
pub(super) fn check_model_type(top: &Fields<'_>, problems: &mut Problems) {
    if top.get("model_type").is_none() {
        problems.add("model_type", "is missing");
    }
    top.text("model_type", problems);
}

fn parse(path: &Path, text: &[u8]) -> Result<Value> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_slice(text).map_err(|source| Error::Json { path: path.to_owned(), source })?;
    Ok(Value::Object(object))
}
