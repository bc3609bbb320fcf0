//! A socket that gives up on a client which does not take in what is written for it.
//!
//! Used by `connection`, below TLS where there is TLS: only here it is known which bytes the client has taken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A watched socket.
#[derive(Debug)]
pub(super) struct Paced<S> {
    socket: S,
    pace: WritePace,
    /// Timer that runs while the socket does not take what is to be written.
    stalled: Option<Stalled>,
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

impl<S> Paced<S> {
    /// Watches a new connection.
    pub fn new(socket: S, pace: WritePace) -> Self {
        Self { socket, pace, stalled: None }
    }

    /// Result of a write, or a timeout of the client.
    fn watched(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => {
                ready!(self.poll_stalled(context));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
            }
            Poll::Ready(Ok(count)) => {
                if let Some(stalled) = &mut self.stalled {
                    stalled.bytes += count as u128;
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
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

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
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

    /// Called when nothing more is to be written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(context))?;
        self.stalled = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn with_timeout(buffer: usize, timeout: Duration) -> (DuplexStream, Paced<DuplexStream>) {
        let (client, socket) = duplex(buffer);
        (client, Paced::new(socket, WritePace { stretch: timeout, least_bytes_per_s: 64 }))
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (_client, mut socket) = with_timeout(16, SOON);
        let error = socket.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_takes_a_byte_now_and_then_is_given_up_as_well() {
        let (mut client, mut socket) = with_timeout(16, 5 * SOON);
        tokio::spawn(async move {
            while client.read_u8().await.is_ok() {
                tokio::time::sleep(4 * SOON).await;
            }
        });
        let error = socket.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_is_waited_for() {
        let timeout = 25 * SOON;
        let (mut client, mut socket) = with_timeout(16, timeout);
        let reading = tokio::spawn(async move {
            for _ in 0..8 {
                tokio::time::sleep(timeout / 5).await;
                client.read_exact(&mut [0; 8]).await.unwrap();
            }
            client
        });
        socket.write_all(&[0; 64]).await.unwrap();
        let _client = reading.await.unwrap();
    }
}
