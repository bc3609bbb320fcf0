//! A folder that is complete or absent, whenever the process is killed or the power fails.
//!
//! Used for checkpoints and for the final model.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use crate::checkpoint::writer::{OutFolder, sync_folder};
use crate::input::expect_folder;

/// Prefix of the name of a folder that is being written.
const PARTIAL: &str = ".partial-";
/// Prefix of the name of a folder whose successor is about to take its name.
const REPLACED: &str = ".replaced-";
/// Prefix of the name of a folder that is being removed.
const REMOVED: &str = ".removed-";

/// Writes a folder under another name, syncs every file, and then renames it; a folder that has the name already is
/// removed. If it fails, nothing of it is left and the earlier folder is unchanged. A link to a folder stays a link,
/// and the folder that it leads to is replaced.
pub(super) fn write(path: &Path, contents: impl FnOnce(&mut OutFolder) -> Result<()>) -> Result<()> {
    let path = place_of(path)?;
    let partial = beside(&path, PARTIAL);
    remove(&partial)?;
    let written = fill(&partial, contents).and_then(|()| put_in_place(&partial, &path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_dir_all(&partial);
    }
    written
}

/// Path at which a folder of this name is or will be, links followed. Refuses a name that something else has.
pub(super) fn place_of(path: &Path) -> Result<PathBuf> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(path.to_owned()),
            found => found,
        },
        found => found,
    };
    let place = found.and_then(|found| expect_folder(found.file_type())).and_then(|()| path.canonicalize());
    place.map_err(failed("write", path))
}

/// Removes leftovers of interrupted writes and removals from a folder. A folder whose successor did not take its
/// name gets it back.
pub(super) fn remove_leftovers(parent: &Path) -> Result<()> {
    for entry in fs::read_dir(parent).map_err(failed("read", parent))? {
        let path = entry.map_err(failed("read", parent))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let replaced = name.strip_prefix(REPLACED).map(|name| parent.join(name));
        match replaced {
            Some(place) if !place.exists() => fs::rename(&path, &place).map_err(failed("put back", &place))?,
            Some(_) => remove(&path)?,
            None if path.is_dir() && (name.starts_with(PARTIAL) || name.starts_with(REMOVED)) => remove(&path)?,
            None => {}
        }
    }
    Ok(())
}

/// Removes a folder with its contents, if it exists; a kill on the way leaves none that looks complete.
pub(super) fn remove_whole(path: &Path) -> Result<()> {
    let removed = beside(path, REMOVED);
    remove(&removed)?;
    match fs::rename(path, &removed) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed("remove", path)(source)),
        Ok(()) => remove(&removed),
    }
}

fn fill(partial: &Path, contents: impl FnOnce(&mut OutFolder) -> Result<()>) -> Result<()> {
    let mut folder = OutFolder::create(partial)?;
    contents(&mut folder)?;
    folder.finish();
    Ok(sync_folder(partial)?)
}

fn put_in_place(partial: &Path, path: &Path) -> Result<()> {
    let replaced = beside(path, REPLACED);
    if path.is_dir() {
        remove(&replaced)?;
        fs::rename(path, &replaced).map_err(failed("replace", path))?;
    }
    fs::rename(partial, path).map_err(failed("write", path))?;
    let parent = path.parent().expect("the folder was joined to its parent");
    sync_folder(parent)?;
    remove(&replaced)
}

fn beside(path: &Path, prefix: &str) -> PathBuf {
    let name = path.file_name().expect("the folder has a name").to_string_lossy();
    path.with_file_name(format!("{prefix}{name}"))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("remove", path)),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(text: &str) -> impl FnOnce(&mut OutFolder) -> Result<()> {
        move |folder| Ok(folder.write("file", |file| file.write_all(text.as_bytes()))?)
    }

    fn names(parent: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_takes_the_place_of_the_one_before() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("final");
        write(&path, put("one")).unwrap();
        write(&path, put("two")).unwrap();
        assert_eq!(names(parent.path()), ["final"]);
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "two");
    }

    #[test]
    fn a_link_to_a_folder_stays_one_and_what_is_no_folder_stays_too() {
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(name);
        write(&path("elsewhere"), put("one")).unwrap();
        symlink("elsewhere", path("final")).unwrap();
        write(&path("final"), put("two")).unwrap();
        assert!(path("final").is_symlink());
        assert_eq!(fs::read_to_string(path("elsewhere/file")).unwrap(), "two");
        fs::write(path("taken"), "mine").unwrap();
        symlink("nowhere", path("broken")).unwrap();
        for (name, kind) in [("taken", "a regular file"), ("broken", "a link that leads nowhere")] {
            let error = write(&path(name), put("three")).unwrap_err().to_string();
            assert!(error.ends_with(&format!("{name}: it is {kind}; it has to be a folder")), "{error}");
        }
        assert_eq!(names(parent.path()), ["broken", "elsewhere", "final", "taken"]);
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there_and_nothing_of_itself() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("final");
        write(&path, put("one")).unwrap();
        let full = |folder: &mut OutFolder| {
            put("half")(folder)?;
            Ok(folder.write("more", |_| Err(std::io::Error::from(ErrorKind::StorageFull)))?)
        };
        let error = write(&path, full).unwrap_err();
        assert!(error.to_string().contains("cannot write") && error.to_string().contains("more"), "{error}");
        assert_eq!(names(parent.path()), ["final"]);
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "one");
    }

    #[test]
    fn what_a_killed_write_left_is_removed_and_what_it_was_to_replace_put_back() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["step-1", ".partial-step-2", ".replaced-step-1", ".replaced-step-2", ".removed-step-3"] {
            fs::create_dir_all(parent.path().join(name)).unwrap();
            fs::write(parent.path().join(name).join("file"), "half").unwrap();
        }
        remove_leftovers(parent.path()).unwrap();
        assert_eq!(names(parent.path()), ["step-1", "step-2"]);
    }
}
