//! The program as a process.

use std::process::{Command, Output};

use serde_json::Value;

/// Exit code, figures and messages of a run.
pub struct Ran {
    pub code: i32,
    pub figures: Value,
    pub errors: String,
}

impl Ran {
    pub fn figure(&self, key: &str) -> f64 {
        self.figures[key].as_f64().unwrap_or_else(|| panic!("{key}: {}", self.figures))
    }
}

/// Runs the program with these flags, in an environment without keys.
pub fn run(flags: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    let output = output(&[flags, &["--json", json.to_str().unwrap()]].concat());
    let figures = std::fs::read_to_string(json).unwrap_or_default();
    Ran {
        code: output.status.code().unwrap(),
        figures: serde_json::from_str(&figures).unwrap_or_default(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the program with exactly these arguments.
pub fn output(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments).env_remove("OPENAI_API_KEY").env_remove("LOADTEST_API_KEY");
    command.output().unwrap()
}
