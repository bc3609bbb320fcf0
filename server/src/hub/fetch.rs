//! A whole checkpoint: from an id to the folder of its files.
//!
//! Called by `loading` and by the commands that take checkpoints.

use std::path::{Path, PathBuf};

use super::cache::CachedRepository;
use super::checkpoint_files::{are_enough, are_usual, wanted};
use super::client::Client;
use super::download::{Download, free_bytes};
use super::error::HubError;
use super::parallel::all_of;
use super::repository::{RemoteFile, Revision};
use crate::config::{CheckpointName, HubConfig, HubId};
use crate::process::progress::LoadProgress;

/// The folder of a checkpoint that is named in any way.
///
/// # Errors
/// When it is one of the hub, and its files cannot be had.
pub fn folder_of(config: &HubConfig, name: &CheckpointName) -> Result<PathBuf, HubError> {
    match name {
        CheckpointName::Folder(folder) => Ok(folder.clone()),
        CheckpointName::Hub(id) => fetch(config, id),
    }
}

/// The folder of a checkpoint, whose files are fetched if they are not there. What an earlier call or `hf download`
/// left is used; a branch is looked up anew, and where the hub cannot be reached, the commit that was fetched last
/// counts.
///
/// # Errors
/// When the files cannot be had.
pub fn fetch(config: &HubConfig, id: &HubId) -> Result<PathBuf, HubError> {
    let cache = config.cache.as_deref().ok_or(HubError::NoCache)?;
    let cached = CachedRepository::new(cache, &id.repository);
    let there = cached.commit_of(id).map(|commit| cached.snapshot(&commit)).filter(|folder| are_enough(folder));
    if let Some(folder) = there.as_ref().filter(|folder| id.is_commit() && are_usual(folder)) {
        return Ok(folder.clone());
    }
    if config.offline {
        return there.ok_or_else(|| HubError::Offline { id: id.to_string(), cache: cache.to_owned() });
    }
    match (ask_and_fetch(config, &cached, id), there) {
        (Err(error), Some(folder)) if error.is_of_the_line() => {
            tracing::warn!(%error, folder = %folder.display(), "the checkpoint that was fetched last is used");
            Ok(folder)
        }
        (fetched, _) => fetched,
    }
}

fn ask_and_fetch(config: &HubConfig, cached: &CachedRepository, id: &HubId) -> Result<PathBuf, HubError> {
    let (client, repository) = (&Client::new(config)?, id.repository.as_str());
    let revision = Revision::ask(client, id)?;
    let commit = revision.commit.as_str();
    let folder = cached.snapshot(commit);
    let mut names = wanted(&revision.names())
        .map_err(|missing| HubError::NotACheckpoint { repository: repository.to_owned(), missing })?;
    // A name whose contents are gone counts as missing.
    names.retain(|name| !folder.join(name).exists());
    let at_once = config.downloads;
    let files = all_of(&names, at_once, client.stop(), |name| RemoteFile::ask(client, repository, commit, name))?;
    check_room(cached, repository, &files)?;
    let progress = LoadProgress::new("fetching", sum(files.iter().map(|file| file.size)));
    all_of(&files, at_once, client.stop(), |remote| {
        Download { client, cached, repository, remote, progress: &progress }.run()
    })?;
    progress.finish();
    // Weights come last: a folder that has them has everything, whenever the process ends.
    for RemoteFile { name, tag, .. } in &files {
        cached.name(commit, name, tag)?;
    }
    cached.refer(id, commit)?;
    Ok(folder)
}

/// The sum of sizes that come from outside.
fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// Checks that the disk has room for what is missing of the files, before hours are spent on them.
fn check_room(cached: &CachedRepository, repository: &str, files: &[RemoteFile]) -> Result<(), HubError> {
    let bytes = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let missing = |file: &RemoteFile| {
        let there = bytes(&cached.blob(&file.tag)).max(bytes(&cached.incomplete(&file.tag)));
        file.size.saturating_sub(there)
    };
    let (needed, folder) = (sum(files.iter().map(missing)), cached.folder());
    match free_bytes(folder) {
        Some(free) if free < needed => {
            let (repository, folder) = (repository.to_owned(), folder.to_owned());
            Err(HubError::DiskFull { repository, needed, free, folder })
        }
        _ => Ok(()),
    }
}
