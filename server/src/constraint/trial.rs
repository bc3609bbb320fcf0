//! Trials: a grammar is first compiled in a process of its own, which may run out of time, memory or stack.
//!
//! A library that compiles what strangers write can be led into deep recursion and into work that doubles with every
//! level; within the server neither could be stopped. The process compiles with a vocabulary of single bytes, on a
//! smaller stack than the server's threads have.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Read;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use llguidance::ParserFactory;
use llguidance::toktrie::ApproximateTokEnv;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::fair_semaphore::FairSemaphore;
use super::grammar::{Grammar, GrammarError};
use super::vocabulary::factory;
use crate::request::Party;

/// The command of the program that holds a trial.
pub const COMMAND: &str = "try-grammar";
/// Exit status of a trial that found a reason to refuse the grammar. The reason is on standard output.
pub const REFUSED: u8 = 3;
/// Exit status of a trial that could not be held. The reason, which is not the grammar's, is on standard output.
pub const FAILED: u8 = 4;

/// Times a trial's processor time until it is given up on a busy machine.
const PATIENCE: u32 = 5;
/// Address space of a trial.
const BYTES: u64 = 1 << 30;
/// Stack of the thread that compiles: less than the 2 MiB of the server's threads.
const STACK_BYTES: usize = 1 << 20;
/// Most bytes of a reason.
const REASON_BYTES: usize = 4096;

/// Bounds on trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialLimits {
    /// Trials that are held at once, at least one; others wait, and their clients take turns.
    pub at_once: usize,
    /// Processor time of a trial.
    pub seconds: u64,
}

/// Where trials are held. Clones share their limits.
#[derive(Debug, Clone)]
pub struct Trials {
    /// The program, in a process of which they are held. Without one they are not held, for programs that trust their
    /// grammars.
    program: Option<PathBuf>,
    places: FairSemaphore,
    seconds: u64,
}

/// The end of a trial that was not passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialEnd {
    /// The grammar is refused, for this reason.
    Refused(String),
    /// The system failed, or the work could not be read.
    Failed(String),
}

/// The work of a trial, as the process reads it.
#[derive(Serialize, Deserialize)]
struct Work<G> {
    seconds: u64,
    grammar: G,
}

impl Trials {
    /// Trials in processes of this program; none are held without one.
    pub fn new(program: Option<PathBuf>, limits: TrialLimits) -> Self {
        let TrialLimits { at_once, seconds } = limits;
        Self { program, places: FairSemaphore::new(at_once), seconds }
    }

    /// Holds a trial for a client when it is the client's turn. It ends when nobody waits for it any more.
    ///
    /// # Errors
    /// With the reason for which the grammar is refused; [`GrammarError::TooLarge`] when the trial was ended by its
    /// limits; [`GrammarError::Failed`] when there was none, for a reason that the log has.
    pub async fn pass(&self, grammar: &Grammar, client: &Party) -> Result<(), GrammarError> {
        let Some(program) = &self.program else { return Ok(()) };
        let _place = self.places.acquire(client).await;
        let seconds = self.seconds;
        let input = serde_json::to_vec(&Work { seconds, grammar }).map_err(|error| failed(&error))?;
        let arguments: [OsString; 1] = [COMMAND.into()];
        let command = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let trial = command.map_err(|error| failed(&format_args!("{}: {error}", program.display())))?;
        match tokio::time::timeout(PATIENCE * Duration::from_secs(seconds), outcome(trial, input)).await {
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
    let output = trial.wait_with_output().await.map_err(|error| failed(&error))?;
    judged(output.status, &output.stdout)
}

/// The outcome that the end of the process tells. Limits end it with a signal.
fn judged(status: ExitStatus, reason: &[u8]) -> Result<(), GrammarError> {
    let reason = String::from_utf8_lossy(reason);
    match status.code() {
        Some(0) => Ok(()),
        Some(code) if code == i32::from(REFUSED) => Err(GrammarError::Refused(reason.into_owned())),
        Some(_) => Err(failed(&format_args!("{status}: {reason}"))),
        None => Err(GrammarError::TooLarge),
    }
}

/// Logs why there was no trial.
fn failed(problem: &dyn Display) -> GrammarError {
    tracing::error!(%problem, "a grammar could not be tried");
    GrammarError::Failed
}

/// Holds a trial in this process, of the grammar on standard input.
///
/// # Errors
/// When the grammar is refused, or the trial could not be held.
pub fn hold(mut input: impl Read) -> Result<(), TrialEnd> {
    let failed = |error: &dyn Display| TrialEnd::Failed(error.to_string());
    let mut text = Vec::new();
    input.read_to_end(&mut text).map_err(|error| failed(&error))?;
    let Work::<Grammar> { seconds, grammar } = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
    limit(Resource::As, BYTES);
    limit(Resource::Cpu, seconds);
    // A core of a trial is of no use.
    limit(Resource::Core, 0);
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || match compile(grammar) {
        Ok(()) => Ok(()),
        Err(error) => Err(TrialEnd::Refused(error.to_string().chars().take(REASON_BYTES / 4).collect())),
    });
    let compiled = thread.map_err(|error| failed(&error))?.join();
    compiled.unwrap_or_else(|_| Err(failed(&"the thread that compiles panicked")))
}

fn compile(grammar: Grammar) -> Result<(), GrammarError> {
    static BYTES_ALONE: LazyLock<ParserFactory> = LazyLock::new(|| factory(&ApproximateTokEnv::single_byte_env()));
    let make = |grammar| BYTES_ALONE.create_parser(grammar).map_err(|error| error.to_string());
    // The process has its own bound on memory.
    grammar.reader(make, usize::MAX).map(drop)
}

/// Lowers a limit of this process. A limit that cannot be set is left to the others.
fn limit(resource: Resource, most: u64) {
    let maximum = getrlimit(resource).maximum;
    let most = maximum.map_or(most, |maximum| maximum.min(most));
    let _ = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
}
