//! A checkpoint as people name it, in settings and on the command line: a folder of this machine, or an id of the hub.
//!
//! Read by `config` and by commands that take several checkpoints; `hub` makes a folder of either.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::hub_id::HubId;

/// A way to name a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointName {
    /// A folder in the published layout.
    Folder(PathBuf),
    /// A repository of the hub, to be fetched.
    Hub(HubId),
}

impl CheckpointName {
    /// Reads `text`, a path against `folder` or an id. A file or folder that is there wins; otherwise it is an id if it
    /// has the form of one, and a missing folder if it has not.
    pub fn within(folder: &Path, text: &Path) -> Self {
        let path = folder.join(text);
        let id = text.to_str().and_then(HubId::parse).filter(|_| !path.exists());
        id.map_or(Self::Folder(path), Self::Hub)
    }
}

impl FromStr for CheckpointName {
    type Err = &'static str;

    /// Reads a path against the working directory, or an id.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Err("names no folder") } else { Ok(Self::within(Path::new(""), Path::new(text))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_a_folder_and_what_else_looks_like_an_id_is_one() {
        // Tests run in the crate's folder, which has one of this name.
        assert_eq!("src/config".parse(), Ok(CheckpointName::Folder("src/config".into())));
        let id = HubId::parse("google/t5gemma-s-s-ul2@main2").unwrap();
        assert_eq!("google/t5gemma-s-s-ul2@main2".parse(), Ok(CheckpointName::Hub(id)));
        for path in ["missing", "./google/t5gemma", "/google/t5gemma", "a/b/c"] {
            assert_eq!(path.parse(), Ok(CheckpointName::Folder(path.into())));
        }
        assert!("".parse::<CheckpointName>().is_err());
    }

    #[test]
    fn a_path_is_looked_for_in_the_folder_against_which_it_is_resolved() {
        let folder = tempfile::tempdir().unwrap();
        let name = || CheckpointName::within(folder.path(), Path::new("own/model"));
        assert!(matches!(name(), CheckpointName::Hub(_)));
        std::fs::create_dir_all(folder.path().join("own/model")).unwrap();
        assert_eq!(name(), CheckpointName::Folder(folder.path().join("own/model")));
    }
}
