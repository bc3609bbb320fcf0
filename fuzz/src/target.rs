//! A parser with the inputs that its mutations begin from, and how an input is judged.

use std::panic::PanicHookInfo;
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// Panics of any thread since the last look: those of a task or of an engine end nothing by themselves.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static LISTEN: Once = Once::new();

/// A parser of bytes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, for reports and folders.
    pub name: &'static str,
    /// Inputs that are accepted, or nearly.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Parses one input; what it makes of it does not matter.
    pub parse: fn(&[u8]),
    /// Longest time for one input.
    pub patience: Duration,
}

impl Target {
    /// Parses one input.
    ///
    /// # Panics
    /// When anything in the process panicked meanwhile that is not caught, or the input took longer than the target's
    /// patience.
    pub fn run(&self, input: &[u8]) {
        LISTEN.call_once(|| std::panic::set_hook(Box::new(note)));
        let start = Instant::now();
        (self.parse)(input);
        let took = start.elapsed();
        let panics = std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(panics.is_empty(), "{} panics on {}:\n{}", self.name, shown(input), panics.join("\n"));
        assert!(took <= self.patience, "{} takes {took:?} for {}", self.name, shown(input));
    }
}

/// Libraries that catch their own panics and make errors of them.
const CATCH_THEIR_OWN: [&str; 3] = ["/llguidance-", "/derivre-", "/toktrie-"];

fn note(panic: &PanicHookInfo<'_>) {
    let file = panic.location().map_or("", |location| location.file());
    if CATCH_THEIR_OWN.iter().any(|library| file.contains(library)) {
        return;
    }
    eprintln!("{panic}");
    PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
}

/// An input in a form that can be pasted into a test.
fn shown(input: &[u8]) -> String {
    const MOST: usize = 4096;
    let text = input[..input.len().min(MOST)].escape_ascii();
    if input.len() > MOST { format!("b\"{text}\"... ({} bytes)", input.len()) } else { format!("b\"{text}\"") }
}
