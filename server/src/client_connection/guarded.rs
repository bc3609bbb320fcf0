//! A socket between the network and the HTTP library: one request at a time goes in.
//!
//! Used by `connection`. The library does not read while it answers, so it would not notice a client that sent one byte
//! too many and left.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
    /// Notified when an answer is written to its end.
    idleness: Option<Arc<Idleness>>,
}

impl<S> Guarded<S> {
    /// Guards a new connection. `idleness` is notified of each end of an answer.
    pub fn new(socket: S, life: ConnectionLife, idleness: Option<Arc<Idleness>>) -> Self {
        Self { socket, life, framing: Framing::default(), pending: Vec::new(), released: 0, has_ended: false, idleness }
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

impl<S> Guarded<S> {
    /// Result of a write, noted if the client is lost.
    fn watched<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = &written {
            self.life.lose();
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.watched(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, buffers);
        self.watched(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// Called when the library has nothing more to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        ready!(self.watched(flushed))?;
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
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const FIRST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    const SECOND: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const SOON: Duration = Duration::from_millis(20);

    fn pair(buffer: usize) -> (DuplexStream, Guarded<DuplexStream>, ConnectionLife) {
        let (client, socket) = duplex(buffer);
        let life = ConnectionLife::default();
        (client, Guarded::new(socket, life.clone(), None), life)
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
    async fn a_client_to_whom_nothing_can_be_written_is_lost() {
        let (client, mut guarded, life) = pair(16);
        drop(client);
        guarded.write_all(b"x").await.unwrap_err();
        assert!(life.is_lost());
    }
}
