//! Checks that the memory a server needs under load fits the process's limit.
//!
//! Used by `loading`. A process that takes more than its control group may is killed, under load and without a word.

use super::error::LoadError;
use super::memory_need::{MemoryNeed, Remedy};
use crate::config::PoolFit;
use crate::process::memory::{MemoryBounds, MemoryLimit};

/// Bytes of the page pool, whole pages of `page` bytes: as many as are asked for, or fewer where the settings say so.
///
/// # Errors
/// When the limit allows too little.
pub fn fit_pool(need: MemoryNeed, page: u64, bounds: &MemoryBounds, fit: PoolFit) -> Result<u64, LoadError> {
    let Some(limit) = bounds.limit.as_ref().filter(|limit| need.total() > limit.bytes) else {
        warn_of_machine(need, bounds);
        return Ok(need.pool);
    };
    let left = limit.bytes.saturating_sub(MemoryNeed { pool: 0, ..need }.total());
    // The smallest request has a page for its source and one for its target.
    let pool = if left < 2 * page { 0 } else { left - left % page };
    if fit == PoolFit::Refuse || pool == 0 {
        return Err(too_much(need, limit, Remedy { pool }));
    }
    tracing::warn!(
        asked_bytes = need.pool,
        pool_bytes = pool,
        limit_bytes = limit.bytes,
        limit_file = %limit.file.display(),
        "the page pool is made smaller, so that the process stays within its memory limit"
    );
    Ok(pool)
}

/// Refuses weights that cannot be loaded whatever the pool is: they take `least` bytes, at least.
pub fn check_weights(least: u64, bounds: &MemoryBounds) -> Result<(), LoadError> {
    check_fits(MemoryNeed { weights: least, workspace: 0, requests: 0, pool: 0 }, bounds)
}

/// Refuses a server without a page pool that needs more than the limit allows.
///
/// # Errors
/// When the limit allows too little.
pub fn check_fits(need: MemoryNeed, bounds: &MemoryBounds) -> Result<(), LoadError> {
    match bounds.limit.as_ref().filter(|limit| need.total() > limit.bytes) {
        Some(limit) => Err(too_much(need, limit, Remedy { pool: 0 })),
        None => Ok(()),
    }
}

fn too_much(need: MemoryNeed, limit: &MemoryLimit, remedy: Remedy) -> LoadError {
    LoadError::MemoryLimit { need, limit_mib: limit.bytes >> 20, file: limit.file.clone(), remedy }
}

/// The machine may get memory back from others until it is needed: no reason to refuse.
fn warn_of_machine(need: MemoryNeed, bounds: &MemoryBounds) {
    let Some(available) = bounds.available else { return };
    let wanted = need.total().saturating_sub(bounds.resident.unwrap_or(need.weights));
    if wanted > available {
        tracing::warn!(
            wanted_bytes = wanted,
            available_bytes = available,
            "the machine has less memory left than the settings allow requests to take"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const NEED: MemoryNeed =
        MemoryNeed { weights: 300 * MIB, workspace: 20 * MIB, requests: 64 * MIB, pool: 1024 * MIB };
    const PAGE: u64 = 3 * MIB;

    fn limited(mebibytes: u64) -> MemoryBounds {
        let limit = MemoryLimit { bytes: mebibytes * MIB, file: "/sys/fs/cgroup/memory.max".into() };
        MemoryBounds { limit: Some(limit), ..MemoryBounds::default() }
    }

    fn fitted(limit_mib: u64, fit: PoolFit) -> Result<u64, String> {
        fit_pool(NEED, PAGE, &limited(limit_mib), fit).map_err(|error| error.to_string())
    }

    #[test]
    fn a_pool_that_fits_stays_as_it_is() {
        for fit in [PoolFit::Refuse, PoolFit::Shrink] {
            assert_eq!(fitted(1408, fit), Ok(NEED.pool));
            assert_eq!(fit_pool(NEED, PAGE, &MemoryBounds::default(), fit).unwrap(), NEED.pool, "without a limit");
            let full = MemoryBounds { available: Some(MIB), ..MemoryBounds::default() };
            assert_eq!(fit_pool(NEED, PAGE, &full, fit).unwrap(), NEED.pool, "the machine may get it back from others");
        }
    }

    #[test]
    fn a_pool_that_does_not_fit_is_refused_with_the_one_that_would() {
        let refused = fitted(1000, PoolFit::Refuse).unwrap_err();
        assert_eq!(
            refused,
            "the server may take 1408 MiB (weights 300, page pool 1024, working memory 20, bodies and answers 64), \
             and /sys/fs/cgroup/memory.max allows 1000 MiB: allow more, set limits.page_pool_bytes to 644874240 or \
             less, or limits.page_pool_fit to \"shrink\""
        );
        assert_eq!(644_874_240, 615 * MIB, "whole pages");
    }

    #[test]
    fn a_pool_shrinks_to_whole_pages_when_it_is_told_to_but_not_below_the_smallest_request() {
        assert_eq!(fitted(1000, PoolFit::Shrink), Ok(615 * MIB));
        assert_eq!(fitted(390, PoolFit::Shrink), Ok(6 * MIB));
        for too_little in [389, 384, 100, 0] {
            let refused = fitted(too_little, PoolFit::Shrink).unwrap_err();
            assert!(refused.ends_with("allow more, serve a smaller model, or quantise it"), "{refused}");
        }
    }

    #[test]
    fn weights_above_the_limit_are_refused_before_they_are_loaded() {
        assert!(check_weights(99 * MIB, &limited(100)).is_ok());
        assert!(check_weights(101 * MIB, &MemoryBounds::default()).is_ok());
        let refused = check_weights(101 * MIB, &limited(100)).unwrap_err().to_string();
        assert!(refused.contains("weights 101") && refused.contains("allows 100 MiB"), "{refused}");
    }
}
