//! One direction of a tunnel: read from one stream, write to the other, keep a stash only when a
//! write came up short. The stash pauses reading, which is the backpressure.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::already_gone;

/// Reads in one poll before other tasks get their turn; with tokio's own budget this bounds how
/// long a busy tunnel keeps the worker.
const ROUNDS: usize = 16;

/// Which stream of a direction failed.
#[derive(Debug)]
pub(super) enum Broken {
    /// The one it reads from.
    Source(#[allow(dead_code, reason = "shown by Debug")] io::Error),
    /// The one it writes to.
    Sink(#[allow(dead_code, reason = "shown by Debug")] io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// Reading and writing.
    Open,
    /// The source said FIN; what is stashed goes out, then our FIN.
    Finishing,
    /// Our FIN is out.
    Done,
}

/// Bytes the sink did not take yet.
#[derive(Debug)]
struct Stash {
    bytes: Vec<u8>,
    sent: usize,
}

/// The state of one direction: a few words, and a stash only under backpressure.
#[derive(Debug)]
pub(super) struct Direction {
    stash: Option<Box<Stash>>,
    delivered: u64,
    flow: Flow,
    /// The sink may hold bytes of ours that a flush would send (TLS).
    unflushed: bool,
    /// Bytes moved since [`Direction::take_moved`].
    moved: bool,
}

impl Direction {
    /// A direction that delivers `read_ahead` before anything else.
    pub(super) fn new(read_ahead: Vec<u8>) -> Self {
        Self {
            stash: stash(read_ahead),
            delivered: 0,
            flow: Flow::Open,
            unflushed: false,
            moved: false,
        }
    }

    /// Bytes the sink took.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The source's FIN was seen.
    pub(super) fn source_ended(&self) -> bool {
        self.flow != Flow::Open
    }

    /// The FIN was passed on: nothing will move here any more.
    pub(super) fn is_done(&self) -> bool {
        self.flow == Flow::Done
    }

    /// Whether bytes moved since the last call.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Moves bytes until one side would block. Ready when the FIN was passed on, or on an error.
    pub(super) fn poll_pump<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        scratch: &mut [u8],
    ) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..ROUNDS {
            ready!(self.poll_stash(cx, sink)).map_err(Broken::Sink)?;
            match self.flow {
                Flow::Open => {}
                Flow::Finishing => return self.poll_finish(cx, sink).map_err(Broken::Sink),
                Flow::Done => return Poll::Ready(Ok(())),
            }
            let mut read = ReadBuf::new(scratch);
            match Pin::new(&mut *source).poll_read(cx, &mut read) {
                Poll::Pending => {
                    ready!(self.poll_flush(cx, sink)).map_err(Broken::Sink)?;
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Source(error))),
                Poll::Ready(Ok(())) => {}
            }
            match read.filled() {
                [] => self.flow = Flow::Finishing,
                bytes => self.write(cx, sink, bytes).map_err(Broken::Sink)?,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes at once; what the sink does not take is stashed.
    fn write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        mut bytes: &[u8],
    ) -> io::Result<()> {
        self.moved = true;
        while !bytes.is_empty() {
            match Pin::new(&mut *sink).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(taken)) => {
                    self.took(taken);
                    bytes = bytes.get(taken..).unwrap_or_default();
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.stash = stash(bytes.to_vec());
                    break;
                }
            }
        }
        Ok(())
    }

    fn poll_stash<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<io::Result<()>> {
        while let Some(stash) = &mut self.stash {
            let rest = stash.bytes.get(stash.sent..).unwrap_or_default();
            if rest.is_empty() {
                self.stash = None;
                break;
            }
            let taken = ready!(Pin::new(&mut *sink).poll_write(cx, rest))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            stash.sent = stash.sent.saturating_add(taken);
            self.moved = true;
            self.took(taken);
        }
        Poll::Ready(Ok(()))
    }

    fn took(&mut self, bytes: usize) {
        self.delivered = self.delivered.saturating_add(bytes as u64);
        self.unflushed = true;
    }

    fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(sink).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_finish<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(sink).poll_shutdown(cx)) {
            Err(error) if !already_gone(&error) => return Poll::Ready(Err(error)),
            _ => self.flow = Flow::Done,
        }
        self.moved = true;
        Poll::Ready(Ok(()))
    }
}

fn stash(bytes: Vec<u8>) -> Option<Box<Stash>> {
    (!bytes.is_empty()).then(|| Box::new(Stash { bytes, sent: 0 }))
}
