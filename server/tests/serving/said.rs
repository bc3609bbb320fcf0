//! Messages of a server about itself: in its log, and to the service manager that started it.

use std::os::unix::net::UnixDatagram;

use reqwest::Client;
use serde_json::{Value, json};

use crate::answer::PATIENCE;
use crate::process::{ServerProcess, command};

/// A service manager, and a file of settings, in one folder.
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("settings.toml"), settings).unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { folder, socket }
    }

    fn start(&self) -> ServerProcess {
        let settings = self.folder.path().join("settings.toml");
        let mut command = command(&["--port", "0", "--threads", "1", "--config", settings.to_str().unwrap()]);
        ServerProcess::spawn(command.env("NOTIFY_SOCKET", self.folder.path().join("notify")))
    }

    fn told(&self) -> String {
        let mut buffer = [0; 128];
        let count = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }
}

async fn complete(server: &ServerProcess) {
    let request = Client::new().post(format!("http://{}/v1/completions", server.address));
    let answer =
        request.json(&json!({"prompt": "a secret", "max_tokens": 2, "ignore_eos": true})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_line_of_a_json_log_is_an_object_from_the_start_message_to_the_last_word() {
    let manager = Manager::new("[server]\nlog_format = \"json\"\ndrain_delay_s = 0\n");
    let server = manager.start();
    let told = manager.told();
    let [facts, example] = [0, 1].map(|index| serde_json::from_str::<Value>(&server.message[index]).unwrap());
    assert_eq!(told, format!("READY=1\nSTATUS=listens on http://{}\n", server.address));
    assert_eq!(facts["url"], format!("http://{}", server.address), "{facts}");
    assert_eq!((&facts["model"], &facts["level"], &facts["page_tokens"]), (&json!("demo"), &json!("INFO"), &json!(16)));
    assert!(facts["pages"].as_u64().unwrap() > 0 && facts["page_pool_bytes"].as_u64().unwrap() <= 1 << 30, "{facts}");
    assert!(example["message"].as_str().unwrap().starts_with("try: curl http://127.0.0.1:"), "{example}");
    complete(&server).await;
    server.terminate();
    assert_eq!(manager.told(), "STOPPING=1\n");
    let (status, log) = server.end_with_log();
    assert_eq!(status.code(), Some(0));
    let log: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let access: Vec<_> = log.iter().filter(|line| line["target"] == "server::access").collect();
    let [line] = access[..] else { panic!("{log:?}") };
    assert_eq!((&line["route"], &line["generated_tokens"]), (&json!("POST /v1/completions"), &json!(2)));
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    let last = log.last().unwrap();
    assert_eq!((&last["message"], &last["left"]), (&json!("drained"), &json!(0)));
    assert!(last["took_ms"].is_u64(), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_text_log_ends_with_the_word_that_the_server_is_drained_and_has_no_access_lines_when_told_so() {
    let manager = Manager::new("[server]\naccess_log = false\ndrain_delay_s = 0\n");
    let server = manager.start();
    complete(&server).await;
    server.terminate();
    let (status, log) = server.end_with_log();
    assert_eq!(status.code(), Some(0));
    assert!(log.last().unwrap().contains(" drained took_ms="), "{log:?}");
    assert!(!log.iter().any(|line| line.contains("server::access") || line.contains("secret")), "{log:?}");
}

#[test]
fn a_command_that_fails_says_why_in_the_format_of_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, "[server]\nlog_format = \"json\"\n").unwrap();
    let arguments = ["--port", "0", "--model", "/nowhere/at/all", "--config", settings.to_str().unwrap()];
    let output = crate::process::run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let line: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(line["error"].as_str().unwrap().contains("/nowhere/at/all"), "{line}");
}
