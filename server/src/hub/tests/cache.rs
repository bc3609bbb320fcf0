//! The folder of fetched files: huggingface_hub's layout, in both directions.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::scripted_hub::{ScriptedHub, Trick, tag, weights};
use super::{COMMIT, config, id, refusal, repository};
use crate::hub::{HubError, fetch};

/// Every file below a folder, with the target of each link.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            match fs::read_link(&path) {
                Ok(target) => found.push(format!("{name} -> {}", target.display())),
                Err(_) if path.is_dir() => open.push(path),
                Err(_) => found.push(name),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_fetched_checkpoint_lies_as_huggingface_hub_would_have_left_it() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    let snapshot = fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    assert_eq!(snapshot, repository(folder.path()).join("snapshots").join(COMMIT));
    let (small, large) = (tag(b"{}"), tag(&weights()));
    let mut expected = [
        format!(".locks/models--org--tiny/{small}.lock"),
        format!(".locks/models--org--tiny/{large}.lock"),
        format!("models--org--tiny/blobs/{small}"),
        format!("models--org--tiny/blobs/{large}"),
        "models--org--tiny/refs/main".to_owned(),
        format!("models--org--tiny/snapshots/{COMMIT}/config.json -> ../../blobs/{small}"),
        format!("models--org--tiny/snapshots/{COMMIT}/model.safetensors -> ../../blobs/{large}"),
    ];
    expected.sort();
    assert_eq!(tree(folder.path()), expected, "and nothing that is not loaded");
    assert_eq!(fs::read_to_string(repository(folder.path()).join("refs/main")).unwrap(), COMMIT);
}

/// Lays files out as `hf download` leaves them: contents, links, and the commit of a branch.
fn left_by_huggingface_hub(folder: &Path, files: &[(&str, &[u8])]) {
    let repository = repository(folder);
    let snapshot = repository.join("snapshots").join(COMMIT);
    for path in [repository.join("blobs"), snapshot.clone(), repository.join("refs")] {
        fs::create_dir_all(path).unwrap();
    }
    for (name, contents) in files {
        fs::write(repository.join("blobs").join(tag(contents)), contents).unwrap();
        symlink(Path::new("../../blobs").join(tag(contents)), snapshot.join(name)).unwrap();
    }
    fs::write(repository.join("refs/main"), COMMIT).unwrap();
}

#[test]
fn what_hf_download_left_is_used_and_only_what_is_missing_is_fetched() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    left_by_huggingface_hub(folder.path(), &[("model.safetensors", &weights())]);
    fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    assert!(hub.ranges("model.safetensors").is_empty());
    assert_eq!(hub.ranges("config.json"), [None]);
    let asked = hub.seen().len();
    fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    assert_eq!(hub.seen().len(), asked + 1, "a branch is looked up, and nothing else is asked for");
}

#[test]
fn contents_that_another_commit_has_are_not_fetched_again() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    left_by_huggingface_hub(folder.path(), &[("config.json", b"{}"), ("model.safetensors", &weights())]);
    let snapshots = repository(folder.path()).join("snapshots");
    fs::rename(snapshots.join(COMMIT), snapshots.join("f".repeat(40))).unwrap();
    fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    assert!(hub.ranges("model.safetensors").is_empty() && hub.ranges("config.json").is_empty());
}

#[test]
fn offline_the_hub_is_not_asked_and_what_is_there_has_to_be_whole() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    let mut offline = config(&hub, folder.path());
    offline.offline = true;
    let missing = |id_text: &str| fetch(&offline, &id(id_text)).unwrap_err().to_string();
    let said = missing("org/tiny@v1");
    assert!(said.contains("run `server pull org/tiny@v1` while online") && said.contains("HF_HUB_OFFLINE"), "{said}");
    left_by_huggingface_hub(folder.path(), &[("config.json", b"{}")]);
    assert!(missing("org/tiny").starts_with("org/tiny is not in "), "weights are missing");
    fs::remove_dir_all(repository(folder.path())).unwrap();
    left_by_huggingface_hub(folder.path(), &[("config.json", b"{}"), ("model.safetensors", &weights())]);
    for text in ["org/tiny", &format!("org/tiny@{COMMIT}")] {
        assert!(fetch(&offline, &id(text)).unwrap().join("config.json").exists(), "{text}");
    }
    assert!(hub.seen().is_empty());
}

#[test]
fn a_commit_that_is_there_with_its_tokenizer_needs_no_hub() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    let files: [(&str, &[u8]); 3] =
        [("config.json", b"{}"), ("model.safetensors", &weights()), ("tokenizer.json", b"[]")];
    left_by_huggingface_hub(folder.path(), &files);
    fetch(&config(&hub, folder.path()), &id(&format!("org/tiny@{COMMIT}"))).unwrap();
    assert!(hub.seen().is_empty());
}

#[test]
fn a_hub_that_cannot_be_reached_does_not_stop_a_checkpoint_that_is_there() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    left_by_huggingface_hub(folder.path(), &[("config.json", b"{}"), ("model.safetensors", &weights())]);
    for _ in 0..3 {
        hub.trick("api", Trick::Answer(503, "retry-after: 0\r\n".to_owned()));
    }
    fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    hub.trick("api", Trick::Answer(404, "x-error-code: RepoNotFound\r\n".to_owned()));
    assert!(matches!(refusal(&hub, folder.path()), HubError::NoRepository { .. }), "the hub did answer");
}

#[test]
fn several_at_once_fetch_each_file_once() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap());
        }
    });
    assert_eq!(hub.ranges("model.safetensors"), [None]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = refusal(&hub, &file).to_string();
    assert!(error.starts_with("cannot make ") && error.contains("set HF_HOME to another folder"), "{error}");
}
