//! The quotas of clients, and what each has used of its own.
//!
//! Asked by `turn` for each request that enters a queue. Models share them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::access::KeyName;
use crate::overload::{Quota, Quotas};
use crate::request::{Party, Shed};
use crate::source_sharing::Client;

/// Quotas of all clients.
#[derive(Debug)]
pub struct QuotaBook {
    usual: Quota,
    of_keys: HashMap<KeyName, Quota>,
    used: Mutex<Quotas>,
    start: Instant,
}

impl QuotaBook {
    /// A book in which nothing is used: single keys have quotas of their own, every other client the usual one.
    pub fn new(usual: Quota, of_keys: impl IntoIterator<Item = (KeyName, Quota)>) -> Self {
        let used = Mutex::default();
        Self { usual, of_keys: of_keys.into_iter().collect(), used, start: Instant::now() }
    }

    /// Checks whether a client may ask for more.
    ///
    /// # Errors
    /// When it has used up its quota.
    pub fn check(&self, client: &Client, party: &Party) -> Result<(), Shed> {
        let quota = self.of(client);
        if quota.tokens_per_minute == 0 { Ok(()) } else { self.used().check(party, quota, self.now()) }
    }

    /// Takes tokens from a client's quota.
    pub fn charge(&self, client: &Client, party: &Party, tokens: u64) {
        let quota = self.of(client);
        if quota.tokens_per_minute > 0 {
            self.used().charge(party, tokens, quota, self.now());
        }
    }

    fn of(&self, client: &Client) -> Quota {
        client.key.as_ref().and_then(|key| self.of_keys.get(key)).copied().unwrap_or(self.usual)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn used(&self) -> MutexGuard<'_, Quotas> {
        // Nothing that is done under this lock can be left half done.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
