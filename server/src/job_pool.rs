//! A bounded pool for work whose time grows with a request's text: parsing large bodies and tokenising.
//!
//! Called by `api`, with a pool for each. The work must not run on the async threads, nor on more threads than
//! configured.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Runs jobs on blocking threads, a fixed number at a time; the others wait in order of arrival.
#[derive(Debug, Clone)]
pub struct JobPool {
    threads: Arc<Semaphore>,
}

/// The job panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker thread failed")]
pub struct JobFailed;

impl JobPool {
    /// A pool of `threads`, at least one.
    pub fn new(threads: usize) -> Self {
        Self { threads: Arc::new(Semaphore::new(threads.clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// The job's result. Dropped while it waits, the job never runs; dropped later, it keeps its thread to its end.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, JobFailed> {
        let thread = Arc::clone(&self.threads).acquire_owned().await.expect("the semaphore is never closed");
        // What the job logs is about the request that waits for it.
        let span = tracing::Span::current();
        let held = move || {
            let _thread = thread;
            span.in_scope(job)
        };
        tokio::task::spawn_blocking(held).await.map_err(|_| JobFailed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn no_more_jobs_run_at_once_than_there_are_threads() {
        let pool = JobPool::new(2);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = (0..16)
            .map(|_| {
                let (pool, running, most) = (pool.clone(), Arc::clone(&running), Arc::clone(&most));
                tokio::spawn(async move {
                    pool.run(move || {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(2));
                        running.fetch_sub(1, Ordering::SeqCst);
                    })
                    .await
                })
            })
            .collect();
        for job in jobs {
            job.await.unwrap().unwrap();
        }
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn a_job_that_panics_gives_its_thread_back() {
        let pool = JobPool::new(1);
        assert_eq!(pool.run(|| panic!("on purpose")).await, Err::<(), _>(JobFailed));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_job_abandoned_while_it_waits_never_runs() {
        let pool = JobPool::new(1);
        let (release, blocked) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(move || blocked.recv()).await }
        });
        tokio::task::yield_now().await;
        let second = tokio::time::timeout(Duration::from_millis(5), pool.run(|| panic!("must not run")));
        assert!(second.await.is_err());
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(Ok(())));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }
}
