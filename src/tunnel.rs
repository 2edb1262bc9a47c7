//! Stage 5: two streams become one. A [`Tunnel`] carries bytes both ways after the 101, holds no
//! buffer while idle, and ends with one [`Ended`]. It knows nothing of HTTP, routes or
//! configuration; whatever must outlive it (leases, counters) is held by the caller.

mod allowance;
mod direction;
mod due;
mod ended;
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod goodbye;
mod heartbeat;
mod insert;
mod limits;
mod meter;
mod offence;
mod pace;
mod rate;
mod roster;
mod scratch;
mod stash;
mod stop;
mod surroundings;
mod watch;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

pub use self::allowance::Allowance;
use self::direction::Direction;
pub use self::ended::{CODES, Closer, Ended, Reason};
pub use self::frame::Heading;
use self::goodbye::{BAD_GATEWAY, Closing, GOING_AWAY, Goodbye};
use self::heartbeat::Heartbeat;
pub use self::heartbeat::Pulse;
pub use self::limits::{Limits, Pulses};
use self::meter::Meter;
pub use self::meter::{Extensions, Rules};
pub use self::pace::Pace;
pub use self::rate::Rate;
use self::roster::Order;
pub use self::roster::{Group, Labels, Member, Roster, Ticket};
use self::stop::Stop;
use self::surroundings::Surroundings;
pub use self::watch::Watch;

/// A stream that a tunnel joins with another.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Whether its drop says all that its shutdown would, as TCP's does. TLS has a close_notify.
    const DROP_IS_FIN: bool;

    /// Has the kernel give up a peer that acknowledges nothing for so long (RFC 5482), where there is
    /// a kernel.
    fn give_up_after(&self, time: Duration);

    /// Makes the coming drop a reset, where there is such a thing: the peer must not take what it got for
    /// whole.
    fn reset(&mut self) {}
}

impl Stream for TcpStream {
    const DROP_IS_FIN: bool = true;

    fn give_up_after(&self, time: Duration) {
        // Without it the heartbeat does the same, a little later when it cannot get its ping out.
        drop(SockRef::from(self).set_tcp_user_timeout(Some(time)));
    }

    fn reset(&mut self) {
        // A failure leaves an ordinary close.
        drop(SockRef::from(&*self).set_linger(Some(Duration::ZERO)));
    }
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
pub struct Tunnel<C, U, W> {
    client: C,
    upstream: U,
    to_upstream: Direction,
    to_client: Direction,
    limits: Arc<Limits>,
    member: Member,
    began: Instant,
    active: Instant,
    first_to_close: Option<Closer>,
    /// The code of the first Close.
    code: Option<u16>,
    /// Boxed: most tunnels are not at their end.
    closing: Option<Box<Closing>>,
    client_heartbeat: Option<Heartbeat>,
    upstream_heartbeat: Option<Heartbeat>,
    /// When it is as old as it may get, or a side that takes nothing any more was heard for long enough.
    retires: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    watch: W,
}

impl<C, U, W> Tunnel<C, U, W>
where
    C: Stream,
    U: Stream,
    W: Watch,
{
    /// Joins two legs, whose 101 agreed on `extensions`. `member` is how a drain reaches this
    /// tunnel.
    pub fn new(
        client: Leg<C>,
        upstream: Leg<U>,
        limits: Arc<Limits>,
        extensions: Extensions,
        member: Member,
        watch: W,
    ) -> Self {
        let now = Instant::now();
        let metered = limits.frames.is_some();
        let meter = |heading| metered.then(|| Meter::new(heading, extensions));
        let beating = |pulse: Option<Pulse>| pulse.filter(|_| metered).map(|_| Heartbeat::new(now));
        Self {
            client: client.stream,
            upstream: upstream.stream,
            to_upstream: Direction::new(
                meter(Heading::ToUpstream),
                limits.client_rate,
                client.read_ahead,
            ),
            to_client: Direction::new(
                meter(Heading::ToClient),
                limits.upstream_rate,
                upstream.read_ahead,
            ),
            member,
            began: now,
            active: now,
            first_to_close: None,
            code: None,
            closing: None,
            client_heartbeat: beating(limits.pulses.client),
            upstream_heartbeat: beating(limits.pulses.upstream),
            retires: None,
            timer: None,
            limits,
            watch,
        }
    }

    /// Ends it properly once it is so old.
    #[must_use]
    pub fn retiring(mut self, age: Option<Duration>) -> Self {
        self.retires = age.and_then(|age| self.began.checked_add(age));
        self
    }

    /// Who counts, as given.
    pub fn watch(&self) -> &W {
        &self.watch
    }

    /// Moves what can be moved; `Some` when that ended the tunnel.
    fn poll_relay(&mut self, cx: &mut Context<'_>) -> Option<(Reason, Closer)> {
        loop {
            let stopped = scratch::with(|scratch| self.poll_both(cx, scratch));
            self.note_closer();
            match stopped {
                Some((from, stop)) => {
                    if let Some(end) = self.stopped(from, stop) {
                        return Some(end);
                    }
                }
                None if self.part_with_garbled() => {}
                None => return self.is_over(),
            }
        }
    }

    /// Moves both directions; tells what stopped one, and which side that one reads from.
    fn poll_both(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Option<(Closer, Stop)> {
        let rules = self.limits.frames.unwrap_or(Rules::OFF);
        let (tell_loss, watch) = (self.limits.tell_loss, &self.watch);
        let mut around = Surroundings {
            heading: Heading::ToUpstream,
            heartbeat: &mut self.client_heartbeat,
            answered: self.to_client.close().is_some(),
            rules,
            watch,
            tell_loss,
        };
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let up =
            self.to_upstream.poll_pump(cx, (&mut *client, &mut *upstream), scratch, &mut around);
        let mut around = Surroundings {
            heading: Heading::ToClient,
            heartbeat: &mut self.upstream_heartbeat,
            answered: self.to_upstream.close().is_some(),
            ..around
        };
        let down = self.to_client.poll_pump(cx, (upstream, client), scratch, &mut around);
        match (up, down) {
            (Poll::Ready(Err(stop)), _) => Some((Closer::Client, stop)),
            (_, Poll::Ready(Err(stop))) => Some((Closer::Upstream, stop)),
            _ => None,
        }
    }

    /// Remembers who began the end, and with which code.
    fn note_closer(&mut self) {
        if self.first_to_close.is_some() || self.closing.is_some() {
            return;
        }
        let (up, down) = (&self.to_upstream, &self.to_client);
        let (closer, direction, loss) = match (up.close(), down.close()) {
            (Some(_), _) => (Closer::Client, up, GOING_AWAY),
            (None, Some(_)) => (Closer::Upstream, down, BAD_GATEWAY),
            (None, None) if up.source_ended() => (Closer::Client, up, GOING_AWAY),
            (None, None) if down.source_ended() => (Closer::Upstream, down, BAD_GATEWAY),
            (None, None) => return,
        };
        self.first_to_close = Some(closer);
        self.code = match direction.close() {
            Some(code) => code,
            None => direction.told_loss().then_some(loss),
        };
        // What is left to say is not worth a rate.
        self.to_upstream.lift_rate();
        self.to_client.lift_rate();
    }

    /// What follows from a direction that cannot go on; `Some` when that is the end. `from` is the
    /// side it reads from.
    fn stopped(&mut self, from: Closer, stop: Stop) -> Option<(Reason, Closer)> {
        let gone = match (from, stop) {
            // What carries bytes hears nothing.
            (_, Stop::OverRate) if self.limits.frames.is_none() => {
                return Some((Reason::Rate, Closer::Bowline));
            }
            (_, Stop::OverRate) => {
                self.close(Goodbye::over_rate(from));
                return None;
            }
            (_, Stop::Offence(offence)) => {
                self.close(Goodbye::offence(from, offence));
                return None;
            }
            // Whoever takes nothing any more may have said something before, its Close perhaps.
            (_, Stop::Sink(_)) if self.limits.frames.is_some() => {
                match from {
                    Closer::Client => self.to_upstream.abandon(),
                    Closer::Bowline | Closer::Upstream => self.to_client.abandon(),
                }
                let heard = Instant::now().checked_add(self.limits.close);
                self.retires = self.retires.into_iter().chain(heard).min();
                return None;
            }
            (Closer::Client, Stop::Source(_)) | (Closer::Upstream, Stop::Sink(_)) => Closer::Client,
            _ => Closer::Upstream,
        };
        self.lost(gone)
    }

    /// The side that takes nothing any more, if there is one.
    fn severed(&self) -> Option<Closer> {
        match (self.to_client.is_severed(), self.to_upstream.is_severed()) {
            (true, _) => Some(Closer::Client),
            (_, true) => Some(Closer::Upstream),
            _ => None,
        }
    }

    /// What follows from a side that is gone; `Some` when that is the end.
    fn lost(&mut self, gone: Closer) -> Option<(Reason, Closer)> {
        // A reset behind a FIN or a Close is still their end: who closed first stays the closer.
        let closer = self.first_to_close.unwrap_or(gone);
        let fallen = if self.first_to_close.is_some() { Reason::Lost } else { Reason::Error };
        if self.limits.frames.is_none() {
            return Some((Reason::Error, closer));
        }
        if !self.limits.tell_loss && self.closing.is_none() {
            return Some((self.end_of(closer, fallen), closer));
        }
        self.lose(gone, Goodbye::lost(gone, closer, self.end_of(closer, fallen)));
        None
    }

    /// Gives a side up; the other one hears of it.
    fn lose(&mut self, gone: Closer, goodbye: Goodbye) {
        let (to_it, from_it) = match gone {
            Closer::Client => (&mut self.to_client, &mut self.to_upstream),
            Closer::Bowline | Closer::Upstream => (&mut self.to_upstream, &mut self.to_client),
        };
        to_it.abandon();
        from_it.deafen();
        self.close(goodbye);
    }

    /// How an end that `closer` began is called: where it said Close, nothing else matters.
    fn end_of(&self, closer: Closer, otherwise: Reason) -> Reason {
        let said = match closer {
            Closer::Client => self.to_upstream.close().is_some(),
            Closer::Upstream => self.to_client.close().is_some(),
            Closer::Bowline => false,
        };
        if said || self.limits.frames.is_none() { Reason::Closed } else { otherwise }
    }

    /// Ends the tunnel from Bowline's side: a Close to the client and one to the upstream, each
    /// behind the frame under way; their answers are waited for.
    fn close(&mut self, goodbye: Goodbye) {
        if self.closing.is_some() {
            return;
        }
        let Goodbye { reason, closer, code, offender, .. } = goodbye;
        let until = Instant::now().checked_add(self.limits.close);
        self.closing = Some(Box::new(Closing { reason, closer, until, late: offender.is_some() }));
        self.to_upstream.lift_rate();
        self.to_client.lift_rate();
        let said = self.to_upstream.close().is_some() || self.to_client.close().is_some();
        if !said && self.code.is_none() {
            self.code = Some(code);
        }
        goodbye.say(&mut self.to_client, &mut self.to_upstream);
    }

    /// Sends the FIN to a side that broke the rules, once it has its Close and the other side is
    /// done: it must see that nobody listens any more. Whether there was one to send.
    fn part_with_garbled(&mut self) -> bool {
        let part = |from: &Direction, to: &mut Direction| {
            let parts = from.is_garbled() && to.is_told() && to.is_heard_out() && !to.is_done();
            if parts {
                to.finish();
            }
            parts
        };
        let (up, down) = (&mut self.to_upstream, &mut self.to_client);
        part(up, down) || part(down, up)
    }

    /// Both sides have said Close, each to the other.
    fn all_said(&self) -> bool {
        let (up, down) = (&self.to_upstream, &self.to_client);
        self.closing.is_none() && up.close().is_some() && down.close().is_some()
    }

    /// Whether all has been said and heard.
    fn is_over(&self) -> Option<(Reason, Closer)> {
        let (up, down) = (&self.to_upstream, &self.to_client);
        if let Some(Closing { reason, closer, .. }) = self.closing.as_deref().copied() {
            let client = down.is_told() && up.is_heard_out();
            let upstream = up.is_told() && down.is_heard_out();
            return (client && upstream).then_some((reason, closer));
        }
        let closer = self.first_to_close.unwrap_or(Closer::Bowline);
        // Behind two Closes and one FIN nothing may come any more (RFC 6455 section 5.5.1).
        let done = if self.all_said() {
            (up.is_done() || down.is_done()) && up.is_drained() && down.is_drained()
        } else {
            up.is_done() && down.is_done()
        };
        done.then(|| (self.end_of(closer, Reason::Lost), closer))
    }

    fn ended(&mut self, cx: &mut Context<'_>, reason: Reason, closer: Closer) -> Ended {
        let broken = reason == Reason::Error;
        depart(cx, &mut self.client, broken && !self.to_client.is_told());
        depart(cx, &mut self.upstream, broken && !self.to_upstream.is_told());
        Ended {
            reason,
            closer,
            code: self.code,
            messages_to_upstream: self.to_upstream.messages(),
            messages_to_client: self.to_client.messages(),
            to_upstream: self.to_upstream.delivered(),
            to_client: self.to_client.delivered(),
            lasted: self.began.elapsed(),
        }
    }
}

impl<C, U, W> Future for Tunnel<C, U, W>
where
    C: Stream,
    U: Stream,
    W: Watch + Unpin,
{
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        loop {
            match this.member.poll_order(cx) {
                Some(Order::Cut) => {
                    return Poll::Ready(this.ended(cx, Reason::Drain, Closer::Bowline));
                }
                Some(Order::Close(_) | Order::Shed) if this.all_said() => {
                    let closer = this.first_to_close.unwrap_or(Closer::Bowline);
                    return Poll::Ready(this.ended(cx, Reason::Closed, closer));
                }
                Some(Order::Close(code)) if this.limits.frames.is_some() => {
                    this.close(Goodbye::drain(code));
                }
                Some(Order::Shed) if this.limits.frames.is_some() => this.close(Goodbye::shed()),
                // As at its greatest age.
                Some(Order::Shed) => {
                    return Poll::Ready(this.ended(cx, Reason::Rebalance, Closer::Bowline));
                }
                // What carries bytes cannot be told; it lives until it is cut.
                Some(Order::Close(_)) | None => {}
            }
            if let Some((reason, closer)) = this.poll_relay(cx) {
                return Poll::Ready(this.ended(cx, reason, closer));
            }
            this.note();
            let due = ready!(this.poll_due(cx));
            if let Some((reason, closer)) = this.came_due(due) {
                return Poll::Ready(this.ended(cx, reason, closer));
            }
        }
    }
}

/// Says what the drop of a stream, right after, does not say by itself. `torn`: its peer has heard neither a
/// Close nor a FIN, and the other side is broken. Best effort.
fn depart<S: Stream>(cx: &mut Context<'_>, stream: &mut S, torn: bool) {
    if torn {
        stream.reset();
    } else if !S::DROP_IS_FIN {
        drop(Pin::new(stream).poll_shutdown(cx));
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
mod simulation;

#[cfg(test)]
mod tests;
