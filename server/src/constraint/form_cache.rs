//! Forms that are kept compiled: the latest used ones, each compiled once for all who ask for it at the same time.
//!
//! Used by `compiler`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use crate::request::Constraint;

/// Hash of a form's text.
pub type FormKey = [u8; 32];

/// Bounds on the forms that are kept compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormCacheLimits {
    /// Most forms.
    pub forms: usize,
    /// Most bytes of all of them.
    pub bytes: usize,
}

/// Compiled forms, and those that are being compiled.
pub struct FormCache {
    limits: FormCacheLimits,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    forms: HashMap<FormKey, Entry>,
    /// Counts uses.
    clock: u64,
}

struct Entry {
    /// Empty until the form is compiled.
    cell: Arc<OnceCell<Constraint>>,
    /// When it was last used.
    used: u64,
}

impl FormCache {
    /// A cache within these limits.
    pub fn new(limits: FormCacheLimits) -> Self {
        Self { limits, kept: Mutex::default() }
    }

    /// A form that is kept, or that `make` makes. Who asks for a form that is being made waits for it; when its maker
    /// fails or leaves, the next one makes it.
    ///
    /// # Errors
    /// The error of `make`; nothing is kept then.
    pub async fn get_or_make<E>(
        &self,
        key: FormKey,
        make: impl Future<Output = Result<Constraint, E>>,
    ) -> Result<Constraint, E> {
        let asked = Asked { cache: self, key, cell: self.cell(key) };
        asked.cell.get_or_try_init(|| make).await.cloned()
    }

    /// Number of forms that are kept or being made.
    pub fn forms(&self) -> usize {
        self.kept().forms.len()
    }

    /// Bytes of the forms that are kept.
    pub fn bytes(&self) -> usize {
        self.kept().made().map(|(.., form)| form.bytes()).sum()
    }

    fn cell(&self, key: FormKey) -> Arc<OnceCell<Constraint>> {
        let mut kept = self.kept();
        kept.clock += 1;
        let used = kept.clock;
        let entry = kept.forms.entry(key).or_insert_with(|| Entry { cell: Arc::default(), used });
        entry.used = used;
        Arc::clone(&entry.cell)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who asks for a form.
struct Asked<'a> {
    cache: &'a FormCache,
    key: FormKey,
    cell: Arc<OnceCell<Constraint>>,
}

impl Drop for Asked<'_> {
    /// Forgets a form that was not made when the last one who asks for it leaves, and what is over the limits.
    fn drop(&mut self) {
        let mut kept = self.cache.kept();
        // The map has the cell, and this one does.
        if !self.cell.initialized() && Arc::strong_count(&self.cell) == 2 {
            kept.forms.remove(&self.key);
        }
        kept.shrink(self.cache.limits);
    }
}

impl Kept {
    /// The forms that are made.
    fn made(&self) -> impl Iterator<Item = (&FormKey, &Entry, &Constraint)> {
        self.forms.iter().filter_map(|(key, entry)| Some((key, entry, entry.cell.get()?)))
    }

    /// Forgets the forms that were not used for longest, until the others are within the limits. Forms that are being
    /// made belong to requests, whose number has its own bound.
    fn shrink(&mut self, limits: FormCacheLimits) {
        loop {
            let (count, bytes) =
                self.made().fold((0, 0), |(count, bytes), (.., form)| (count + 1, bytes + form.bytes()));
            let oldest = self.made().min_by_key(|(_, entry, _)| entry.used).map(|(key, ..)| *key);
            match oldest {
                Some(oldest) if count > limits.forms || bytes > limits.bytes => _ = self.forms.remove(&oldest),
                _ => return,
            }
        }
    }
}

impl fmt::Debug for FormCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FormCache").field("forms", &self.forms()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Constrain, ConstraintState};

    #[derive(Debug)]
    struct Sized(usize);

    impl Constrain for Sized {
        fn start(&self) -> Box<dyn ConstraintState> {
            unreachable!("nobody follows it")
        }

        fn bytes(&self) -> usize {
            self.0
        }
    }

    fn cache(forms: usize, bytes: usize) -> FormCache {
        FormCache::new(FormCacheLimits { forms, bytes })
    }

    /// Whether a form was made, and not there.
    async fn makes(cache: &FormCache, key: u8, bytes: usize) -> bool {
        let mut made = false;
        let make = async {
            made = true;
            Ok::<_, ()>(Constraint::new(Sized(bytes)))
        };
        cache.get_or_make([key; 32], make).await.unwrap();
        made
    }

    #[tokio::test]
    async fn the_latest_used_forms_are_kept_within_their_number_and_bytes() {
        for (cache, bytes) in [(cache(2, 1000), 1), (cache(10, 200), 100)] {
            assert!(makes(&cache, 1, bytes).await && makes(&cache, 2, bytes).await);
            assert!(!makes(&cache, 1, bytes).await);
            assert!(makes(&cache, 3, bytes).await, "the second one goes");
            assert!(!makes(&cache, 1, bytes).await && !makes(&cache, 3, bytes).await);
            assert!(makes(&cache, 2, bytes).await);
        }
        let small = cache(10, 200);
        assert!(makes(&small, 1, 300).await && makes(&small, 1, 300).await, "too large to be kept");
    }

    #[tokio::test]
    async fn a_form_that_is_not_made_is_forgotten_and_the_next_one_who_waits_makes_it() {
        let cache = Arc::new(cache(2, 1000));
        let leaving = Arc::clone(&cache);
        let first = tokio::spawn(async move {
            leaving.get_or_make([1; 32], std::future::pending::<Result<Constraint, ()>>()).await
        });
        tokio::task::yield_now().await;
        let next = tokio::spawn({
            let cache = Arc::clone(&cache);
            async move { makes(&cache, 1, 1).await }
        });
        tokio::task::yield_now().await;
        first.abort();
        assert!(next.await.unwrap());
        cache.get_or_make([2; 32], async { Err(()) }).await.unwrap_err();
        assert_eq!(cache.kept().forms.len(), 1);
    }
}
