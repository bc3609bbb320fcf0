//! The quotas of clients, and what each has used of its own.
//!
//! Asked by `turn` for each request that enters a queue. Models share them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    used: Arc<Mutex<Quotas>>,
    start: Instant,
}

/// Tokens that a client was charged for a call. They are given back unless the call's work begins.
#[derive(Debug)]
pub struct Charge {
    used: Arc<Mutex<Quotas>>,
    start: Instant,
    party: Party,
    tokens: u64,
    has_begun: AtomicBool,
}

impl Charge {
    /// The call's work has begun.
    pub fn keep(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !*self.has_begun.get_mut() {
            lock(&self.used).give_back(&self.party, self.tokens, self.start.elapsed());
        }
    }
}

impl QuotaBook {
    /// A book in which nothing is used: single keys have quotas of their own, every other client the usual one.
    pub fn new(usual: Quota, of_keys: impl IntoIterator<Item = (KeyName, Quota)>) -> Self {
        let used = Arc::default();
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

    /// Takes a call's tokens from its client's quota, if it has one.
    pub fn charge(&self, client: &Client, party: Party, tokens: u64) -> Option<Charge> {
        let quota = self.of(client);
        if quota.tokens_per_minute == 0 {
            return None;
        }
        self.used().charge(&party, tokens, quota, self.now());
        let (used, start) = (Arc::clone(&self.used), self.start);
        Some(Charge { used, start, party, tokens, has_begun: AtomicBool::new(false) })
    }

    fn of(&self, client: &Client) -> Quota {
        client.key.as_ref().and_then(|key| self.of_keys.get(key)).copied().unwrap_or(self.usual)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn used(&self) -> MutexGuard<'_, Quotas> {
        lock(&self.used)
    }
}

fn lock(used: &Mutex<Quotas>) -> MutexGuard<'_, Quotas> {
    // Nothing that is done under this lock can be left half done.
    used.lock().unwrap_or_else(PoisonError::into_inner)
}
