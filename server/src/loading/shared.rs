//! Models of one process share tokenizers of equal files, and threads.
//!
//! Used by `load`.

use std::collections::HashMap;
use std::sync::Arc;

use kernels::cpu::Threads;
use model::Tokenizer;

/// Things that a model finds here if an earlier one has loaded them.
#[derive(Default)]
pub(super) struct Shared {
    /// By the number of ids of their models and the contents of their files.
    tokenizers: HashMap<usize, HashMap<Vec<u8>, Arc<Tokenizer>>>,
    /// By their number.
    threads: HashMap<usize, Threads>,
}

impl Shared {
    /// The tokenizer of a `tokenizer.json` for models with `vocab` ids, which is parsed once.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn tokenizer(&mut self, json: &[u8], vocab: usize) -> model::Result<Arc<Tokenizer>> {
        let alike = self.tokenizers.entry(vocab).or_default();
        if let Some(tokenizer) = alike.get(json) {
            return Ok(Arc::clone(tokenizer));
        }
        let tokenizer = Arc::new(Tokenizer::for_vocabulary(json, vocab)?);
        alike.insert(json.to_vec(), Arc::clone(&tokenizer));
        Ok(tokenizer)
    }

    /// Threads for processors that are given `count` each.
    pub fn threads(&mut self, count: usize) -> Threads {
        self.threads.entry(count).or_insert_with(|| Threads::new(count)).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_files_are_one_tokenizer_and_other_files_another() {
        let json = include_bytes!("../../../model/demo/tokenizer.json").to_vec();
        let mut longer = json.clone();
        longer.push(b'\n');
        let mut shared = Shared::default();
        let mut tokenizer = |json: &[u8]| shared.tokenizer(json, 4096).unwrap();
        let (first, second, other) = (tokenizer(&json), tokenizer(&json.clone()), tokenizer(&longer));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
    }
}
