//! Quotas: tokens that a client may ask for in a minute.
//!
//! A bucket for each client fills evenly up to a minute's tokens. A call takes all of its tokens when it enters, so a
//! client may owe some: its calls are refused until it owes none. A call whose work never begins gives them back.

use std::collections::HashMap;
use std::time::Duration;

use crate::request::{Party, Shed, ShedReason};

const MINUTE_S: f64 = 60.0;
/// Clients before which none is forgotten.
const MANY: usize = 1024;
/// No client is told to wait for longer.
const LONGEST_S: f64 = 86_400.0;

/// Tokens a minute of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Tokens of sources and the most that targets may have; 0: any number.
    pub tokens_per_minute: u64,
}

/// Tokens that clients have left of their quotas.
#[derive(Debug, Default)]
pub struct Quotas {
    buckets: HashMap<Party, Bucket>,
    /// Clients after which full buckets are forgotten the next time.
    many: usize,
}

/// Tokens that a client may still ask for.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    quota: u64,
    /// Below 0 as long as the client has to wait.
    tokens: f64,
    /// When that was so.
    at: Duration,
}

impl Bucket {
    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.quota as f64 / MINUTE_S).min(self.quota as f64);
        self.at = now;
    }
}

impl Quotas {
    /// Checks whether a client may ask for more.
    ///
    /// # Errors
    /// When it has used up its quota.
    pub fn check(&mut self, party: &Party, quota: Quota, now: Duration) -> Result<(), Shed> {
        let quota = quota.tokens_per_minute;
        let Some(bucket) = self.buckets.get_mut(party).filter(|_| quota > 0) else { return Ok(()) };
        bucket.refill(now);
        if bucket.tokens > 0.0 {
            return Ok(());
        }
        let seconds = (1.0 - bucket.tokens) * MINUTE_S / quota as f64;
        let reason = ShedReason::Quota { tokens_per_minute: quota };
        Err(Shed { reason, retry_after: Duration::from_secs_f64(seconds.min(LONGEST_S)) })
    }

    /// Takes a call's tokens from its client's quota.
    pub fn charge(&mut self, party: &Party, tokens: u64, quota: Quota, now: Duration) {
        let quota = quota.tokens_per_minute;
        if quota == 0 {
            return;
        }
        if self.buckets.len() >= self.many.max(MANY) && !self.buckets.contains_key(party) {
            self.buckets.values_mut().for_each(|bucket| bucket.refill(now));
            self.buckets.retain(|_, bucket| bucket.tokens < bucket.quota as f64);
            self.many = 2 * self.buckets.len();
        }
        let fresh = Bucket { quota, tokens: quota as f64, at: now };
        let bucket = self.buckets.entry(party.clone()).or_insert(fresh);
        bucket.refill(now);
        bucket.tokens -= tokens as f64;
    }

    /// Gives a client tokens back that were taken for a call without work.
    pub fn give_back(&mut self, party: &Party, tokens: u64, now: Duration) {
        if let Some(bucket) = self.buckets.get_mut(party) {
            bucket.refill(now);
            bucket.tokens = (bucket.tokens + tokens as f64).min(bucket.quota as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_may_be_asked_for_again_and_nobody_has_more_than_a_quota() {
        let (mut quotas, quota) = (Quotas::default(), Quota { tokens_per_minute: 600 });
        let a = Party::of(b"a");
        quotas.charge(&a, 2000, quota, Duration::ZERO);
        assert!(quotas.check(&a, quota, Duration::ZERO).is_err());
        quotas.give_back(&a, 1500, Duration::ZERO);
        assert!(quotas.check(&a, quota, Duration::ZERO).is_ok());
        quotas.give_back(&a, 5000, Duration::ZERO);
        quotas.charge(&a, 600, quota, Duration::ZERO);
        assert!(quotas.check(&a, quota, Duration::ZERO).is_err());
        quotas.give_back(&Party::of(b"b"), 1, Duration::ZERO);
        assert_eq!(quotas.buckets.len(), 1, "a client that is not known owes nothing");
    }

    #[test]
    fn a_client_has_its_tokens_each_minute_and_others_have_theirs() {
        let (mut quotas, quota) = (Quotas::default(), Quota { tokens_per_minute: 600 });
        let [a, b] = ["a", "b"].map(|name| Party::of(name.as_bytes()));
        let at = Duration::from_secs;
        for tokens in [500, 200] {
            assert!(quotas.check(&a, quota, at(0)).is_ok(), "the last one may take more than there is");
            quotas.charge(&a, tokens, quota, at(0));
        }
        let shed = quotas.check(&a, quota, at(5)).unwrap_err();
        assert_eq!(shed.reason, ShedReason::Quota { tokens_per_minute: 600 });
        assert!((shed.retry_after.as_secs_f64() - 5.1).abs() < 1e-6, "{shed:?}");
        assert!(quotas.check(&b, quota, at(5)).is_ok());
        assert!(quotas.check(&a, quota, at(5) + shed.retry_after).is_ok());
        let none = Quota { tokens_per_minute: 0 };
        quotas.charge(&b, u64::MAX, none, at(5));
        assert!(quotas.check(&b, none, at(5)).is_ok());
    }

    #[test]
    fn clients_that_have_their_whole_quota_are_forgotten() {
        let (mut quotas, quota) = (Quotas::default(), Quota { tokens_per_minute: 600 });
        for client in 0..10_000_u64 {
            quotas.charge(&Party::of(&client.to_le_bytes()), 10, quota, Duration::from_millis(client * 10));
        }
        assert!(quotas.buckets.len() <= MANY, "{}", quotas.buckets.len());
    }
}
