//! Names and aliases of all models, each of which may be given to one model only.
//!
//! Used by `config`, before anything is loaded.

use std::collections::BTreeSet;

use super::reader::Reader;
use super::{Fault, ModelChoice};

/// Names that models have already.
#[derive(Debug, Default)]
pub(super) struct TakenNames(BTreeSet<String>);

impl TakenNames {
    /// Takes the names of one more model; those that are taken already become problems of `reader`.
    pub fn take(&mut self, choice: &ModelChoice, reader: &mut Reader) {
        // A model that was given no name has that of its folder or shape.
        let named_by = ["model.served_name", "model.path", "model.shape"].into_iter().find(|key| reader.is_set(key));
        self.take_one(&choice.served_name, named_by.unwrap_or("model.served_name"), reader);
        for alias in &choice.aliases {
            self.take_one(alias, "model.aliases", reader);
        }
    }

    fn take_one(&mut self, name: &str, key: &'static str, reader: &mut Reader) {
        if !self.0.insert(name.to_owned()) {
            reader.refuse(key, Fault::NameTaken { name: name.to_owned() });
        }
    }
}
