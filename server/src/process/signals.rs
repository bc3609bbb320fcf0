//! Signals that ask the process to end: SIGTERM, an interrupt from the keyboard, or the end of the terminal.
//!
//! Called by the `serve` and `train` commands, which decide what each signal ends.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A request to end the process, by its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndSignal {
    /// SIGTERM: an orchestrator, which may still send requests for a while.
    Terminate,
    /// SIGINT: the keyboard.
    Interrupt,
    /// SIGHUP: the terminal is gone.
    Hangup,
}

impl std::fmt::Display for EndSignal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Hangup => "SIGHUP",
        })
    }
}

/// Listens for signals that ask the process to end: SIGTERM, SIGINT (the keyboard) and SIGHUP (the end of the
/// terminal).
#[derive(Debug)]
pub struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
    /// Absent if the process was started with SIGHUP ignored, as by `nohup`.
    hangup: Option<Signal>,
}

impl EndSignals {
    /// Installs the listeners. From now on these signals do not end the process by themselves.
    ///
    /// # Errors
    /// When the system does not allow listening to signals.
    pub fn listen() -> io::Result<Self> {
        let hangup = (!ignores_hangup()).then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self { hangup, ..Self::listen_without_hangup()? })
    }

    /// Installs the listeners of SIGTERM and SIGINT only.
    ///
    /// # Errors
    /// When the system does not allow listening to signals.
    pub fn listen_without_hangup() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: None,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> EndSignal {
        tokio::select! {
            _ = self.terminate.recv() => EndSignal::Terminate,
            _ = self.interrupt.recv() => EndSignal::Interrupt,
            () = next_of(self.hangup.as_mut()) => EndSignal::Hangup,
        }
    }
}

/// Listens for SIGHUP as the request to read files again, even if the process was started with SIGHUP ignored.
#[derive(Debug)]
pub struct ReloadSignal(Signal);

impl ReloadSignal {
    /// Installs the listener.
    ///
    /// # Errors
    /// When the system does not allow listening to signals.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next signal; `None` if no more can come.
    pub async fn next(&mut self) -> Option<()> {
        self.0.recv().await
    }
}

/// Ready with the next signal of this kind; never ready if it is absent.
async fn next_of(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether the process was started with SIGHUP ignored.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & 1 << (SignalKind::hangup().as_raw_value() - 1) != 0
}
