//! How a call that waits in the queue learns that it was shed after all.

use std::sync::OnceLock;

use tokio::sync::Notify;

use crate::request::Shed;

/// Set when the call is taken from the queue.
#[derive(Debug, Default)]
pub struct Recall {
    shed: OnceLock<Shed>,
    told: Notify,
}

impl Recall {
    /// Tells the call. Only the first time counts.
    pub fn tell(&self, shed: Shed) {
        if self.shed.set(shed).is_ok() {
            self.told.notify_one();
        }
    }

    /// Returns when the call was told; never if it stays. One task waits at a time.
    pub async fn told(&self) -> Shed {
        loop {
            if let Some(shed) = self.shed() {
                return shed;
            }
            self.told.notified().await;
        }
    }

    /// The reason that the call was told, if it was.
    pub fn shed(&self) -> Option<Shed> {
        self.shed.get().copied()
    }
}
