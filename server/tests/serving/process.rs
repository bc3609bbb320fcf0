//! The server as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::answer::PATIENCE;

/// Settings of servers whose tests have none of their own.
pub const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serving/process.toml");

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
    /// Its two messages when it accepts requests: the facts, and a command to try.
    pub message: [String; 2],
    /// All later lines of its log.
    log: Option<JoinHandle<Vec<String>>>,
}

impl ServerProcess {
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut Self::on_any_port(arguments))
    }

    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut find = |mark: &str| lines.find(|line| line.contains(mark)).expect("it says so before its log ends");
        let message = [find(" listens on http://"), find("try: ")];
        let address = address_in(&message[0]);
        let rest = std::thread::spawn(move || lines.inspect(|line| eprintln!("{line}")).collect());
        Self { child, address, message, log: Some(rest) }
    }

    /// With another standard error, on which it cannot say anything.
    pub fn logging(arguments: &[&str], stderr: Stdio) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Self::on_any_port(arguments);
        let child = command.env("NOTIFY_SOCKET", folder.path().join("notify")).stderr(stderr).spawn().unwrap();
        let mut told = [0; 128];
        let count = manager.recv(&mut told).unwrap();
        let address = address_in(std::str::from_utf8(&told[..count]).unwrap());
        Self { child, address, message: Default::default(), log: None }
    }

    fn on_any_port(arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        if !arguments.contains(&"--config") {
            command.args(["--config", SETTINGS]);
        }
        command.args(["--port", "0"]);
        command
    }

    /// The command that it says can be tried.
    pub fn curl_line(&self) -> &str {
        self.message[1].split_once("try: ").unwrap().1.trim()
    }

    /// Waits for the end of the process; what it said after its start message.
    pub fn end_with_log(mut self) -> (ExitStatus, Vec<String>) {
        let status = end(&mut self.child);
        let log = self.log.take().expect("it is taken once").join().unwrap();
        (status, log)
    }

    pub fn terminate(&self) {
        terminate(&self.child);
    }

    /// Sends another signal, by its name.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it had so far.
    pub fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the system counts it");
        1024 * peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }

    /// Processor time of all its threads so far, in hundredths of a second.
    pub fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name, in parentheses, may hold anything; user and system time are the 14th and 15th field.
        let after_name = stat.rsplit_once(')').unwrap().1;
        after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Its memory now, and the peak since the last call.
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

fn address_in(said: &str) -> SocketAddr {
    let address = said.split_once("listens on http://").expect("it says where").1;
    address.split([' ', '"', '\n']).next().unwrap().parse().unwrap()
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Output of a command that ends by itself.
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
    signal(child, "TERM");
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(status.success());
}

/// Waits for the end of the process.
pub fn end(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() >= PATIENCE {
            let _ = child.kill();
            panic!("the process does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
