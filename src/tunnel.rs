//! Stage 5: two streams become one. A [`Tunnel`] carries bytes both ways after the 101, holds no
//! buffer while idle, and ends with one [`Ended`]. It knows nothing of HTTP, routes or
//! configuration; whatever must outlive it (leases, counters) is held by the caller.

mod direction;
mod ended;
mod roster;
mod scratch;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use self::direction::{Broken, Direction};
pub use self::ended::{Closer, Ended, Reason};
pub use self::roster::{Member, Roster};

/// The times a tunnel lives by.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// No byte in either direction for so long ends the tunnel; `None` never does.
    pub idle: Option<Duration>,
    /// After one side's FIN was passed on: silence for so long ends what is left.
    pub half_close: Duration,
}

/// One side of a tunnel: its stream, and what was read from it before the tunnel began.
pub struct Leg<S> {
    /// The bare stream.
    pub stream: S,
    /// Bytes read ahead of the 101; delivered first, exactly once.
    pub read_ahead: Vec<u8>,
}

/// Two streams joined; a future that ends when both directions have, or when a limit says so.
///
/// It is plain data and two sockets: counters, states, at most one stash a direction. The one
/// timer is armed only when a limit needs it, and re-arms lazily: activity stores a time, nothing
/// more.
pub struct Tunnel<C, U> {
    client: C,
    upstream: U,
    to_upstream: Direction,
    to_client: Direction,
    limits: Limits,
    member: Member,
    began: Instant,
    active: Instant,
    first_to_close: Option<Closer>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<C, U> Tunnel<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Joins two legs. `member` is how a drain reaches this tunnel.
    pub fn new(client: Leg<C>, upstream: Leg<U>, limits: Limits, member: Member) -> Self {
        let now = Instant::now();
        Self {
            client: client.stream,
            upstream: upstream.stream,
            to_upstream: Direction::new(client.read_ahead),
            to_client: Direction::new(upstream.read_ahead),
            limits,
            member,
            began: now,
            active: now,
            first_to_close: None,
            timer: None,
        }
    }

    /// Moves what can be moved; `Some` when that ended the tunnel.
    fn poll_relay(&mut self, cx: &mut Context<'_>) -> Option<(Reason, Closer)> {
        let (up, down) = scratch::with(|scratch| {
            let up = self.to_upstream.poll_pump(cx, &mut self.client, &mut self.upstream, scratch);
            let down = self.to_client.poll_pump(cx, &mut self.upstream, &mut self.client, scratch);
            (up, down)
        });
        if self.first_to_close.is_none() {
            self.first_to_close =
                match (self.to_upstream.source_ended(), self.to_client.source_ended()) {
                    (true, _) => Some(Closer::Client),
                    (false, true) => Some(Closer::Upstream),
                    (false, false) => None,
                };
        }
        let broken = |side: Broken, source, sink| match side {
            Broken::Source(_) => source,
            Broken::Sink(_) => sink,
        };
        match (up, down) {
            (Poll::Ready(Err(side)), _) => {
                Some((Reason::Error, broken(side, Closer::Client, Closer::Upstream)))
            }
            (_, Poll::Ready(Err(side))) => {
                Some((Reason::Error, broken(side, Closer::Upstream, Closer::Client)))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Some((Reason::Closed, self.closer())),
            _ => None,
        }
        // A reset behind a FIN is still the FIN's end: who closed first stays the closer.
        .map(|(reason, closer)| (reason, self.first_to_close.unwrap_or(closer)))
    }

    fn closer(&self) -> Closer {
        self.first_to_close.unwrap_or(Closer::Bowline)
    }

    /// When silence becomes an end, and which one; `None` while nothing is timed.
    fn due(&self) -> Option<(Instant, Reason)> {
        let half_close =
            self.is_half_closed().then_some((self.limits.half_close, Reason::HalfClose));
        let idle = self.limits.idle.map(|after| (after, Reason::Idle));
        let (after, reason) = match (half_close, idle) {
            (Some(half), Some(idle)) => std::cmp::min_by_key(half, idle, |(after, _)| *after),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return None,
        };
        // An absurd duration overflows the clock: then it is never due.
        Some((self.active.checked_add(after)?, reason))
    }

    fn is_half_closed(&self) -> bool {
        self.to_upstream.is_done() != self.to_client.is_done()
    }

    /// Whether anybody will ask when the last byte moved; otherwise the clock is not read.
    fn is_timed(&self) -> bool {
        self.limits.idle.is_some() || self.is_half_closed()
    }

    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        loop {
            let Some((due, reason)) = self.due() else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= due {
                return Poll::Ready(reason);
            }
            timer.as_mut().reset(due);
        }
    }

    fn ended(&mut self, cx: &mut Context<'_>, reason: Reason, closer: Closer) -> Ended {
        if reason != Reason::Closed {
            // Best effort: TLS says close_notify, TCP says FIN. The sockets are dropped right after.
            drop(Pin::new(&mut self.client).poll_shutdown(cx));
            drop(Pin::new(&mut self.upstream).poll_shutdown(cx));
        }
        Ended {
            reason,
            closer,
            to_upstream: self.to_upstream.delivered(),
            to_client: self.to_client.delivered(),
            lasted: self.began.elapsed(),
        }
    }
}

impl<C, U> Future for Tunnel<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        if this.member.poll_cut(cx).is_ready() {
            return Poll::Ready(this.ended(cx, Reason::Drain, Closer::Bowline));
        }
        if let Some((reason, closer)) = this.poll_relay(cx) {
            return Poll::Ready(this.ended(cx, reason, closer));
        }
        // Both flags must be taken: a short circuit would leave one for the next wake-up.
        let moved = this.to_upstream.take_moved() | this.to_client.take_moved();
        if moved && this.is_timed() {
            this.active = Instant::now();
        }
        match this.poll_due(cx) {
            Poll::Ready(Reason::HalfClose) => {
                let closer = this.closer();
                Poll::Ready(this.ended(cx, Reason::HalfClose, closer))
            }
            Poll::Ready(reason) => Poll::Ready(this.ended(cx, reason, Closer::Bowline)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Whether an error of a socket's shutdown only says that the peer is gone already.
fn already_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotConnected | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests;
