//! State of a connection beside its bytes: whether a request is being answered, and whether the client is lost.
//!
//! Shared by the stream, the service on it, and the code that counts how an answer ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::task::AtomicWaker;

/// State of one connection. Clones are cheap and share it.
#[derive(Debug, Clone, Default)]
pub struct ConnectionLife(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_answering: AtomicBool,
    /// Whether an answer was begun and is not known to be written to its end.
    is_unsettled: AtomicBool,
    is_lost: AtomicBool,
    /// Waker of the reader, which waits for the present answer before it passes on the next request.
    reader: AtomicWaker,
}

impl ConnectionLife {
    /// Whether the client is lost: an answer that was not written yet never arrives.
    pub fn is_lost(&self) -> bool {
        self.0.is_lost.load(Ordering::Acquire)
    }

    /// Marks a request as being answered until the guard is dropped.
    pub fn answering(&self) -> Answering {
        self.0.is_unsettled.store(true, Ordering::Release);
        self.0.is_answering.store(true, Ordering::Release);
        Answering(self.clone())
    }

    /// Notes that everything is written; returns whether that is the end of an answer.
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

/// Guard of a request that is being answered: from its head to the end of its answer's body.
#[derive(Debug)]
pub struct Answering(ConnectionLife);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.is_answering.store(false, Ordering::Release);
        self.0.0.reader.wake();
    }
}
