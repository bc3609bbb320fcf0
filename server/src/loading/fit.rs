//! Checks that the memory a server needs under load fits the process's limit.
//!
//! Used by `loading`. A process that takes more than its control group may is killed, under load and without a word.

use super::error::LoadError;
use super::loaded_model::LoadedModel;
use super::memory_need::{MemoryNeed, Remedy};
use crate::config::{Limits, PoolFit};
use crate::engine::EngineLimits;
use crate::process::memory::{MemoryBounds, MemoryLimit};

/// A page pool that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PoolNeed {
    /// Bytes of it, whole pages.
    bytes: u64,
    /// Bytes of a page.
    page: u64,
}

/// Makes the page pools of these models, whose engines are to have `engines`, fit the memory that `bounds` leave, or
/// fails, as `limits.page_pool_fit` says. To be called once all weights are loaded.
///
/// # Errors
/// When there is too little memory.
pub fn fit(
    models: &[LoadedModel],
    engines: &mut [EngineLimits],
    limits: &Limits,
    bounds: &MemoryBounds,
) -> Result<(), LoadError> {
    let mut here: Vec<_> = models.iter().zip(engines).filter(|(model, _)| model.is_in_main_memory()).collect();
    if here.is_empty() {
        return Ok(());
    }
    let least = || here.iter().map(|(model, _)| model.least_weight_bytes()).sum();
    let need = MemoryNeed {
        weights: bounds.resident.unwrap_or_else(least),
        workspace: here.iter().map(|(model, engine)| model.workspace_bytes(engine) as u64).sum(),
        requests: (limits.unparsed_body_bytes + limits.answer_bytes) as u64,
        pool: 0,
    };
    // Encoders without a decoder have no pages.
    here.retain(|(model, _)| model.page_bytes() > 0);
    let pool = |(model, engine): &(&LoadedModel, &mut EngineLimits)| {
        let page = model.page_bytes() as u64;
        PoolNeed { bytes: engine.steps.pool.pages as u64 * page, page }
    };
    let pools: Vec<_> = here.iter().map(pool).collect();
    let need = MemoryNeed { pool: pools.iter().map(|pool| pool.bytes).sum(), ..need };
    let fitted = fit_pools(need, &pools, bounds, limits.page_pool_fit)?;
    for (((_, engine), pool), bytes) in here.into_iter().zip(&pools).zip(fitted) {
        engine.steps.pool.pages = (bytes / pool.page) as usize;
        if bytes < pool.bytes {
            engine.source_tokens = engine.source_tokens.min(engine.steps.pool.longest_source());
        }
    }
    Ok(())
}

/// Bytes of each page pool, whole pages: as many as are asked for, or fewer where the settings say so.
///
/// # Errors
/// When the limit allows too little.
fn fit_pools(need: MemoryNeed, pools: &[PoolNeed], bounds: &MemoryBounds, fit: PoolFit) -> Result<Vec<u64>, LoadError> {
    let Some(limit) = bounds.limit.as_ref().filter(|limit| need.total() > limit.bytes) else {
        warn_of_machine(need, bounds);
        return Ok(pools.iter().map(|pool| pool.bytes).collect());
    };
    let left = limit.bytes.saturating_sub(MemoryNeed { pool: 0, ..need }.total());
    let fitted = shares(left, pools);
    let all = fitted.iter().sum();
    if fit == PoolFit::Refuse || all == 0 {
        return Err(too_much(need, limit, Remedy { pool: all, models: pools.len() }));
    }
    tracing::warn!(
        asked_bytes = need.pool,
        pool_bytes = all,
        limit_bytes = limit.bytes,
        limit_file = %limit.file.display(),
        "the page pool is made smaller, so that the process stays within its memory limit"
    );
    Ok(fitted)
}

/// Splits `left` bytes among pools in proportion to what each asks for beyond its smallest size; nothing if not even
/// the smallest ones fit.
fn shares(left: u64, pools: &[PoolNeed]) -> Vec<u64> {
    // The smallest request has a page for its source and one for its target.
    let smallest = |pool: &PoolNeed| 2 * pool.page;
    let beyond = |pool: &PoolNeed| pool.bytes.saturating_sub(smallest(pool));
    let Some(rest) = left.checked_sub(pools.iter().map(smallest).sum()) else { return vec![0; pools.len()] };
    let asked: u64 = pools.iter().map(beyond).sum();
    let share = |pool: &PoolNeed| {
        let part = (u128::from(rest) * u128::from(beyond(pool)) / u128::from(asked.max(1))) as u64;
        smallest(pool) + part - part % pool.page
    };
    pools.iter().map(share).collect()
}

/// Refuses weights that cannot be loaded whatever the pool is: they take `least` bytes, at least.
pub fn check_weights(least: u64, bounds: &MemoryBounds) -> Result<(), LoadError> {
    let need = MemoryNeed { weights: least, workspace: 0, requests: 0, pool: 0 };
    match bounds.limit.as_ref().filter(|limit| need.total() > limit.bytes) {
        Some(limit) => Err(too_much(need, limit, Remedy { pool: 0, models: 1 })),
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

    fn fitted_to(bounds: &MemoryBounds, fit: PoolFit) -> Result<u64, String> {
        let pools = fit_pools(NEED, &[PoolNeed { bytes: NEED.pool, page: PAGE }], bounds, fit);
        pools.map(|pools| pools[0]).map_err(|error| error.to_string())
    }

    fn fitted(limit_mib: u64, fit: PoolFit) -> Result<u64, String> {
        fitted_to(&limited(limit_mib), fit)
    }

    #[test]
    fn a_pool_that_fits_stays_as_it_is() {
        for fit in [PoolFit::Refuse, PoolFit::Shrink] {
            assert_eq!(fitted(1408, fit), Ok(NEED.pool));
            assert_eq!(fitted_to(&MemoryBounds::default(), fit), Ok(NEED.pool), "without a limit");
            let full = MemoryBounds { available: Some(MIB), ..MemoryBounds::default() };
            assert_eq!(fitted_to(&full, fit), Ok(NEED.pool), "the machine may get it back from others");
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
    fn pools_of_several_models_shrink_in_proportion_and_are_counted_together() {
        let pools = [PoolNeed { bytes: 900 * MIB, page: PAGE }, PoolNeed { bytes: 124 * MIB, page: 2 * MIB }];
        let fitted =
            |limit_mib, fit| fit_pools(NEED, &pools, &limited(limit_mib), fit).map_err(|error| error.to_string());
        assert_eq!(fitted(1408, PoolFit::Refuse), Ok(vec![900 * MIB, 124 * MIB]));
        let shrunk = fitted(896, PoolFit::Shrink).unwrap();
        assert_eq!(shrunk, [447 * MIB, 62 * MIB], "half of them, in whole pages");
        assert_eq!(fitted(394, PoolFit::Shrink), Ok(vec![6 * MIB, 4 * MIB]));
        let refused = fitted(896, PoolFit::Refuse).unwrap_err();
        let remedy = format!("set limits.page_pool_bytes of the 2 models to {} or less in all", 509 * MIB);
        assert!(refused.contains(&remedy), "{refused}");
        let refused = fitted(393, PoolFit::Shrink).unwrap_err();
        assert!(refused.ends_with("allow more, serve fewer or smaller models, or quantise them"), "{refused}");
    }

    #[test]
    fn weights_above_the_limit_are_refused_before_they_are_loaded() {
        assert!(check_weights(99 * MIB, &limited(100)).is_ok());
        assert!(check_weights(101 * MIB, &MemoryBounds::default()).is_ok());
        let refused = check_weights(101 * MIB, &limited(100)).unwrap_err().to_string();
        assert!(refused.contains("weights 101") && refused.contains("allows 100 MiB"), "{refused}");
    }
}
