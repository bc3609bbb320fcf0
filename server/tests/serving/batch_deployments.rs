//! The examples under deploy/batch: run as a cluster would run them, their shards answer every request once.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::process::{command, end_output};

const REQUESTS: usize = 10;

fn example(name: &str) -> String {
    format!("{}/../deploy/batch/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A folder with requests that need no model to be answered.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let line = |index: usize| {
        let body = json!({"prompt": format!("text {index}")});
        format!("{}\n", json!({"custom_id": format!("r{index}"), "method": "POST", "url": "/tokenize", "body": body}))
    };
    std::fs::write(folder.path().join("requests.jsonl"), (0..REQUESTS).map(line).collect::<String>()).unwrap();
    folder
}

fn names(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let results = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let named = results.map(|result| {
        assert_eq!(result["response"]["status_code"], 200, "{result}");
        result["custom_id"].as_str().unwrap().to_owned()
    });
    named.collect()
}

#[test]
fn the_tasks_of_a_slurm_array_answer_every_request_once() {
    let folder = folder();
    let results = folder.path().join("results");
    let mut all = Vec::new();
    for task in 0..2 {
        let mut script = Command::new("sh");
        script.arg(example("slurm.sh")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        script.env("REQUESTS", folder.path().join("requests.jsonl")).env("RESULTS", &results);
        script.env("SERVER", env!("CARGO_BIN_EXE_server")).env("SLURM_CPUS_PER_TASK", "1");
        script.env("SLURM_ARRAY_TASK_ID", task.to_string()).env("SHARDS", "2");
        let output = end_output(script);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        all.extend(names(&results.join(format!("{task}.jsonl"))));
    }
    all.sort();
    assert_eq!(all, (0..REQUESTS).map(|index| format!("r{index}")).collect::<Vec<_>>());
}

#[test]
fn a_pod_of_the_kubernetes_job_answers_its_shard() {
    let folder = folder();
    let text = std::fs::read_to_string(example("kubernetes-job.yaml")).unwrap();
    let (_, rest) = text.split_once("          args:\n").unwrap();
    let items = rest.lines().map_while(|line| line.strip_prefix("            - "));
    let root = format!("{}/", folder.path().to_str().unwrap());
    let given = |item: &str| item.trim_matches('"').replace("$(SHARD)", "1").replace("/batch/", &root);
    let arguments: Vec<String> = items.map(given).collect();
    let arguments: Vec<&str> = arguments.iter().map(|one| if one == "8" { "1" } else { one }).collect();
    let mut pod = command(&arguments);
    let output = end_output({
        pod.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        pod
    });
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut names = names(&folder.path().join("results-1.jsonl"));
    // Results come as they are finished.
    names.sort();
    assert_eq!(names, ["r1", "r9"]);
}
