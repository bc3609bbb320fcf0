//! The files of the repository, read by walking its folders; git is not needed.
//!
//! Used by the rules in `tidy.rs`.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// A file, by its path from the repository's root with `/` between folders.
pub struct Entry {
    pub path: String,
    pub bytes: u64,
}

impl Entry {
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().expect("splitting gives at least one part")
    }

    pub fn stem(&self) -> &str {
        self.name().split('.').next().expect("splitting gives at least one part")
    }

    pub fn is(&self, extension: &str) -> bool {
        self.name().rsplit_once('.').is_some_and(|(_, end)| end == extension)
    }

    /// Whether it is Rust that ships, rather than a test, bench or build script.
    pub fn is_source(&self) -> bool {
        let tests = |part: &str| part == "tests" || part == "tests.rs";
        self.is("rs") && self.path.split('/').nth(1) == Some("src") && !self.path.split('/').any(tests)
    }

    pub fn text(&self) -> String {
        read(&self.path)
    }
}

/// The text of a file that has to be there.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is a folder of the repository").to_owned()
}

/// Every file but those that git ignores and those in hidden folders other than `.ci`; links are not followed.
pub fn entries() -> Vec<Entry> {
    let ignore = fs::read_to_string(root().join(".gitignore")).unwrap_or_default();
    let mut ignored: Vec<&str> = ignore.lines().map(|line| line.trim_matches('/')).collect();
    ignored.push("target");
    let mut entries = Vec::new();
    walk(&root(), "", &ignored, &mut entries).expect("the repository can be read");
    assert!(entries.iter().any(|entry| entry.path == "server/tests/tidy/tree.rs"), "the walk finds this file");
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    entries
}

fn walk(folder: &Path, prefix: &str, ignored: &[&str], entries: &mut Vec<Entry>) -> io::Result<()> {
    for item in fs::read_dir(folder)? {
        let item = item?;
        let name = item.file_name().into_string().expect("file names are UTF-8");
        let path = format!("{prefix}{name}");
        let kind = item.file_type()?;
        if ignored.contains(&name.as_str()) || ignored.contains(&path.as_str()) {
            continue;
        }
        if kind.is_dir() && (name == ".ci" || !name.starts_with('.')) {
            walk(&item.path(), &format!("{path}/"), ignored, entries)?;
        } else if kind.is_file() {
            entries.push(Entry { path, bytes: item.metadata()?.len() });
        }
    }
    Ok(())
}
