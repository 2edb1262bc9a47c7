//! What becomes due in a tunnel, and when: one timer for all of it, armed lazily.

use std::future::Future;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::direction::Direction;
use super::frame::Heading;
use super::goodbye::{Closing, Goodbye};
use super::heartbeat::Act;
use super::{Closer, Pulses, Reason, Stream, Tunnel, Watch};

/// What becomes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// An end, or what leads to it.
    End(Reason),
    /// A direction may be read again.
    Resume,
}

impl<C, U, W> Tunnel<C, U, W>
where
    C: Stream,
    U: Stream,
    W: Watch,
{
    /// Notes the time of what has just moved, if anybody will ask for it.
    pub(super) fn note(&mut self) {
        // All flags must be taken: a short circuit would leave one for the next wake-up.
        let moved = self.to_upstream.take_moved() | self.to_client.take_moved();
        let live = self.to_upstream.take_live() | self.to_client.take_live();
        let stall = self.to_upstream.has_new_stall() || self.to_client.has_new_stall();
        if stall || (moved && self.is_timed()) {
            let now = Instant::now();
            if live {
                self.active = now;
            }
            self.note_beats(now);
            self.to_client.note_stall(now);
            self.to_upstream.note_stall(now);
        }
    }

    /// Does what is due; `Some` when that is the end.
    pub(super) fn came_due(&mut self, due: Due) -> Option<(Reason, Closer)> {
        // The next poll reads on.
        let Due::End(reason) = due else { return None };
        if let Some(closing) = &mut self.closing {
            if !closing.late {
                return Some((reason, closing.closer));
            }
            closing.late = false;
            closing.until = Instant::now().checked_add(self.limits.close);
            self.to_client.seal_now();
            self.to_upstream.seal_now();
            return None;
        }
        let closer = match reason {
            Reason::HalfClose => self.first_to_close.unwrap_or(Closer::Bowline),
            _ => Closer::Bowline,
        };
        match reason {
            Reason::Heartbeat => match self.beat(Instant::now()) {
                Some(_) if !self.limits.tell_loss => return Some((reason, closer)),
                Some(gone) => self.lose(gone, Goodbye::lost(gone, closer, reason)),
                None => {}
            },
            // Nobody sends the FIN.
            Reason::HalfClose | Reason::Idle | Reason::MaxAge if self.all_said() => {
                return Some((Reason::Closed, self.first_to_close.unwrap_or(closer)));
            }
            // What carries bytes hears nothing.
            _ if self.limits.frames.is_none() => return Some((reason, closer)),
            Reason::MaxAge => match self.severed() {
                Some(gone) => return self.lost(gone),
                None => self.close(Goodbye::old()),
            },
            Reason::SlowConsumer => self.close(Goodbye::slow(self.slow(Instant::now()))),
            _ => self.close(Goodbye::due(reason, closer)),
        }
        None
    }

    /// When something becomes due, and what; `None` while nothing is timed.
    fn due(&self) -> Option<(Instant, Due)> {
        if let Some(Closing { reason, until, .. }) = self.closing.as_deref().copied() {
            return Some((until?, Due::End(reason)));
        }
        let directions = [&self.to_client, &self.to_upstream];
        let stalled = directions
            .into_iter()
            .filter_map(|direction| direction.stalled()?.checked_add(self.limits.write?));
        let resumes = directions.into_iter().filter_map(Direction::resumes);
        let ends = [
            self.beat_due().map(|due| (due, Reason::Heartbeat)),
            self.silence_due(),
            self.retires.map(|due| (due, Reason::MaxAge)),
            stalled.min().map(|due| (due, Reason::SlowConsumer)),
        ];
        let ends = ends.into_iter().flatten().map(|(due, reason)| (due, Due::End(reason)));
        ends.chain(resumes.map(|due| (due, Due::Resume))).min_by_key(|(due, _)| *due)
    }

    /// When a side is to be asked, or counts as gone.
    fn beat_due(&self) -> Option<Instant> {
        let pulses = &self.limits.pulses;
        let beats = [
            (pulses.client, &self.client_heartbeat, &self.to_upstream),
            (pulses.upstream, &self.upstream_heartbeat, &self.to_client),
        ];
        let beats = beats.into_iter().filter_map(|(pulse, heartbeat, from)| {
            heartbeat.as_ref().filter(|_| from.listens())?.due(pulse?)
        });
        beats.min()
    }

    /// When silence becomes an end, and which one.
    fn silence_due(&self) -> Option<(Instant, Reason)> {
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

    /// One side has ended, or has said Close: what is left has a time.
    fn is_half_closed(&self) -> bool {
        let (up, down) = (&self.to_upstream, &self.to_client);
        up.is_done() != down.is_done() || up.close().is_some() || down.close().is_some()
    }

    /// Whether anybody will ask when the last byte moved; otherwise the clock is not read.
    fn is_timed(&self) -> bool {
        self.limits.idle.is_some()
            || self.is_half_closed()
            || self.client_heartbeat.is_some()
            || self.upstream_heartbeat.is_some()
            || self.to_client.stalled().is_some()
            || self.to_upstream.stalled().is_some()
    }

    /// The side that has taken nothing for too long.
    fn slow(&self, now: Instant) -> Closer {
        let is_due = |direction: &Direction| {
            let due = direction.stalled().zip(self.limits.write);
            due.and_then(|(since, write)| since.checked_add(write)).is_some_and(|due| due <= now)
        };
        if is_due(&self.to_client) { Closer::Client } else { Closer::Upstream }
    }

    /// Tells the heartbeats what has come and what has gone out.
    fn note_beats(&mut self, now: Instant) {
        let (up, down) = (&mut self.to_upstream, &mut self.to_client);
        let (from_client, to_upstream) = (up.take_heard(), up.take_placed());
        let (from_upstream, to_client) = (down.take_heard(), down.take_placed());
        for (heartbeat, heard, placed) in [
            (&mut self.client_heartbeat, from_client, to_client),
            (&mut self.upstream_heartbeat, from_upstream, to_upstream),
        ] {
            let Some(heartbeat) = heartbeat else { continue };
            if heard {
                heartbeat.heard(now);
            }
            if placed {
                heartbeat.sent(now);
            }
        }
    }

    /// Sends the pings that are due; `Some` when a side did not answer the last one.
    fn beat(&mut self, now: Instant) -> Option<Closer> {
        let (up, down) = (&mut self.to_upstream, &mut self.to_client);
        let Pulses { client, upstream } = self.limits.pulses;
        // Who is not read cannot be heard.
        let (client, upstream) =
            (client.filter(|_| up.listens()), upstream.filter(|_| down.listens()));
        for (side, pulse, heartbeat, to, heading) in [
            (Closer::Client, client, &mut self.client_heartbeat, down, Heading::ToClient),
            (Closer::Upstream, upstream, &mut self.upstream_heartbeat, up, Heading::ToUpstream),
        ] {
            let (Some(pulse), Some(beating)) = (pulse, heartbeat.as_mut()) else { continue };
            match beating.act(pulse, now) {
                Act::Wait => {}
                Act::Gone => return Some(side),
                Act::Ask if to.takes_frames() => {
                    if beating.is_fresh()
                        && let Some(time) = self.limits.unacknowledged(pulse)
                    {
                        match side {
                            Closer::Client => self.client.give_up_after(time),
                            Closer::Bowline | Closer::Upstream => self.upstream.give_up_after(time),
                        }
                    }
                    to.insert(beating.ask(heading));
                }
                // The other side has said its last: what is left has a time of its own.
                Act::Ask => beating.rest(),
            }
        }
        None
    }

    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            let Some((due, what)) = self.due() else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= due {
                return Poll::Ready(what);
            }
            timer.as_mut().reset(due);
        }
    }
}
