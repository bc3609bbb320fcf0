//! Trials: a grammar is first compiled in a process of its own, which may run out of time, memory or stack.
//!
//! A library that compiles what strangers write can be led into deep recursion and into work that doubles with every
//! level; within the server neither could be stopped. The process compiles with a vocabulary of single bytes, on a
//! smaller stack than the server's threads have.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use llguidance::ParserFactory;
use llguidance::toktrie::ApproximateTokEnv;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::grammar::{Grammar, GrammarError};
use super::vocabulary::LIMITS;

/// The command of the program that holds a trial.
pub const COMMAND: &str = "try-grammar";
/// Exit status of a trial that found a reason to refuse the grammar. The reason is on standard output.
pub const REFUSED: u8 = 3;

/// Processor time of a trial.
const SECONDS: u64 = 2;
/// Time until a trial on a busy machine is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Address space of a trial.
const BYTES: u64 = 1 << 30;
/// Stack of the thread that compiles: less than the 2 MiB of the server's threads.
const STACK_BYTES: usize = 1 << 20;
/// Most bytes of a reason.
const REASON_BYTES: usize = 4096;

/// Where trials are held.
#[derive(Debug, Clone)]
pub enum Trials {
    /// In a process of this program.
    Process(PathBuf),
    /// Nowhere: for programs that trust their grammars.
    None,
}

impl Trials {
    /// Holds a trial.
    ///
    /// # Errors
    /// With the reason for which the grammar is refused; [`GrammarError::TooLarge`] when the trial did not end well;
    /// [`GrammarError::Failed`] when there was none.
    pub async fn pass(&self, grammar: &Grammar) -> Result<(), GrammarError> {
        let Self::Process(program) = self else { return Ok(()) };
        let input = serde_json::to_vec(grammar).map_err(|_| GrammarError::Failed)?;
        let arguments: [OsString; 1] = [COMMAND.into()];
        let command = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let Ok(trial) = command else { return Err(GrammarError::Failed) };
        match tokio::time::timeout(PATIENCE, outcome(trial, input)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(GrammarError::TooLarge),
        }
    }
}

async fn outcome(mut trial: Child, input: Vec<u8>) -> Result<(), GrammarError> {
    if let Some(mut stdin) = trial.stdin.take() {
        // A trial that ends early does not read to the end; its status says why.
        let _ = stdin.write_all(&input).await;
    }
    let output = trial.wait_with_output().await.map_err(|_| GrammarError::Failed)?;
    judged(output.status, &output.stdout)
}

fn judged(status: ExitStatus, reason: &[u8]) -> Result<(), GrammarError> {
    match status.code() {
        Some(0) => Ok(()),
        Some(code) if code == i32::from(REFUSED) => {
            Err(GrammarError::Refused(String::from_utf8_lossy(reason).into_owned()))
        }
        _ => Err(GrammarError::TooLarge),
    }
}

/// Holds a trial in this process, of the grammar on standard input.
///
/// # Errors
/// The reason for which the grammar is refused.
pub fn hold(mut input: impl Read) -> Result<(), String> {
    let mut text = Vec::new();
    input.read_to_end(&mut text).map_err(|error| error.to_string())?;
    let grammar: Grammar = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    limit(Resource::As, BYTES);
    limit(Resource::Cpu, SECONDS);
    // A core of a trial is of no use.
    limit(Resource::Core, 0);
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || match compile(grammar) {
        Ok(()) => Ok(()),
        Err(error) => Err(error.to_string().chars().take(REASON_BYTES / 4).collect()),
    });
    let compiled = thread.map_err(|error| error.to_string())?.join();
    compiled.unwrap_or_else(|_| Err(GrammarError::Failed.to_string()))
}

fn compile(grammar: Grammar) -> Result<(), GrammarError> {
    static BYTES_ALONE: LazyLock<ParserFactory> = LazyLock::new(|| {
        let mut factory = ParserFactory::new(&ApproximateTokEnv::single_byte_env(), Default::default(), &[])
            .expect("there are no slices to compile");
        *factory.limits_mut() = LIMITS;
        factory.quiet();
        factory
    });
    grammar.matcher(&BYTES_ALONE).map(drop)
}

/// Lowers a limit of this process. A limit that cannot be set is left to the others.
fn limit(resource: Resource, most: u64) {
    let maximum = getrlimit(resource).maximum;
    let most = maximum.map_or(most, |maximum| maximum.min(most));
    let _ = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
}
