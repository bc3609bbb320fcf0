//! A socket between the network and the HTTP library: one request at a time goes in, and slow clients are dropped.
//!
//! Used by `connection`. The library does not read while it answers, so it would not notice a client that sent one byte
//! too many and left; and it waits for ever for a client that does not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::framing::{Framing, HEAD_BYTES, Head};
use super::life::ConnectionLife;
use super::places::Idleness;

/// Input for the library in place of a refused head: it answers 400 and closes.
const NO_REQUEST: &[u8] = b"\0 / HTTP/1.1\r\n\r\n";
/// Bytes read from the socket at once into the guard's own buffer.
const READ_BYTES: usize = 4 << 10;

/// A guarded socket.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    socket: S,
    life: ConnectionLife,
    framing: Framing,
    /// Bytes received and not passed on; the first `released` of them may be.
    pending: Vec<u8>,
    released: usize,
    /// Whether the client has closed its side.
    has_ended: bool,
    pace: WritePace,
    /// Timer that runs while the socket does not take what is to be written.
    stalled: Option<Stalled>,
    /// Notified when an answer is written to its end.
    idleness: Option<Arc<Idleness>>,
}

/// Pace at which a client has to take in what is written for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WritePace {
    /// Period over which the pace is measured.
    pub stretch: Duration,
    /// Bytes per second. At least one byte has to be taken in each period.
    pub least_bytes_per_s: u64,
}

impl WritePace {
    fn least_bytes(self) -> u128 {
        (u128::from(self.least_bytes_per_s) * self.stretch.as_millis() / 1000).max(1)
    }
}

/// A client that the server waits for.
#[derive(Debug)]
struct Stalled {
    end: Pin<Box<Sleep>>,
    /// Bytes that it took since the period began.
    bytes: u128,
}

impl<S> Guarded<S> {
    /// Guards a new connection. `idleness` is notified of each end of an answer.
    pub fn new(socket: S, life: ConnectionLife, pace: WritePace, idleness: Option<Arc<Idleness>>) -> Self {
        Self {
            socket,
            life,
            framing: Framing::default(),
            pending: Vec::new(),
            released: 0,
            has_ended: false,
            pace,
            stalled: None,
            idleness,
        }
    }

    /// Passes on released bytes, as far as there is room.
    fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.released.min(buffer.remaining());
        buffer.put_slice(&self.pending[..count]);
        self.pending.drain(..count);
        self.released -= count;
        if self.pending.is_empty() {
            // Most connections are idle most of the time.
            self.pending = Vec::new();
        }
    }

    /// Releases the received part of the next request, unless one is being answered.
    fn release(&mut self) {
        debug_assert_eq!(self.released, 0, "what was released is handed out first");
        if self.framing.expects_head() {
            if self.life.is_answering() || self.pending.is_empty() {
                return;
            }
            match self.framing.head(&self.pending) {
                Head::Partial => return,
                Head::Complete(length) => self.released = length,
                Head::Refused => {
                    self.pending = NO_REQUEST.to_vec();
                    self.released = NO_REQUEST.len();
                    return;
                }
                Head::TooLong => {}
            }
        }
        self.released += self.framing.body(&self.pending[self.released..]);
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Reads a body directly into the library's buffer; bytes behind its end are kept back.
    fn poll_body(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        let came = &buffer.filled()[before..];
        self.has_ended = came.is_empty();
        let passed = self.framing.body(came);
        self.pending.extend_from_slice(&came[passed..]);
        buffer.set_filled(before + passed);
        Poll::Ready(Ok(()))
    }

    /// Reads more bytes that cannot be passed on yet.
    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pending.len() >= HEAD_BYTES {
            // A client that sends this much ahead could leave unnoticed.
            return Poll::Ready(Err(io::Error::other("too many bytes behind a request that is being answered")));
        }
        let mut bytes = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer))?;
        self.has_ended = buffer.filled().is_empty();
        self.pending.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            // An answer that ends from here on wakes this task.
            self.life.reader().register(context.waker());
            if self.released == 0 {
                self.release();
            }
            if self.released > 0 {
                self.hand_out(buffer);
                return Poll::Ready(Ok(()));
            }
            if self.has_ended {
                return Poll::Ready(Ok(()));
            }
            if self.pending.is_empty() && !self.framing.expects_head() {
                return self.poll_body(context, buffer);
            }
            ready!(self.poll_pending(context))?;
        }
    }
}

impl<S: AsyncWrite + Unpin> Guarded<S> {
    /// Result of a write, or a timeout of the client.
    fn watched(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => {
                ready!(self.poll_stalled(context));
                self.life.lose();
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
            }
            Poll::Ready(Ok(count)) => {
                if let Some(stalled) = &mut self.stalled {
                    stalled.bytes += count as u128;
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => {
                self.life.lose();
                Poll::Ready(Err(error))
            }
        }
    }

    /// Ready when the client has taken too little in a period.
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (now, pace) = (Instant::now(), self.pace);
        let begin = || Stalled { end: Box::pin(tokio::time::sleep_until(now + pace.stretch)), bytes: 0 };
        let stalled = self.stalled.get_or_insert_with(begin);
        while stalled.end.as_mut().poll(context).is_ready() {
            if stalled.bytes < pace.least_bytes() {
                return Poll::Ready(());
            }
            *stalled = begin();
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.watched(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, buffers);
        self.watched(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// Called when the library has nothing more to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(context))?;
        self.stalled = None;
        if self.life.settle()
            && let Some(idleness) = &self.idleness
        {
            idleness.begin();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl<S> Drop for Guarded<S> {
    fn drop(&mut self) {
        // The library drops the socket before what it has not written.
        self.life.lose();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const FIRST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    const SECOND: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const SOON: Duration = Duration::from_millis(20);

    fn pair(buffer: usize) -> (DuplexStream, Guarded<DuplexStream>, ConnectionLife) {
        with_timeout(buffer, SOON)
    }

    fn with_timeout(buffer: usize, timeout: Duration) -> (DuplexStream, Guarded<DuplexStream>, ConnectionLife) {
        let (client, socket) = duplex(buffer);
        let life = ConnectionLife::default();
        let pace = WritePace { stretch: timeout, least_bytes_per_s: 64 };
        (client, Guarded::new(socket, life.clone(), pace, None), life)
    }

    async fn read(guarded: &mut Guarded<DuplexStream>, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        guarded.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn the_next_request_waits_for_the_answer_under_way() {
        let (mut client, mut guarded, life) = pair(1 << 10);
        client.write_all(&[FIRST, SECOND].concat()).await.unwrap();
        assert_eq!(read(&mut guarded, FIRST.len()).await, FIRST);
        let answering = life.answering();
        let mut byte = [0];
        assert!(tokio::time::timeout(SOON, guarded.read(&mut byte)).await.is_err(), "held back");
        let next = tokio::spawn(async move { read(&mut guarded, SECOND.len()).await });
        tokio::time::sleep(SOON).await;
        drop(answering);
        assert_eq!(next.await.unwrap(), SECOND);
    }

    #[tokio::test]
    async fn a_client_that_sends_a_byte_too_many_and_leaves_is_seen_to_leave() {
        let (mut client, mut guarded, life) = pair(1 << 10);
        client.write_all(&[FIRST, b"x"].concat()).await.unwrap();
        assert_eq!(read(&mut guarded, FIRST.len()).await, FIRST);
        let _answering = life.answering();
        drop(client);
        assert_eq!(guarded.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn who_sends_too_much_ahead_is_cut_off() {
        let (mut client, mut guarded, life) = pair(2 * HEAD_BYTES);
        client.write_all(FIRST).await.unwrap();
        assert_eq!(read(&mut guarded, FIRST.len()).await, FIRST);
        let _answering = life.answering();
        client.write_all(&vec![b'x'; HEAD_BYTES]).await.unwrap();
        assert!(guarded.read(&mut [0; 8]).await.is_err());
    }

    #[tokio::test]
    async fn an_ambiguous_head_reaches_nobody() {
        let (mut client, mut guarded, _) = pair(1 << 10);
        client.write_all(b"GET / HTTP/1.1\nHost: a\n\n").await.unwrap();
        assert_eq!(read(&mut guarded, NO_REQUEST.len()).await, NO_REQUEST);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (_client, mut guarded, life) = pair(16);
        let error = guarded.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(life.is_lost());
    }

    #[tokio::test]
    async fn a_client_that_takes_a_byte_now_and_then_is_given_up_as_well() {
        let (mut client, mut guarded, life) = with_timeout(16, 5 * SOON);
        tokio::spawn(async move {
            while client.read_u8().await.is_ok() {
                tokio::time::sleep(4 * SOON).await;
            }
        });
        let error = guarded.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(life.is_lost());
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_is_waited_for() {
        let timeout = 25 * SOON;
        let (mut client, mut guarded, life) = with_timeout(16, timeout);
        let reading = tokio::spawn(async move {
            for _ in 0..8 {
                tokio::time::sleep(timeout / 5).await;
                client.read_exact(&mut [0; 8]).await.unwrap();
            }
            client
        });
        guarded.write_all(&[0; 64]).await.unwrap();
        let _client = reading.await.unwrap();
        assert!(!life.is_lost());
    }
}
