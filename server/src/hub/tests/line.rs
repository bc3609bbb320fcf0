//! Lines that break, servers that are busy, and other hosts that have the files.

use std::fs;

use super::scripted_hub::{ScriptedHub, Trick, tag, weights};
use super::{config, id, refusal, repository};
use crate::hub::{HubError, fetch};

#[test]
fn a_download_that_breaks_is_continued_where_it_broke_as_often_as_it_breaks() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    // More often than there are attempts: each brings something.
    for _ in 0..5 {
        hub.trick("model.safetensors", Trick::BreakAfter(1000));
    }
    let snapshot = fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights());
    let ranges: Vec<_> = hub.ranges("model.safetensors").into_iter().map(Option::unwrap_or_default).collect();
    assert_eq!(ranges, ["", "bytes=1000-", "bytes=2000-", "bytes=3000-", "bytes=4000-", "bytes=5000-"]);
}

#[test]
fn a_download_that_a_process_left_is_continued_by_the_next_one() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    for _ in 0..3 {
        hub.trick("model.safetensors", Trick::BreakAfter(0));
    }
    hub.trick("config.json", Trick::BreakAfter(1));
    let error = refusal(&hub, folder.path());
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    let incomplete = repository(folder.path()).join("blobs").join(format!("{}.incomplete", tag(&weights())));
    fs::write(&incomplete, &weights()[..5000]).unwrap();
    let snapshot = fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    assert_eq!(hub.ranges("model.safetensors").last().unwrap().as_deref(), Some("bytes=5000-"));
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights());
    assert!(!incomplete.exists());
}

#[test]
fn a_list_that_breaks_is_asked_for_again_and_what_is_there_is_used_if_it_never_comes() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    hub.trick("api", Trick::BreakAfter(20));
    fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    for _ in 0..3 {
        hub.trick("api", Trick::BreakAfter(20));
    }
    fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    let other = tempfile::tempdir().unwrap();
    hub.trick("api", Trick::BreakAfter(20)).trick("api", Trick::BreakAfter(20)).trick("api", Trick::BreakAfter(20));
    assert!(matches!(refusal(&hub, other.path()), HubError::Unreachable { .. }));
}

#[test]
fn a_server_that_cannot_continue_a_file_is_given_another_chance_from_the_start() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    hub.trick("model.safetensors", Trick::BreakAfter(1000)).trick("model.safetensors", Trick::FromTheStart);
    let snapshot = fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_line_that_falls_silent_counts_as_broken() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    hub.trick("model.safetensors", Trick::Silence);
    let mut config = config(&hub, folder.path());
    // A busy machine may seem silent as well, but not so often.
    (config.timeout, config.attempts) = (std::time::Duration::from_millis(200), 100);
    let snapshot = fetch(&config, &id("org/tiny")).unwrap();
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn wrong_bytes_are_refused_with_their_checksum_and_do_not_stay() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    for file in ["config.json", "model.safetensors"] {
        hub.trick(file, Trick::WrongBytes);
        let error = refusal(&hub, folder.path()).to_string();
        assert!(error.starts_with(&format!("{file} of org/tiny has the checksum ")), "{error}");
        assert!(error.ends_with("and was removed: fetch it again"), "{error}");
    }
    assert!(fetch(&config(&hub, folder.path()), &id("org/tiny")).is_ok(), "nothing of the wrong bytes is left");
}

#[test]
fn a_beginning_that_is_of_another_file_is_fetched_anew() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    let blobs = repository(folder.path()).join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(format!("{}.incomplete", tag(&weights()))), vec![9; 777]).unwrap();
    let snapshot = fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights());
    let ranges = hub.ranges("model.safetensors");
    assert_eq!(ranges, [Some("bytes=777-".to_owned()), None]);
}

#[test]
fn a_busy_or_failing_hub_is_asked_again_after_the_time_it_asks_for() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    for (name, status) in [("api", 429), ("HEAD config.json", 503), ("config.json", 500), ("model.safetensors", 429)] {
        hub.trick(name, Trick::Answer(status, "retry-after: 0\r\n".to_owned()));
    }
    fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    hub.trick("api", Trick::Answer(429, "retry-after: 3600\r\n".to_owned()));
    let other = tempfile::tempdir().unwrap();
    let error = refusal(&hub, other.path()).to_string();
    assert!(error.ends_with("answers too many requests and asks to wait 3600 seconds: start again then"), "{error}");
    for _ in 0..3 {
        hub.trick("api", Trick::Answer(500, "retry-after: 0\r\n".to_owned()));
    }
    let error = refusal(&hub, other.path()).to_string();
    assert!(error.contains("cannot be reached (it answers 500)"), "{error}");
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_the_host_it_redirects_to() {
    let (hub, other, folder) = (ScriptedHub::tiny(), ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    hub.redirect(&other);
    other.trick("model.safetensors", Trick::BreakAfter(1000));
    let snapshot = fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights());
    assert!(hub.seen().iter().all(|seen| seen.authorization.as_deref() == Some("Bearer secret")), "{:?}", hub.seen());
    assert!(!other.seen().is_empty());
    assert!(other.seen().iter().all(|seen| seen.authorization.is_none()), "{:?}", other.seen());
    assert!(
        other.seen().iter().all(|seen| seen.line.starts_with("GET ")),
        "tags are the hub's own: {:?}",
        other.seen()
    );
}

#[test]
fn another_host_that_refuses_a_signed_address_is_asked_again_by_a_new_one() {
    let (hub, other, folder) = (ScriptedHub::tiny(), ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    hub.redirect(&other);
    other.trick("config.json", Trick::Answer(403, String::new()));
    fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    assert_eq!(
        (hub.ranges("config.json").len(), other.seen()[0].line.as_str()),
        (2, "GET /blob/config.json?signature=1")
    );
}

#[test]
fn a_redirect_within_the_hub_may_tell_the_tag_and_size_of_its_file() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    let (tag, size, url) = (tag(&weights()), weights().len(), hub.url());
    let location = format!("location: {url}/blob/model.safetensors\r\n");
    let redirect = format!("{location}x-linked-etag: \"{tag}\"\r\nx-linked-size: {size}\r\n");
    hub.trick("HEAD model.safetensors", Trick::Answer(302, redirect));
    hub.trick("HEAD model.safetensors", Trick::Answer(200, "etag: \"of-the-store\"\r\n".to_owned()));
    let snapshot = fetch(&config(&hub, folder.path()), &id("org/tiny")).unwrap();
    let target = fs::read_link(snapshot.join("model.safetensors")).unwrap();
    assert!(target.ends_with(&tag), "{}", target.display());
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_server_that_begins_anew_again_and_again_is_given_up() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    for _ in 0..4 {
        hub.trick("model.safetensors", Trick::BreakAfter(1000));
        hub.trick("model.safetensors", Trick::Answer(200, String::new()));
    }
    let error = refusal(&hub, folder.path());
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert_eq!(hub.ranges("model.safetensors").len(), 3);
}
