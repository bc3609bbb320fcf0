//! The folder of a repository in the cache, laid out as huggingface_hub does: contents by their tags in `blobs/`, names
//! of files by commits in `snapshots/`, commits by branches and tags in `refs/`.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::HubError;
use super::stop::Stop;
use crate::config::HubId;

/// Pause between two looks at a lock that somebody else has.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// A repository's folder, which need not exist yet.
#[derive(Debug)]
pub struct CachedRepository {
    folder: PathBuf,
    /// Files that serve as locks; huggingface_hub locks the same ones.
    locks: PathBuf,
}

impl CachedRepository {
    /// The folder of `repository` in a cache.
    pub fn new(cache: &Path, repository: &str) -> Self {
        let name = format!("models--{}", repository.replace('/', "--"));
        Self { locks: cache.join(".locks").join(&name), folder: cache.join(name) }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The commit that `id` stood for when it was fetched last.
    pub fn commit_of(&self, id: &HubId) -> Option<String> {
        if id.is_commit() {
            return Some(id.revision.clone());
        }
        let commit = fs::read_to_string(self.reference(&id.revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| HubId::is_commit_name(commit))
    }

    /// Records that `id` stands for `commit`.
    pub fn refer(&self, id: &HubId, commit: &str) -> Result<(), HubError> {
        if id.is_commit() || self.commit_of(id).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.reference(&id.revision);
        make_folder_of(&path)?;
        let temporary = beside(&path);
        let written = fs::write(&temporary, commit).and_then(|()| fs::rename(&temporary, &path));
        written.map_err(failed("write", &path))
    }

    /// Folder of the files of a commit.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// File with the contents that have this tag.
    pub fn blob(&self, tag: &str) -> PathBuf {
        self.folder.join("blobs").join(tag)
    }

    /// File with the beginning of such contents.
    pub fn incomplete(&self, tag: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{tag}.incomplete"))
    }

    /// Gives the contents that have this tag a name in a commit.
    pub fn name(&self, commit: &str, file: &str, tag: &str) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(file);
        make_folder_of(&path)?;
        let target = Path::new("../../blobs").join(tag);
        let temporary = beside(&path);
        let linked = remove_if_there(&temporary)
            .and_then(|()| symlink(target, &temporary))
            .and_then(|()| fs::rename(&temporary, &path));
        linked.map_err(failed("write", &path))
    }

    /// Waits until nobody else fetches the contents that have this tag. They are ours until the lock is dropped.
    ///
    /// # Errors
    /// When the lock cannot be had, or `stop` is set before.
    pub fn lock(&self, tag: &str, stop: &Stop) -> Result<File, HubError> {
        let path = self.locks.join(format!("{tag}.lock"));
        make_folder_of(&path)?;
        make_folder_of(&self.blob(tag))?;
        let mut has_waited = false;
        while !stop.is_set() {
            let locked = try_lock(&path).map_err(failed("lock", &path))?;
            if let Some(file) = locked {
                return Ok(file);
            }
            if !std::mem::replace(&mut has_waited, true) {
                tracing::info!(lock = %path.display(), "waiting for whoever fetches the same file");
            }
            stop.sleep(LOCK_PAUSE);
        }
        Err(HubError::Abandoned)
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }
}

/// The locked file; none if somebody else has locked it, or removed it meanwhile.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // A file without its name is another lock than the one that others find.
    let is_same = |there: &Metadata, ours: &Metadata| (there.dev(), there.ino()) == (ours.dev(), ours.ino());
    let ours = file.metadata()?;
    Ok(fs::metadata(path).is_ok_and(|there| is_same(&there, &ours)).then_some(file))
}

/// The error for a failed action on a file of the cache.
pub fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HubError {
    let path = path.to_owned();
    move |source| HubError::File { action, path, source }
}

/// Removes a file, unless it is gone already.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make_folder_of(path: &Path) -> Result<(), HubError> {
    let folder = path.parent().expect("files of the cache lie in folders");
    fs::create_dir_all(folder).map_err(failed("make", folder))
}

/// A name for a file in the making that no other thread of any process has.
fn beside(path: &Path) -> PathBuf {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().expect("files of the cache have names").to_string_lossy();
    let (process, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    path.with_file_name(format!(".{name}.{process}.{number}"))
}
