//! Several files of a checkpoint at once.

use std::fs;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use super::scripted_hub::{ScriptedHub, Trick, weights};
use super::{COMMIT, config, id};
use crate::hub::{HubError, fetch};

const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

#[test]
fn shards_are_fetched_at_once_and_each_is_continued_where_it_broke() {
    let (hub, folder) = (ScriptedHub::sharded(), tempfile::tempdir().unwrap());
    let both = Arc::new(Barrier::new(2));
    for shard in SHARDS {
        hub.trick(shard, Trick::BreakAfter(1000)).trick(shard, Trick::Meet(Arc::clone(&both), None));
    }
    let mut config = config(&hub, folder.path());
    config.downloads = 2;
    let snapshot = fetch(&config, &id("org/tiny")).unwrap();
    let read = SHARDS.map(|shard| fs::read(snapshot.join(shard)).unwrap());
    assert_eq!(read.concat(), weights());
    for shard in SHARDS {
        assert_eq!(hub.ranges(shard), [None, Some("bytes=1000-".to_owned())]);
    }
}

#[test]
fn what_fails_for_one_file_is_told_and_ends_the_others_which_keep_what_came() {
    let (hub, folder) = (ScriptedHub::sharded(), tempfile::tempdir().unwrap());
    let mut config = config(&hub, folder.path());
    (config.downloads, config.attempts) = (4, 100);
    // The other one fails once the beginning of this one is there.
    let both = Arc::new(Barrier::new(2));
    let meet = |then| Trick::Meet(Arc::clone(&both), Some(Box::new(then)));
    hub.trick(SHARDS[0], Trick::BreakAfter(1000)).trick(SHARDS[0], meet(Trick::BreakAfter(0)));
    for _ in 0..100 {
        hub.trick(SHARDS[0], Trick::BreakAfter(0));
    }
    hub.trick(SHARDS[1], meet(Trick::WrongBytes));
    let began = Instant::now();
    let error = fetch(&config, &id("org/tiny")).unwrap_err();
    assert!(matches!(&error, HubError::Checksum { file, .. } if file == SHARDS[1]), "{error}");
    // All the pauses of the other file together take most of an hour.
    assert!(began.elapsed() < Duration::from_secs(300));
    let another = ScriptedHub::sharded();
    config.endpoint = another.url().to_owned();
    fetch(&config, &id("org/tiny")).unwrap();
    assert_eq!(another.ranges(SHARDS[0]), [Some("bytes=1000-".to_owned())]);
}

#[test]
fn a_commit_is_whole_only_when_no_file_is_missing_beside_its_weights() {
    let files: [(&str, &[u8]); 4] = [
        ("config.json", b"{}"),
        ("tokenizer.json", b"[]"),
        ("chat_template.jinja", b"{{ messages }}"),
        ("model.safetensors", &weights()),
    ];
    let (hub, folder) = (ScriptedHub::with(&files), tempfile::tempdir().unwrap());
    let mut config = config(&hub, folder.path());
    (config.downloads, config.attempts) = (4, 2);
    // While this one is asked for again, the others come.
    hub.trick("chat_template.jinja", Trick::BreakAfter(0)).trick("chat_template.jinja", Trick::BreakAfter(0));
    let pinned = id(&format!("org/tiny@{COMMIT}"));
    let error = fetch(&config, &pinned).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    let snapshot = fetch(&config, &pinned).unwrap();
    assert!(files.iter().all(|(name, contents)| fs::read(snapshot.join(name)).unwrap() == *contents));
    let asked = hub.seen().len();
    fetch(&config, &pinned).unwrap();
    assert_eq!(hub.seen().len(), asked, "it is whole now");
}
