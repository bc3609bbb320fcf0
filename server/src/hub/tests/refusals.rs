//! Repositories that cannot be had: each answer says what to do.

use super::scripted_hub::{ScriptedHub, Trick};
use super::{COMMIT, config, id, refusal};
use crate::config::HubToken;
use crate::hub::{HubError, fetch};

/// The error for a hub that answers requests for the list so.
fn refused(status: u16, code: &str) -> String {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    hub.trick("api", Trick::Answer(status, format!("x-error-code: {code}\r\n")));
    let error = refusal(&hub, folder.path()).to_string();
    assert_eq!(hub.seen().len(), 1, "it is asked once");
    error.replace(hub.url(), "HUB")
}

#[test]
fn a_repository_that_is_not_there_is_told_from_one_that_may_not_be_read() {
    for said in [refused(404, "RepoNotFound"), refused(401, "RepoNotFound"), refused(404, "")] {
        assert!(
            said.starts_with("HUB has no repository `org/tiny`, or hides it, and no folder here has that"),
            "{said}"
        );
        assert!(said.contains("check the spelling"), "{said}");
    }
    let said = refused(404, "RevisionNotFound");
    assert_eq!(said, "HUB/org/tiny has no revision `main`: name a branch, a tag or a full commit after the @");
    let said = refused(403, "GatedRepo");
    assert_eq!(
        said,
        "org/tiny is gated: ask for access on HUB/org/tiny, and give a token of that account in HF_TOKEN (the present \
         token has no access)"
    );
    let said = refused(401, "");
    assert!(
        said.starts_with("HUB answers 401 for org/tiny: the token is wrong, has ended or may not read it"),
        "{said}"
    );
}

#[test]
fn files_of_a_gated_repository_may_be_refused_although_its_list_is_not() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    hub.trick("HEAD config.json", Trick::Answer(401, "x-error-code: GatedRepo\r\n".to_owned()));
    let mut config = config(&hub, folder.path());
    config.token = None;
    let said = fetch(&config, &id("org/tiny")).unwrap_err().to_string();
    assert!(said.contains("org/tiny is gated: ") && said.ends_with("(there is no token now)"), "{said}");
    assert!(hub.seen().iter().all(|seen| seen.authorization.is_none()));
}

#[test]
fn a_file_that_is_listed_and_missing_is_told_from_a_repository_that_is() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    hub.trick("HEAD model.safetensors", Trick::Answer(404, "x-error-code: EntryNotFound\r\n".to_owned()));
    let said = refusal(&hub, folder.path()).to_string().replace(hub.url(), "HUB");
    assert!(said.starts_with("HUB/org/tiny lists the file model.safetensors and does not have it"), "{said}");
}

#[test]
fn a_token_in_a_file_is_used_unless_there_is_another() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    let mut config = config(&hub, folder.path());
    config.token_file = Some(folder.path().join("token"));
    std::fs::write(folder.path().join("token"), "of-the-file\n").unwrap();
    config.token = None;
    fetch(&config, &id("org/tiny")).unwrap();
    assert_eq!(hub.seen()[0].authorization.as_deref(), Some("Bearer of-the-file"));
    std::fs::write(folder.path().join("token"), "\n").unwrap();
    fetch(&config, &id("org/tiny")).unwrap();
    assert_eq!(hub.seen().last().unwrap().authorization, None, "an empty file holds no token");
    std::fs::write(folder.path().join("token"), "of-the-file\n").unwrap();
    config.token = Some(HubToken::new(" "));
    fetch(&config, &id("org/tiny")).unwrap();
    assert_eq!(hub.seen().last().unwrap().authorization.as_deref(), Some("Bearer of-the-file"), "a blank one is none");
}

#[test]
fn a_token_that_is_none_is_told_without_its_words_and_a_file_that_cannot_be_read_is_left_out() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    let mut config = config(&hub, folder.path());
    for bad in ["two words", "a\nb", "\u{e9}"] {
        config.token = Some(HubToken::new(bad));
        let said = fetch(&config, &id("org/tiny")).unwrap_err().to_string();
        assert!(said.contains("check HF_TOKEN") && !said.contains(bad), "{said}");
    }
    assert!(hub.seen().is_empty());
    // A folder is no file that can be read.
    (config.token, config.token_file) = (None, Some(folder.path().to_owned()));
    fetch(&config, &id("org/tiny")).unwrap();
    assert!(hub.seen().iter().all(|seen| seen.authorization.is_none()));
}

#[test]
fn what_is_no_checkpoint_or_no_hub_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = refusal(&ScriptedHub::with(&[("config.json", b"{}")]), folder.path()).to_string();
    assert!(
        error.starts_with("org/tiny is no checkpoint that can be loaded: it holds no model.safetensors"),
        "{error}"
    );
    let hub = ScriptedHub::tiny();
    hub.trick("api", Trick::Answer(200, String::new()));
    let error = refusal(&hub, folder.path()).to_string();
    assert!(error.contains("gives an answer that is not a hub's") && error.ends_with("check HF_ENDPOINT"), "{error}");
    hub.trick("api", Trick::Answer(302, "location: file:///etc/passwd?signature=secret\r\n".to_owned()));
    let error = refusal(&hub, folder.path()).to_string();
    assert!(error.contains("a redirect to \"file:///etc/passwd\"") && !error.contains("signature"), "{error}");
    let other = "f".repeat(40);
    let error = fetch(&config(&hub, folder.path()), &id(&format!("org/tiny@{other}"))).unwrap_err().to_string();
    assert!(error.contains(&format!("it tells of the commit {COMMIT}")), "{error}");
}

#[test]
fn without_a_hub_or_a_folder_nothing_is_fetched() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    let mut config = config(&hub, folder.path());
    (config.endpoint, config.attempts) = ("http://127.0.0.1:1".to_owned(), 1);
    let error = fetch(&config, &id("org/tiny")).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("check the connection and HF_ENDPOINT"), "{error}");
    config.cache = None;
    assert!(matches!(fetch(&config, &id("org/tiny")), Err(HubError::NoCache)));
}

#[test]
fn a_disk_that_is_too_small_is_told_before_anything_is_fetched() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    let huge = format!("etag: \"{}\"\r\nx-linked-size: {}\r\n", "a".repeat(64), 1_u64 << 60);
    hub.trick("HEAD model.safetensors", Trick::Answer(200, huge));
    let error = refusal(&hub, folder.path());
    assert!(matches!(error, HubError::DiskFull { needed, .. } if needed > 1 << 59), "{error}");
    assert!(error.to_string().contains("make room, or set HF_HOME to a folder on a larger disk"), "{error}");
    assert!(hub.ranges("model.safetensors").is_empty());
}
