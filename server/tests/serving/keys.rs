//! API keys of a server as a process: made by a command, and read anew on SIGHUP.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Client;
use tempfile::TempDir;

use crate::answer::PATIENCE;
use crate::process::{ServerProcess, command, complaint, run};

/// The secret and the line that `server key` prints.
fn new_key(name: &str) -> (String, String) {
    let output = run(&["key", name]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let [_, secret, _, line] = lines[..] else { panic!("{text}") };
    (secret.to_owned(), line.to_owned())
}

/// A folder with keys and with settings that name them.
fn folder(keys: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys"), keys).unwrap();
    let file = folder.path().join("keys");
    let settings = format!("[server]\ndrain_delay_s = 0\n[access]\nkeys_file = {file:?}\n");
    std::fs::write(folder.path().join("config.toml"), settings).unwrap();
    folder
}

fn config(folder: &Path) -> String {
    folder.join("config.toml").display().to_string()
}

async fn status(server: &ServerProcess, secret: &str) -> u16 {
    let request = Client::new().get(format!("http://{}/v1/models", server.address)).bearer_auth(secret);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_the_command_makes_let_in_and_change_on_sighup_which_ends_nothing() {
    let (old, new) = (new_key("old"), new_key("new"));
    let folder = folder(&old.1);
    let server = ServerProcess::start(&["--config", &config(folder.path())]);
    assert!(server.curl_line().ends_with("-H \"authorization: Bearer $KEY\""), "{}", server.curl_line());
    assert_eq!((status(&server, &old.0).await, status(&server, &new.0).await), (200, 401));
    let write = |text: &str| std::fs::write(folder.path().join("keys"), text).unwrap();
    write("no key at all");
    server.signal("HUP");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(status(&server, &old.0).await, 200, "a bad file changes nothing");
    write(&new.1);
    server.signal("HUP");
    let start = Instant::now();
    while status(&server, &new.0).await != 200 {
        assert!(start.elapsed() < PATIENCE, "the new key is not known");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(status(&server, &old.0).await, 401);
    server.terminate();
    let (ended, log) = server.end_with_log();
    assert!(ended.success());
    let said = |words: &str| log.iter().any(|line| line.contains(words));
    assert!(said("the keys of before stay valid: line 1 of") && said("keys were read anew"), "{log:?}");
    assert!(!log.iter().any(|line| line.contains(&new.0) || line.contains(&old.0)), "{log:?}");
    assert!(log.iter().any(|line| line.contains("key=\"new\"") && line.contains("server::access")), "{log:?}");
}

#[test]
fn a_server_that_should_have_keys_does_not_start_without_any() {
    let folder = folder("# none yet\n");
    let refused = complaint(&["serve", "--port", "0", "--config", &config(folder.path())]);
    assert!(refused.contains("holds no key"), "{refused}");
    let mut empty = command(&["serve", "--port", "0"]);
    let output = empty.env("ENCDEC_API_KEYS", "").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("ENCDEC_API_KEYS holds no key"));
    assert_eq!(run(&["key", "two words"]).status.code(), Some(2));
}
