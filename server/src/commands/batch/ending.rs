//! The end of a batch by a signal: the first one begins no further request, the second cuts off those under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::commands::error::{CommandError, io};
use crate::process::signals::EndSignals;

/// Signals that were received.
#[derive(Debug)]
pub struct Ending {
    is_asked: Arc<AtomicBool>,
    again: watch::Receiver<bool>,
}

impl Ending {
    /// Listens for signals. Must be called within a runtime.
    ///
    /// # Errors
    /// When the system does not allow listening to signals.
    pub fn listen() -> Result<Self, CommandError> {
        let mut signals = EndSignals::listen().map_err(io("wait for signals"))?;
        let (is_asked, (cut_off, again)) = (Arc::new(AtomicBool::new(false)), watch::channel(false));
        let asked = Arc::clone(&is_asked);
        tokio::spawn(async move {
            let signal = signals.next().await;
            asked.store(true, Ordering::Relaxed);
            tracing::info!(%signal, "asked to end: requests under way are finished first, unless asked again");
            signals.next().await;
            cut_off.send_replace(true);
        });
        Ok(Self { is_asked, again })
    }

    /// Set by the first signal.
    pub fn is_asked(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_asked)
    }

    /// Returns after the second signal.
    pub async fn asked_again(mut self) {
        if self.again.wait_for(|again| *again).await.is_err() {
            // No signal can come any more.
            std::future::pending::<()>().await;
        }
    }
}
