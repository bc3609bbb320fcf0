//! The text of the document, written when it is first asked for: nothing that it tells changes while a server serves.
//!
//! Kept by `handler`.

use std::sync::{Arc, OnceLock};

use axum::body::Bytes;

/// A text that is written once. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Description(Arc<OnceLock<Bytes>>);

impl Description {
    /// The text, which `write` writes if nobody has yet.
    pub fn text(&self, write: impl FnOnce() -> Vec<u8>) -> Bytes {
        self.0.get_or_init(|| Bytes::from(write())).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_written_once() {
        let description = Description::default();
        assert_eq!(description.text(|| b"one".to_vec()), "one");
        assert_eq!(description.clone().text(|| panic!("it is written")), "one");
    }
}
