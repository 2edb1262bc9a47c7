//! A socket in memory: small buffers, FINs and resets, and a record of all that Bowline does at
//! its end of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::super::Stream;

/// One way of a connection.
#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    fin: bool,
    reset: bool,
    /// Its reader is gone: what is written meets a reset.
    unheard: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// What Bowline saw and did at one of its ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// Everything read, and when how much of it had been.
    pub(super) read: Vec<u8>,
    pub(super) reads: Vec<(Instant, usize)>,
    /// Everything the peer's buffer took, and when how much of it had been.
    pub(super) written: Vec<u8>,
    pub(super) writes: Vec<(Instant, usize)>,
    /// The first FIN or error that was met.
    pub(super) fin: Option<Instant>,
    pub(super) broken: Option<Instant>,
    /// When Bowline sent its FIN.
    pub(super) finished: Option<Instant>,
    /// Since when the peer's buffer takes nothing although Bowline wants to write.
    pub(super) blocked: Option<Instant>,
    /// From when to when that was so before.
    pub(super) blocks: Vec<(Instant, Instant)>,
}

impl Log {
    /// Leaves out what came at `now`.
    pub(super) fn forget(&mut self, now: Instant) {
        self.reads.retain(|(at, _)| *at < now);
        self.read.truncate(self.reads.last().map_or(0, |(_, total)| *total));
        self.fin = self.fin.filter(|at| *at < now);
    }

    fn broke(&mut self) -> io::Error {
        self.broken.get_or_insert_with(Instant::now);
        io::ErrorKind::ConnectionReset.into()
    }
}

/// One end of a connection. Its drop is a close: a FIN, or a reset when something was not read.
#[derive(Debug)]
pub(super) struct Wire {
    from: Rc<RefCell<Pipe>>,
    to: Rc<RefCell<Pipe>>,
    log: Option<Rc<RefCell<Log>>>,
}

/// A hold on a [`Wire`] that somebody else has.
#[derive(Clone, Debug)]
pub(super) struct Gauge {
    from: Rc<RefCell<Pipe>>,
    to: Rc<RefCell<Pipe>>,
}

impl Gauge {
    /// How much has come and was not read.
    pub(super) fn unread(&self) -> usize {
        self.from.borrow().bytes.len()
    }

    /// Both ways are gone at once, with what was under way.
    pub(super) fn reset(&self) {
        for pipe in [&self.from, &self.to] {
            let mut pipe = pipe.borrow_mut();
            pipe.reset = true;
            pipe.bytes.clear();
            pipe.wake();
        }
    }
}

/// A connection with buffers of these sizes: the peer's end, and Bowline's with its log.
pub(super) fn connect(to_peer: usize, to_bowline: usize) -> (Wire, Wire, Rc<RefCell<Log>>) {
    let pipe = |capacity| Rc::new(RefCell::new(Pipe { capacity, ..Pipe::default() }));
    let (down, up) = (pipe(to_peer), pipe(to_bowline));
    let log = Rc::<RefCell<Log>>::default();
    let peer = Wire { from: Rc::clone(&down), to: Rc::clone(&up), log: None };
    (peer, Wire { from: up, to: down, log: Some(Rc::clone(&log)) }, log)
}

impl Wire {
    pub(super) fn gauge(&self) -> Gauge {
        Gauge { from: Rc::clone(&self.from), to: Rc::clone(&self.to) }
    }
}

impl Stream for Wire {
    const DROP_IS_FIN: bool = true;

    fn give_up_after(&self, _: Duration) {}
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = self.from.borrow_mut();
        let mut log = self.log.as_ref().map(|log| log.borrow_mut());
        if pipe.reset {
            let error =
                log.map_or_else(|| io::ErrorKind::ConnectionReset.into(), |mut l| l.broke());
            return Poll::Ready(Err(error));
        }
        let length = pipe.bytes.len().min(to.remaining());
        if length == 0 && !pipe.fin {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes: Vec<u8> = pipe.bytes.drain(..length).collect();
        to.put_slice(&bytes);
        if let Some(log) = &mut log {
            let now = Instant::now();
            if length == 0 {
                log.fin.get_or_insert(now);
            } else {
                log.read.extend_from_slice(&bytes);
                let total = log.read.len();
                log.reads.push((now, total));
            }
        }
        if let Some(waker) = pipe.writer.take() {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.to.borrow_mut();
        let mut log = self.log.as_ref().map(|log| log.borrow_mut());
        if pipe.reset || pipe.unheard {
            let error = log.map_or_else(|| io::ErrorKind::BrokenPipe.into(), |mut l| l.broke());
            return Poll::Ready(Err(error));
        }
        let length = bytes.len().min(pipe.capacity - pipe.bytes.len());
        let now = Instant::now();
        if length == 0 {
            pipe.writer = Some(cx.waker().clone());
            if let Some(log) = &mut log {
                log.blocked.get_or_insert(now);
            }
            return Poll::Pending;
        }
        let bytes = &bytes[..length];
        pipe.bytes.extend(bytes);
        if let Some(log) = &mut log {
            log.written.extend_from_slice(bytes);
            let total = log.written.len();
            log.writes.push((now, total));
            if let Some(since) = log.blocked.take() {
                log.blocks.push((since, now));
            }
        }
        if let Some(waker) = pipe.reader.take() {
            waker.wake();
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.to.borrow_mut();
        if let Some(log) = &self.log {
            log.borrow_mut().finished.get_or_insert_with(Instant::now);
        }
        pipe.fin = true;
        pipe.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let unread = !self.from.borrow().bytes.is_empty();
        if unread && self.log.is_none() {
            self.gauge().reset();
        }
        self.from.borrow_mut().unheard = true;
        self.to.borrow_mut().fin = true;
        self.from.borrow_mut().wake();
        self.to.borrow_mut().wake();
    }
}
