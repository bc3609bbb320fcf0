//! What is known of a connection beside its bytes: whether a request is being answered, and whether the client is lost.
//!
//! Shared by the stream, the service on it, and whoever counts how an answer ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::task::AtomicWaker;

/// One connection's state. Cheap to clone; all clones are of the same connection.
#[derive(Debug, Clone, Default)]
pub struct ConnectionLife(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_answering: AtomicBool,
    /// An answer was begun and may not be written to its end.
    is_unsettled: AtomicBool,
    is_lost: AtomicBool,
    /// The reader, which waits for the answer under way before it hands out the next request.
    reader: AtomicWaker,
}

impl ConnectionLife {
    /// Whether nothing can be sent any more: an answer that was not written yet never arrives.
    pub fn is_lost(&self) -> bool {
        self.0.is_lost.load(Ordering::Acquire)
    }

    /// Marks a request as being answered until the guard is dropped.
    pub fn answering(&self) -> Answering {
        self.0.is_unsettled.store(true, Ordering::Release);
        self.0.is_answering.store(true, Ordering::Release);
        Answering(self.clone())
    }

    /// Everything is written: whether that is the end of an answer.
    pub(super) fn settle(&self) -> bool {
        !self.is_answering() && self.0.is_unsettled.swap(false, Ordering::AcqRel)
    }

    pub(super) fn is_answering(&self) -> bool {
        self.0.is_answering.load(Ordering::Acquire)
    }

    pub(super) fn lose(&self) {
        self.0.is_lost.store(true, Ordering::Release);
    }

    pub(super) fn reader(&self) -> &AtomicWaker {
        &self.0.reader
    }
}

/// A request that is being answered: from its head to the end of its answer's body.
#[derive(Debug)]
pub struct Answering(ConnectionLife);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.is_answering.store(false, Ordering::Release);
        self.0.0.reader.wake();
    }
}
