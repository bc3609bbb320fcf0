//! The tower for images of a T5Gemma 2 with its projector: tensors that nothing here computes with.
//!
//! Opened by `training`, whose final models have them as the checkpoint had that they began with.

use std::collections::BTreeMap;
use std::path::Path;

use kernels::DType;

use super::folder::Folder;
use super::names::{PROJECTOR, StackNames, VISION_TOWER};
use super::shards::{FoundTensor, Shards, float_type, numbers};
use crate::error::Result;

/// The tensors of a tower, in the files that hold them.
pub(crate) struct VisionTower {
    shards: Shards,
    /// The stored name of each tensor, by its published name.
    names: BTreeMap<String, String>,
}

impl VisionTower {
    /// The tower in a checkpoint's folder; it has no tensors if there is none.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let shards = Folder::open(folder)?.shards()?;
        let stored = shards.files.iter().flat_map(|file| file.names());
        let names = stored.filter_map(|name| Some((published(name)?, name.to_owned()))).collect();
        let mut tower = Self { shards, names };
        // Numbers of positions, which some writers add, are computed from the configuration.
        tower.names = tower.names.iter().filter(|(name, _)| tower.find(name).is_some()).map(owned).collect();
        Ok(tower)
    }

    /// Name and shape of every tensor.
    pub fn shapes(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        self.names.keys().filter_map(|name| Some((name.clone(), self.find(name)?.0.stored.info.shape.clone())))
    }

    /// The numbers of a tensor; `None` when the tower has none of that name.
    ///
    /// # Errors
    /// When its file cannot be read or has changed.
    pub fn numbers(&self, name: &str) -> Option<Result<Vec<f32>>> {
        let (found, dtype) = self.find(name)?;
        let bytes = self.shards.files[found.file].file.read(found.stored.range);
        Some(bytes.map(|bytes| numbers(&bytes, dtype)))
    }

    /// A tensor of floating-point numbers by its published name.
    fn find(&self, name: &str) -> Option<(FoundTensor<'_>, DType)> {
        let found = self.shards.find(self.names.get(name)?)?;
        let dtype = float_type(found.stored.info.dtype)?;
        Some((found, dtype))
    }
}

fn owned((published, stored): (&String, &String)) -> (String, String) {
    (published.clone(), stored.clone())
}

/// The published name of a tower's tensor, whatever the modules around it are called.
fn published(stored: &str) -> Option<String> {
    let start = [VISION_TOWER, PROJECTOR].into_iter().find_map(|part| stored.find(part))?;
    Some(format!("{}.{}", StackNames::ENCODER.prefix(), &stored[start..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_of_a_tower_have_their_published_names() {
        for prefix in ["model.encoder.", "encoder.", "", "model."] {
            let found = published(&format!("{prefix}vision_tower.post_layernorm.bias"));
            assert_eq!(found.as_deref(), Some("model.encoder.vision_tower.post_layernorm.bias"));
        }
        let projector = published("model.encoder.multi_modal_projector.mm_soft_emb_norm.weight");
        assert_eq!(projector.as_deref(), Some("model.encoder.multi_modal_projector.mm_soft_emb_norm.weight"));
        assert_eq!(published("model.encoder.norm.weight"), None);
    }
}
