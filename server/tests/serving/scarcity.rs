//! A system that gives too little, to the real process: it ends with a sentence, and announces nothing.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::process::end_output;

/// Somebody who is not root, for whom limits of threads hold.
const NOBODY: u32 = 65_534;

/// The server under a limit that the shell sets.
fn limited(binary: &Path, limit: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]).arg(binary);
    command.args(["serve", "--port", "0", "--threads", "1"]).env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn assert_one_sentence(limit: &str, output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{limit}: {output:?}");
    assert!(output.stdout.is_empty(), "{limit}: nothing is announced: {output:?}");
    assert!(error.starts_with("error: ") && error.lines().count() == 1, "{limit}: {error}");
    error
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_server"))
}

#[test]
fn too_few_file_descriptors_end_the_server_with_a_sentence() {
    for count in [10, 64, 200] {
        let limit = format!("ulimit -n {count}");
        let error = assert_one_sentence(&limit, &end_output(limited(binary(), &limit)));
        assert!(error.contains("file descriptors"), "{error}");
    }
}

#[test]
fn too_few_threads_end_the_server_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("server");
    std::fs::copy(binary(), &copy).unwrap();
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    for count in 1..=5 {
        // Shells disagree about the letter.
        let limit = format!("ulimit -u {count} 2>/dev/null || ulimit -p {count}");
        let mut command = limited(&copy, &limit);
        if is_root {
            command.uid(NOBODY);
        }
        let error = assert_one_sentence(&limit, &end_output(command));
        assert!(error.contains("threads"), "{error}");
    }
}
