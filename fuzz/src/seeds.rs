//! Inputs to begin from: files of this crate and of the model's fixtures.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of this repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is a folder of the repository").to_owned()
}

/// Contents of all files in a folder of `seeds/`, in the order of their names.
pub fn seeds(folder: &str) -> Vec<Vec<u8>> {
    let folder = repository().join("fuzz/seeds").join(folder);
    let entries = fs::read_dir(&folder).expect("the folder of seeds can be read");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder of seeds can be read").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed can be read")).collect()
}

/// Contents of the files called `name` of all checkpoints among the fixtures.
pub fn of_fixtures(name: &str) -> Vec<Vec<u8>> {
    let fixtures = repository().join("model/tests/fixtures");
    let folders = fs::read_dir(&fixtures).expect("the fixtures can be read");
    let mut paths: Vec<_> = folders.map(|entry| entry.expect("the fixtures can be read").path().join(name)).collect();
    paths.retain(|path| path.exists());
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a fixture can be read")).collect()
}
