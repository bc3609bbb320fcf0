//! A full disk under every file that the program writes: what is lacking is named, nothing half is left under a final
//! name, what was there before is whole, and the work goes on when there is room.

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::answer::PATIENCE;
use crate::batches::{completions, get, upload_form};
use crate::process::{ServerProcess, command, end_output};
use crate::small_disk::SmallDisk;
use crate::train::{Place, fixture};

fn run(disk: &SmallDisk, arguments: &[&str]) -> Output {
    end_output(disk.give_to(&command(arguments)))
}

/// The error of a command that failed for want of room: its last line, which names a file of the disk.
fn complaint(disk: &SmallDisk, output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let line = text.lines().last().unwrap();
    assert!(line.starts_with("error: ") && line.contains(&disk.inside("")), "{text}");
    assert!(line.ends_with(disk.reason()) || line.ends_with("are free there"), "{text}");
    line.to_owned()
}

#[test]
fn training_on_a_full_disk_names_the_file_and_goes_on_when_there_is_room() {
    let (disk, place) = (SmallDisk::new(8), Place::new());
    let out = format!("out = '{}'", disk.inside("run"));
    let short = |text: String| text.replace("steps = 120", "steps = 1").replace("warmup_steps = 2", "warmup_steps = 1");
    let settings = place.settings("run", |text| short(text).replace("out = 'run'", &out));
    let arguments = ["train", "--config", settings.to_str().unwrap()];
    let train = || run(&disk, &arguments);
    let output = train();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let whole = disk.pages("run");
    let saved = whole - disk.pages("run/final");
    let (mut errors, mut said) = (BTreeSet::new(), String::new());
    for pages in [0, 1, 2, 4, saved / 2, saved - 1, saved, whole - 1] {
        fs::remove_dir_all(disk.seen("run")).unwrap();
        disk.fill(pages);
        let output = train();
        if !disk.is_real() && output.status.success() {
            continue;
        }
        errors.insert(complaint(&disk, &output));
        said += &String::from_utf8(output.stderr).unwrap();
        assert_eq!(disk.halves("run"), Vec::<std::path::PathBuf>::new());
        assert!(!disk.seen("run/final").exists());
    }
    assert!(!errors.is_empty());
    let parts =
        ["/run/cache/", "/run/metrics.jsonl", "/run/checkpoints/", "/checksums.partial", "/run/.partial-final/"];
    for part in if disk.is_real() { &parts[..] } else { &[] } {
        assert!(errors.iter().any(|error| error.contains(part)), "{part}: {errors:?}");
    }
    let complaints =
        ["settings.toml", "report.html"].map(|name| format!("cannot write {}", disk.inside("run/") + name));
    assert!(!disk.is_real() || complaints.iter().all(|line| said.contains(line)), "{said}");
    disk.make_room();
    let output = train();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // Its only step is in the checkpoint that was saved before the disk was full.
    assert!(!disk.is_real() || String::from_utf8_lossy(&output.stderr).contains("going on after step 1"), "{output:?}");
    assert!(disk.seen("run/final/config.json").exists());
}

#[test]
fn a_checkpoint_that_does_not_fit_leaves_nothing_and_is_written_when_there_is_room() {
    let disk = SmallDisk::new(8);
    let (source, out) = (fixture("gemma2-source").to_str().unwrap().to_owned(), disk.inside("out"));
    let commands = [
        &["adapt", "--encoder", &source, "--decoder", &source, "--out", &out][..],
        &["quantize", "--scheme", "int4", "--out", &out],
    ];
    for arguments in commands {
        assert_eq!(run(&disk, arguments).status.code(), Some(0));
        let whole = disk.pages("out");
        for pages in [0, whole / 2, whole - 1] {
            // A shortage that shows before may leave no folder at all.
            let _ = fs::remove_dir_all(disk.seen("out"));
            disk.fill(pages);
            let output = run(&disk, arguments);
            if !disk.is_real() && pages > 0 && output.status.success() {
                continue;
            }
            complaint(&disk, &output);
            assert_eq!(disk.pages("out"), 0, "{:?}", disk.halves("out"));
        }
        disk.make_room();
        let _ = fs::remove_dir_all(disk.seen("out"));
        assert_eq!(run(&disk, arguments).status.code(), Some(0));
        assert_eq!(disk.pages("out"), whole);
        fs::remove_dir_all(disk.seen("out")).unwrap();
    }
}

#[test]
fn a_result_that_does_not_fit_leaves_the_earlier_one_whole() {
    let (disk, place) = (SmallDisk::new(1), tempfile::tempdir().unwrap());
    let rows = place.path().join("rows").to_str().unwrap().to_owned();
    fs::write(&rows, r#"{"text": "one two three"}"#).unwrap();
    let (predictions, page) = (disk.inside("predictions"), disk.inside("page.md"));
    let eval = ["eval", "--threads", "1", "--metrics", "loss", "--data", &rows, "--out", &predictions];
    // It is told before anything is measured.
    let bench = ["bench", "--sweep", "--source", "5000", "--report", &page];
    for (arguments, name) in [(&eval[..], "predictions"), (&bench, "page.md")] {
        fs::write(disk.seen(name), "earlier").unwrap();
        disk.fill(0);
        let output = run(&disk, arguments);
        let error = complaint(&disk, &output);
        assert!(error.contains(&disk.inside(name)), "{error}");
        assert!(name != "predictions" || String::from_utf8_lossy(&output.stdout).contains("\nloss "), "{output:?}");
        assert_eq!(fs::read_to_string(disk.seen(name)).unwrap(), "earlier");
        assert_eq!(disk.halves(""), Vec::<std::path::PathBuf>::new());
        disk.make_room();
    }
    assert_eq!(run(&disk, &eval).status.code(), Some(0));
    assert!(fs::read_to_string(disk.seen("predictions")).unwrap().starts_with("{\"line\":1"));
}

#[test]
fn results_of_a_batch_that_do_not_fit_are_written_when_there_is_room() {
    let (disk, place) = (SmallDisk::new(1), tempfile::tempdir().unwrap());
    let requests = place.path().join("requests.jsonl").to_str().unwrap().to_owned();
    let results = disk.inside("results.jsonl");
    let line = |index| {
        json!({"custom_id": format!("r{index}"), "method": "POST", "url": "/tokenize",
        "body": {"prompt": "one two three four five six seven eight nine ten eleven twelve"}})
    };
    fs::write(&requests, (0..40).map(|index| format!("{}\n", line(index))).collect::<String>()).unwrap();
    let batch = ["batch", "--threads", "1", "--in", &requests, "--out", &results];
    let names = || {
        let text = fs::read_to_string(disk.seen("results.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["custom_id"].to_string());
        lines.collect::<BTreeSet<_>>().len()
    };
    let mut before = 0;
    for pages in [0, 1] {
        disk.fill(pages);
        let output = run(&disk, &batch);
        let error = complaint(&disk, &output);
        assert!(error.contains("make room and repeat the command"), "{error}");
        assert!(names() >= before && names() < 40, "{}", names());
        before = names();
    }
    assert!(before > 0, "a page has room for results");
    disk.make_room();
    let output = run(&disk, &batch);
    assert_eq!((output.status.code(), names()), (Some(0), 40), "{output:?}");
}

async fn post(server: &ServerProcess, path: &str, body: &Value) -> Response {
    Client::new().post(format!("http://{}{path}", server.address)).json(body).send().await.unwrap()
}

async fn assert_full(refused: Response) {
    assert_eq!((refused.status().as_u16(), &refused.headers()["x-should-retry"]), (507, &"false".parse().unwrap()));
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["error"]["code"], "storage_full", "{refused}");
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("the disk of the server is full: "), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_a_full_disk_refuses_files_and_batches_and_goes_on_with_those_that_it_has() {
    let (disk, place) = (SmallDisk::new(1), tempfile::tempdir().unwrap());
    let config = place.path().join("config.toml");
    let folder = disk.inside("kept");
    let settings = format!("[server]\ndrain_delay_s = 0\n[batches]\nfolder = {folder:?}\n");
    fs::write(&config, settings).unwrap();
    let arguments = ["serve", "--port", "0", "--threads", "1", "--config", config.to_str().unwrap()];
    let server = ServerProcess::spawn(&mut disk.give_to(&command(&arguments)));
    disk.is_used_by(server.id());
    // Enough results for several pages.
    let requests = completions(40, 12);
    disk.fill(0);
    assert_full(upload_form(&server, &requests).await).await;
    assert_eq!((disk.pages("kept"), get(&server, "/v1/files").await["data"].as_array().unwrap().len()), (0, 0));
    disk.make_room();
    let file: Value = upload_form(&server, &requests).await.json().await.unwrap();
    let asked = json!({"input_file_id": file["id"], "endpoint": "/v1/completions", "completion_window": "1h"});
    disk.fill(0);
    assert_full(post(&server, "/v1/batches", &asked).await).await;
    assert_eq!(get(&server, "/v1/batches").await["data"].as_array().unwrap().len(), 0);
    // One page for the record, one for its successor, two for results; where the limit is of each file, one of results.
    disk.fill(if disk.is_real() { 4 } else { 1 });
    let batch: Value = post(&server, "/v1/batches", &asked).await.json().await.unwrap();
    let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
    let until = async |is_so: &dyn Fn(&Value) -> bool| {
        let start = Instant::now();
        loop {
            let batch = get(&server, &path).await;
            if is_so(&batch) {
                return batch;
            }
            assert!(start.elapsed() < PATIENCE, "{batch}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let count = |batch: &Value| batch["request_counts"]["completed"].as_u64().unwrap();
    until(&|batch| count(batch) > 0).await;
    // It still answers.
    let short = json!({"prompt": "a game", "max_tokens": 2});
    assert_eq!(post(&server, "/v1/completions", &short).await.status(), 200);
    // Several looks later.
    let (mut seen, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(400) {
        let now = count(&get(&server, &path).await);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(seen < 40, "it did not meet the end of the disk");
    disk.make_room();
    let ended = until(&|batch| batch["status"] == "completed").await;
    assert_eq!(ended["request_counts"], json!({"total": 40, "completed": 40, "failed": 0}));
    let output = format!("kept/files/{}.jsonl", ended["output_file_id"].as_str().unwrap());
    let names = fs::read_to_string(disk.seen(&output)).unwrap();
    let names: BTreeSet<_> =
        names.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["custom_id"].to_string()).collect();
    assert_eq!(names.len(), 40, "each once");
    assert_eq!(disk.halves("kept"), Vec::<std::path::PathBuf>::new());
    server.terminate();
    let (status, log) = server.end_with_log();
    assert!(status.success());
    let said = |line: &String| line.contains("a batch cannot go on; it is tried again") && line.contains(disk.reason());
    assert!(log.iter().any(said), "{log:?}");
}
