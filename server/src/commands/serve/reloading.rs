//! Signals of a running server: those that end it, and the one that has keys and certificate read anew.
//!
//! Called by `serve`.

use std::time::Duration;

use crate::access::{Credentials, FileWatch};
use crate::config::AccessConfig;
use crate::process::signals::{EndSignals, ReloadSignal};

/// Listens for the signals that end the server. Where there are keys or a certificate, SIGHUP is none of them: it has
/// their files read anew, and so has a change of these files, which `watch` has seen since before they were read.
///
/// # Errors
/// When the system does not allow listening to signals.
pub fn listen_for_signals(
    access: &AccessConfig,
    credentials: &Credentials,
    watch: FileWatch,
) -> std::io::Result<EndSignals> {
    if !access.credentials.any() {
        return EndSignals::listen();
    }
    let asked = ReloadSignal::listen()?;
    tokio::spawn(keep_reading(watch, credentials.clone(), asked, access.reload_interval));
    EndSignals::listen_without_hangup()
}

async fn keep_reading(
    mut watch: FileWatch,
    credentials: Credentials,
    mut asked: ReloadSignal,
    interval: Option<Duration>,
) {
    loop {
        let is_asked = tokio::select! {
            signal = asked.next() => match signal {
                Some(()) => true,
                None => return,
            },
            () = tokio::time::sleep(interval.unwrap_or_default()), if interval.is_some() => false,
        };
        let credentials = credentials.clone();
        // A disk may keep its reader waiting, and no request should wait with it.
        let reading = tokio::task::spawn_blocking(move || {
            if is_asked {
                watch.read_anew(&credentials);
            } else {
                watch.read_if_changed(&credentials);
            }
            watch
        });
        watch = match reading.await {
            Ok(watch) => watch,
            // The runtime ends.
            Err(_) => return,
        };
    }
}
