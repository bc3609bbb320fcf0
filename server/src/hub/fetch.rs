//! A whole checkpoint: from an id to the folder of its files.
//!
//! Called by `loading` and `server pull`.

use std::path::{Path, PathBuf};

use super::cache::CachedRepository;
use super::checkpoint_files::{are_enough, are_usual, wanted};
use super::client::Client;
use super::download::{Download, free_bytes};
use super::error::HubError;
use super::repository::{RemoteFile, Revision};
use crate::config::{HubConfig, HubId};
use crate::process::progress::LoadProgress;

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
    match (ask_and_fetch(&Client::new(config), &cached, id), there) {
        (Err(error), Some(folder)) if error.is_of_the_line() => {
            tracing::warn!(%error, folder = %folder.display(), "the checkpoint that was fetched last is used");
            Ok(folder)
        }
        (fetched, _) => fetched,
    }
}

fn ask_and_fetch(client: &Client, cached: &CachedRepository, id: &HubId) -> Result<PathBuf, HubError> {
    let repository = id.repository.as_str();
    let revision = Revision::ask(client, id)?;
    let commit = revision.commit.as_str();
    let folder = cached.snapshot(commit);
    let names = wanted(&revision.names())
        .map_err(|missing| HubError::NotACheckpoint { repository: repository.to_owned(), missing })?;
    // A name whose contents are gone counts as missing.
    let missing = names.into_iter().filter(|name| !folder.join(name).exists());
    let files = missing.map(|name| RemoteFile::ask(client, repository, commit, name)).collect::<Result<Vec<_>, _>>()?;
    check_room(cached, repository, &files)?;
    let progress = LoadProgress::new("fetching", files.iter().map(|file| file.size).sum());
    for remote in &files {
        Download { client, cached, repository, remote, progress: &progress }.run()?;
        cached.name(commit, &remote.name, &remote.tag)?;
    }
    progress.finish();
    cached.refer(id, commit)?;
    Ok(folder)
}

/// Checks that the disk has room for what is missing of the files, before hours are spent on them.
fn check_room(cached: &CachedRepository, repository: &str, files: &[RemoteFile]) -> Result<(), HubError> {
    let bytes = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let missing = |file: &RemoteFile| {
        let there = bytes(&cached.blob(&file.tag)).max(bytes(&cached.incomplete(&file.tag)));
        file.size.saturating_sub(there)
    };
    let (needed, folder) = (files.iter().map(missing).sum::<u64>(), cached.folder());
    match free_bytes(folder) {
        Some(free) if free < needed => {
            let (repository, folder) = (repository.to_owned(), folder.to_owned());
            Err(HubError::DiskFull { repository, needed, free, folder })
        }
        _ => Ok(()),
    }
}
