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
    let settings = format!("[server]\ndrain_delay_s = 0\n[access]\nkeys_file = {file:?}\nreload_interval_s = 0\n");
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

async fn wait_until_known(server: &ServerProcess, secret: &str) {
    let start = Instant::now();
    while status(server, secret).await != 200 {
        assert!(start.elapsed() < PATIENCE, "the new key is not known");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
    wait_until_known(&server, &new.0).await;
    assert_eq!(status(&server, &old.0).await, 401);
    server.terminate();
    let (ended, log) = server.end_with_log();
    assert!(ended.success());
    let said = |words: &str| log.iter().any(|line| line.contains(words));
    assert!(said("the keys of before stay valid: line 1 of") && said("keys were read anew"), "{log:?}");
    assert!(!log.iter().any(|line| line.contains(&new.0) || line.contains(&old.0)), "{log:?}");
    assert!(log.iter().any(|line| line.contains("key=\"new\"") && line.contains("server::access")), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_of_keys_is_read_without_a_signal() {
    let (old, new) = (new_key("old"), new_key("new"));
    let folder = folder(&old.1);
    let settings = folder.path().join("config.toml");
    let text = std::fs::read_to_string(&settings).unwrap().replace("reload_interval_s = 0", "reload_interval_s = 1");
    std::fs::write(&settings, text).unwrap();
    let server = ServerProcess::start(&["--config", &config(folder.path())]);
    assert_eq!(status(&server, &new.0).await, 401);
    std::fs::write(folder.path().join("keys"), &new.1).unwrap();
    wait_until_known(&server, &new.0).await;
    assert_eq!(status(&server, &old.0).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_environment_stay_on_sighup_which_does_not_end_the_server() {
    let key = new_key("of-the-environment");
    let settings = folder("# not named");
    std::fs::write(settings.path().join("config.toml"), "[server]\ndrain_delay_s = 0\n").unwrap();
    let mut command = command(&["--port", "0", "--threads", "1", "--config", &config(settings.path())]);
    let server = ServerProcess::spawn(command.env("ENCDEC_API_KEYS", &key.1));
    server.signal("HUP");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((status(&server, &key.0).await, status(&server, "other").await), (200, 401));
    server.terminate();
    let (ended, log) = server.end_with_log();
    assert!(ended.success());
    let said = |words: &str| log.iter().filter(|line| line.contains(words)).count();
    assert_eq!(said("keys in access.keys and ENCDEC_API_KEYS stay those of the start"), 1, "{log:?}");
    assert_eq!(said("asked to end"), 1, "by the second signal: {log:?}");
}

#[test]
fn a_server_that_strangers_may_use_says_so_once() {
    let warnings = |arguments: &[&str], keys: Option<&str>| {
        let mut command = command(arguments);
        command.args(["--port", "0", "--threads", "1"]);
        command.env_remove("ENCDEC_API_KEYS").envs(keys.map(|keys| ("ENCDEC_API_KEYS", keys)));
        let server = ServerProcess::spawn(&mut command);
        server.signal("INT");
        let (ended, log) = server.end_with_log();
        assert!(ended.success());
        log.iter().filter(|line| line.contains("WARN") && line.contains("whoever reaches this address")).count()
    };
    assert_eq!(warnings(&["--host", "0.0.0.0"], None), 1);
    assert_eq!(warnings(&["--host", "0.0.0.0"], Some(&new_key("a").1)), 0);
    assert_eq!(warnings(&["--host", "127.0.0.1"], None), 0);
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
