//! Signals of a running server: those that end it, and the one that has keys and certificate read anew.
//!
//! Called by `serve`.

use std::time::Duration;

use crate::access::{CredentialFiles, Credentials, FileWatch};
use crate::config::AccessConfig;
use crate::process::signals::{EndSignals, ReloadSignal};

/// Listens for the signals that end the server. Where there are keys or a certificate, SIGHUP is none of them: it has
/// their files read anew, and so has a change of these files.
///
/// # Errors
/// When the system does not allow listening to signals.
pub fn listen_for_signals(access: &AccessConfig, credentials: &Credentials) -> std::io::Result<EndSignals> {
    let files = access.credentials.clone();
    if !files.any() {
        return EndSignals::listen();
    }
    let asked = ReloadSignal::listen()?;
    tokio::spawn(keep_reading(files, credentials.clone(), asked, access.reload_interval));
    EndSignals::listen_without_hangup()
}

async fn keep_reading(
    files: CredentialFiles,
    credentials: Credentials,
    mut asked: ReloadSignal,
    interval: Option<Duration>,
) {
    let mut watch = FileWatch::new(files.clone());
    loop {
        tokio::select! {
            signal = asked.next() => match signal {
                Some(()) => {
                    files.read_anew(&credentials);
                    // What is there now is read.
                    watch = FileWatch::new(files.clone());
                }
                None => return,
            },
            () = tokio::time::sleep(interval.unwrap_or_default()), if interval.is_some() => {
                if watch.has_changed() {
                    files.read_anew(&credentials);
                }
            }
        }
    }
}
