//! Standard output and standard error on a full disk or behind a closed pipe: files are written all the same.

use std::fs::File;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::answer::PATIENCE;
use crate::process::{command, end};
use crate::train::{Place, fixture, signal};

/// Where nothing can be written to.
#[derive(Debug, Clone, Copy)]
enum Nowhere {
    FullDisk,
    ClosedPipe,
}

const BOTH: [Nowhere; 2] = [Nowhere::FullDisk, Nowhere::ClosedPipe];

impl Nowhere {
    fn stream(self) -> Stdio {
        match self {
            Self::FullDisk => File::options().write(true).open("/dev/full").unwrap().into(),
            Self::ClosedPipe => {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                writer.into()
            }
        }
    }

    fn take(self, command: &mut Command) -> &mut Command {
        command.stdin(Stdio::null()).stdout(self.stream()).stderr(self.stream())
    }

    fn run(self, arguments: &[&str]) -> ExitStatus {
        end(&mut self.take(&mut command(arguments)).spawn().unwrap())
    }
}

#[test]
fn a_run_that_nobody_can_be_told_of_trains_to_its_end() {
    for nowhere in BOTH {
        let place = Place::new();
        let settings = place.settings("run", |text| text.replace("steps = 120", "steps = 2"));
        let status = nowhere.run(&["train", "--config", settings.to_str().unwrap()]);
        assert_eq!(status.code(), Some(0), "{nowhere:?}");
        assert!(place.path("run/final/config.json").exists(), "{nowhere:?}");
    }
}

#[test]
fn a_run_that_nobody_can_be_told_of_is_stopped_with_a_checkpoint() {
    for (nowhere, name) in BOTH.into_iter().zip(["TERM", "HUP"]) {
        let place = Place::new();
        let settings = place.settings("run", |text| text.replace("steps = 120", "steps = 100000"));
        let mut child = nowhere.take(&mut command(&["train", "--config", settings.to_str().unwrap()])).spawn().unwrap();
        let start = Instant::now();
        while !std::fs::read_to_string(place.path("run/metrics.jsonl")).is_ok_and(|text| text.contains('\n')) {
            assert!(start.elapsed() < PATIENCE, "no step is taken");
            std::thread::sleep(Duration::from_millis(2));
        }
        signal(&child, name);
        assert_eq!(end(&mut child).code(), Some(0), "{nowhere:?}");
        assert_eq!(std::fs::read_dir(place.path("run/checkpoints")).unwrap().count(), 1, "{nowhere:?}");
    }
}

/// A limit on file size stands in for a full disk: a metrics file of that size takes no further line.
#[test]
fn a_metrics_file_that_takes_no_more_ends_the_run_with_an_error_after_a_checkpoint() {
    let place = Place::new();
    let settings = place.settings("run", |text| text.replace("valid = ['valid.jsonl']\n", ""));
    // Shells count in blocks of different sizes.
    let limits = Command::new("sh").args(["-c", "ulimit -f 8000; cat /proc/self/limits"]).output().unwrap().stdout;
    let limits = String::from_utf8(limits).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max file size")).unwrap();
    let limit: usize = line.split_whitespace().next().unwrap().parse().unwrap();
    let record = |sample: &str| {
        format!(
            "{{\"kind\":\"validation\",\"step\":0,\"valid_loss\":1.0,\"accuracy\":0.0,\"perplexity\":2.0,\"tokens\":1,\
             \"best\":false,\"elapsed_s\":0.0,\"samples\":[{{\"source\":\"{sample}\",\"expected\":\"\",\"written\":\"\"}}]}}\n"
        )
    };
    let fill = limit - 100 - record("").len();
    std::fs::create_dir(place.path("run")).unwrap();
    std::fs::write(place.path("run/metrics.jsonl"), record(&"a".repeat(fill))).unwrap();
    let script = "trap '' XFSZ; ulimit -f 8000; exec \"$0\" train --config \"$1\"";
    let server = command(&[]).get_program().to_owned();
    let output = Command::new("sh").args(["-c", script]).arg(server).arg(settings).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot write") && told.contains("run/metrics.jsonl"), "{told}");
    assert!(place.path("run/checkpoints/step-00000001/checksums").exists(), "what was computed is saved");
}

#[test]
fn a_command_whose_result_is_a_file_ends_well_and_one_whose_result_is_lost_says_so() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let source = fixture("gemma2-source").to_str().unwrap().to_owned();
    std::fs::write(path("rows"), r#"{"text": "one two three"}"#).unwrap();
    for nowhere in BOTH {
        let adapt = ["adapt", "--encoder", &source, "--decoder", &source, "--out", &path(&format!("{nowhere:?}"))];
        assert_eq!(nowhere.run(&adapt).code(), Some(0), "{nowhere:?}");
        let quantize = ["quantize", "--scheme", "int8", "--out", &path(&format!("{nowhere:?} int8"))];
        assert_eq!(nowhere.run(&quantize).code(), Some(0), "{nowhere:?}");
        for lost in [
            &["eval", "--threads", "1", "--data", &path("rows")][..],
            &["generate", "--threads", "1", "--max-tokens", "2", "one"],
            &["bench", "--shape", "nothing"],
            &["quantize", "--scheme", "int8", "--out", &path("rows")],
        ] {
            assert_eq!(nowhere.run(lost).code(), Some(1), "{nowhere:?}: {lost:?}");
        }
    }
}
