//! The process as a shell sees it when it is used wrongly: exit code, and one readable line.

use std::process::{Command, Output};

fn server(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_server")).args(arguments).output().expect("the binary is built with its tests")
}

fn complaint(output: &Output) -> String {
    assert!(output.stdout.is_empty(), "standard output carries answers only");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn settings_that_cannot_be_used_are_one_line_and_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "[server]\nprot = 1\n[limits]\nchoices = 0\n").unwrap();
    let output = server(&["--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let line = complaint(&output);
    assert_eq!(line.lines().count(), 1, "{line}");
    for part in ["error: invalid configuration: ", "mine.toml: server.prot: unknown", "mine.toml: limits.choices: must"]
    {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn a_configuration_file_that_is_not_there_is_named_with_the_cause() {
    let output = server(&["serve", "--config", "/nowhere/at/all.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "error: cannot read the configuration file /nowhere/at/all.toml: No such file";
    assert!(complaint(&output).starts_with(expected));
}

#[test]
fn a_gpu_that_cannot_be_had_is_refused_with_the_cause() {
    if kernels::cuda::is_present() {
        return eprintln!("not run: this machine has a GPU");
    }
    let output = server(&["generate", "--device", "cuda", "hello"]);
    assert_eq!(output.status.code(), Some(2));
    let complaint = complaint(&output);
    assert!(
        complaint
            .starts_with("error: the GPU cannot be used; --device auto would take the processor: no GPU can be used: "),
        "{complaint}"
    );
    let output = server(&["generate", "--device", "cuda", "--dtype", "f32", "hello"]);
    assert!(self::complaint(&output).contains("float32 on a GPU is not available on this machine"), "{output:?}");
}

#[test]
fn unknown_flags_exit_2_and_help_exits_0() {
    assert_eq!(server(&["--colour", "red"]).status.code(), Some(2));
    assert_eq!(server(&["serve", "--model", "a", "--shape", "s-s"]).status.code(), Some(2));
    let help = server(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("bench"));
}
