//! What goes to the sink of a direction: at once as far as it takes it, the rest by way of the stash.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::super::already_gone;
use super::{Direction, Flow};

impl Direction {
    /// Writes at once, behind what is stashed; what the sink does not take is stashed.
    pub(super) fn write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        mut bytes: &[u8],
    ) -> io::Result<()> {
        if let Some(stash) = &mut self.stash {
            stash.pass(bytes);
            return Ok(());
        }
        while !bytes.is_empty() {
            match Pin::new(&mut *sink).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(taken)) => {
                    self.took(taken);
                    bytes = bytes.get(taken..).unwrap_or_default();
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.stash.get_or_insert_default().pass(bytes);
                    break;
                }
            }
        }
        Ok(())
    }

    pub(super) fn poll_stash<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<io::Result<()>> {
        while let Some(stash) = &mut self.stash {
            if stash.rest().is_empty() {
                self.stash = None;
                break;
            }
            let taken = ready!(Pin::new(&mut *sink).poll_write(cx, stash.rest()))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            stash.took(taken);
            self.live |= stash.foreign;
            self.moved = true;
            self.took(taken);
        }
        Poll::Ready(Ok(()))
    }

    fn took(&mut self, bytes: usize) {
        self.wrote = true;
        self.delivered = self.delivered.saturating_add(bytes as u64);
        self.unflushed = true;
    }

    pub(super) fn poll_flush<W: AsyncWrite + Unpin>(
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

    /// Ends what goes to the sink. When it has `answered` the source's Close, no FIN is owed: the drop of
    /// the streams, which follows, says it.
    pub(super) fn poll_finish<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        answered: bool,
    ) -> Poll<io::Result<()>> {
        if answered && self.close.is_some() {
            ready!(self.poll_flush(cx, sink))?;
        } else if let Err(error) = ready!(Pin::new(sink).poll_shutdown(cx))
            && !already_gone(&error)
        {
            return Poll::Ready(Err(error));
        }
        // A shutdown flushes too.
        self.unflushed = false;
        self.flow = Flow::Done;
        (self.moved, self.live) = (true, true);
        Poll::Ready(Ok(()))
    }
}
