//! The server as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use crate::answer::PATIENCE;

/// The program with these arguments, run to its end.
pub fn run(arguments: &[&str]) -> Output {
    command(arguments).stdin(Stdio::null()).output().expect("the binary is built with its tests")
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args(arguments);
    command
}

/// The one line of complaint of a command that failed.
pub fn complaint(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "standard output carries answers only");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text.strip_prefix("error: ").unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Resident memory of a process.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub now_kib: u64,
    /// The most at any time.
    pub peak_kib: u64,
}

/// A server that has said where it listens. Killed when it is dropped.
pub struct ServerProcess {
    child: Child,
    pub address: SocketAddr,
    /// All that it said.
    pub message: Vec<String>,
}

impl ServerProcess {
    pub fn start(arguments: &[&str]) -> Self {
        Self::logging(arguments, Stdio::inherit())
    }

    /// With another standard error.
    pub fn logging(arguments: &[&str], stderr: Stdio) -> Self {
        let mut command = command(arguments);
        command.stderr(stderr);
        if !arguments.contains(&"--config") {
            command.args(["--config", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serving/process.toml")]);
        }
        let mut child = command.args(["--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut message = Vec::new();
        while !message.last().is_some_and(|line: &String| line.starts_with("try ")) {
            message.push(lines.next().expect("the message ends with a line to try").unwrap());
        }
        let address = message[0].split_once("http://").expect("an address").1.parse().unwrap();
        Self { child, address, message }
    }

    /// The command that it says can be tried.
    pub fn curl_line(&self) -> &str {
        self.message.last().unwrap().strip_prefix("try ").unwrap().trim()
    }

    pub fn terminate(&self) {
        terminate(&self.child);
    }

    /// Processor time of all its threads so far, in hundredths of a second.
    pub fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name, in parentheses, may hold anything; user and system time are the 14th and 15th field.
        let after_name = stat.rsplit_once(')').unwrap().1;
        after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// What it takes of memory, and took since it was asked before.
    pub fn memory(&self) -> Memory {
        let file = |name: &str| format!("/proc/{}/{name}", self.child.id());
        let status = std::fs::read_to_string(file("status")).unwrap();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says so");
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        let memory = Memory { now_kib: kib("VmRSS:"), peak_kib: kib("VmHWM:") };
        // Begins the peak anew.
        std::fs::write(file("clear_refs"), "5").unwrap();
        memory
    }

    /// Waits for the end of the process.
    pub fn end(mut self) -> ExitStatus {
        end(&mut self.child)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command that ends by itself has said.
pub fn end_output(mut command: Command) -> Output {
    let mut child = command.spawn().unwrap();
    let status = end(&mut child);
    let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    stdout.read_to_end(&mut output.stdout).unwrap();
    stderr.read_to_end(&mut output.stderr).unwrap();
    output
}

/// Sends SIGTERM.
pub fn terminate(child: &Child) {
    let status = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap();
    assert!(status.success());
}

/// Waits for the end of the process.
pub fn end(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "the process does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}
