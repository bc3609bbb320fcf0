//! Work on several items at once, on a bounded number of threads.
//!
//! Used by `fetch`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::error::HubError;
use super::stop::Stop;

/// The results of `work`, in the order of `items`, of which up to `threads` are worked on at once. The first error
/// sets `stop`, and no further item is begun. Log lines are within the caller's span.
///
/// # Errors
/// The first error.
pub fn all_of<T: Sync, R: Send + Sync>(
    items: &[T],
    threads: usize,
    stop: &Stop,
    work: impl Fn(&T) -> Result<R, HubError> + Sync,
) -> Result<Vec<R>, HubError> {
    let results: Vec<OnceLock<R>> = items.iter().map(|_| OnceLock::new()).collect();
    let (next, first_error) = (AtomicUsize::new(0), Mutex::new(None));
    let span = tracing::Span::current();
    let work_on_some = || {
        let _within = span.enter();
        while !stop.is_set() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            match work(item) {
                Ok(result) => _ = results[index].set(result),
                Err(error) => {
                    first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    stop.set();
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            let thread = std::thread::Builder::new().name("fetch".to_owned());
            if thread.spawn_scoped(scope, work_on_some).is_err() {
                // Those that are there do its work as well.
                break;
            }
        }
        work_on_some();
    });
    match first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(results.into_iter().filter_map(OnceLock::into_inner).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;

    #[test]
    fn items_are_worked_on_at_once_and_their_results_keep_their_order() {
        let all_at_once = Barrier::new(3);
        let work = |item: &u32| {
            all_at_once.wait();
            Ok(item * 2)
        };
        assert_eq!(all_of(&[3, 2, 1], 3, &Stop::default(), work).unwrap(), [6, 4, 2]);
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let count = |_: &u32| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        };
        assert_eq!(all_of(&[0; 16], 2, &Stop::default(), count).unwrap().len(), 16);
        assert!(most.into_inner() <= 2);
    }

    #[test]
    fn an_error_ends_what_is_under_way_and_nothing_further_is_begun() {
        let (stop, begun) = (Stop::default(), AtomicUsize::new(0));
        let work = |item: &u32| {
            begun.fetch_add(1, Ordering::SeqCst);
            if *item == 0 {
                return Err(HubError::NoCache);
            }
            // Ends at once, or the test does not end.
            stop.sleep(Duration::from_secs(3600));
            Err::<(), _>(HubError::Abandoned)
        };
        let failed = all_of(&[1, 0, 2, 3, 4], 2, &stop, work).unwrap_err();
        assert!(matches!(failed, HubError::NoCache), "{failed}");
        assert_eq!(begun.into_inner(), 2);
    }
}
