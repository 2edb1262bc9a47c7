//! One direction of a tunnel: read from one stream, look at the frames, write to the other, keep a
//! stash only when a write came up short. The stash pauses reading, which is the backpressure.

mod placing;
mod writing;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Watch;
use super::insert::{Insert, Place};
use super::meter::{Event, Fate, Meter};
use super::offence::Offence;
use super::rate::{Allowance, Rate};
use super::stash::Stash;
use super::stop::Stop;
use super::surroundings::Surroundings;

/// Reads in one poll before other tasks get their turn; with tokio's own budget this bounds how
/// long a busy tunnel keeps the worker.
const ROUNDS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// Reading and writing.
    Open,
    /// The last frame to the sink is written or stashed. The source is read on for its Close, and
    /// nothing of it passes.
    Sealed,
    /// The sink is gone. The source is read on for its Close, and nothing of it passes.
    Severed,
    /// The source said FIN; what is stashed goes out, then our FIN.
    Finishing,
    /// Our FIN is out.
    Done,
}

/// The state of one direction: a few words, and a stash only under backpressure.
#[derive(Debug)]
pub(super) struct Direction {
    /// `None` where bytes have no meaning.
    meter: Option<Meter>,
    stash: Option<Box<Stash>>,
    insert: Option<Box<Insert>>,
    /// What was read before the tunnel began and was not looked at yet.
    ahead: Option<Box<Bytes>>,
    /// What the source may still send.
    allowance: Option<Box<Allowance>>,
    delivered: u64,
    messages: u64,
    /// The code of the source's Close, once that has come.
    close: Option<Option<u16>>,
    flow: Flow,
    /// The source is gone: nothing more comes of it.
    deaf: bool,
    /// The source ended without a Close, and the sink was told by one.
    told_loss: bool,
    /// The source sends what cannot be read; it is thrown away until its FIN.
    garbled: bool,
    /// The sink may hold bytes of ours that a flush would send (TLS).
    unflushed: bool,
    /// Bytes moved since [`Direction::take_moved`].
    moved: bool,
    /// A peer's messages moved since [`Direction::take_live`], or bytes without meaning.
    live: bool,
    /// The source is not read, for what the sink does not take or the rate does not allow.
    paused: bool,
    /// The rate is what does not allow it.
    throttled: bool,
    /// Bytes came since [`Direction::take_heard`].
    heard: bool,
    /// The sink took bytes since [`Direction::note_stall`].
    wrote: bool,
    /// A frame of Bowline's was placed since [`Direction::take_placed`].
    placed: bool,
}

impl Direction {
    /// A direction that delivers `read_ahead` before anything else. Without a meter, bytes have no
    /// meaning.
    pub(super) fn new(meter: Option<Meter>, rate: Option<Rate>, read_ahead: Vec<u8>) -> Self {
        // Where bytes have no meaning there are no messages.
        let rate =
            rate.map(|rate| Rate { messages: rate.messages.filter(|_| meter.is_some()), ..rate });
        let allowance = rate.and_then(|rate| Allowance::new(rate, Instant::now()));
        Self {
            meter,
            stash: None,
            insert: None,
            ahead: (!read_ahead.is_empty()).then(|| Box::new(read_ahead.into())),
            allowance: allowance.map(Box::new),
            delivered: 0,
            messages: 0,
            close: None,
            flow: Flow::Open,
            deaf: false,
            told_loss: false,
            garbled: false,
            unflushed: false,
            moved: false,
            live: false,
            paused: false,
            throttled: false,
            heard: false,
            wrote: false,
            placed: false,
        }
    }

    /// Bytes the sink took.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Messages that came whole.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// The code in the source's Close, once that has come.
    pub(super) fn close(&self) -> Option<Option<u16>> {
        self.close
    }

    /// The sink heard from Bowline that the source is gone.
    pub(super) fn told_loss(&self) -> bool {
        self.told_loss
    }

    /// The source's FIN was seen.
    pub(super) fn source_ended(&self) -> bool {
        matches!(self.flow, Flow::Finishing | Flow::Done) || self.deaf
    }

    /// The source has said its last: a Close or a FIN.
    pub(super) fn is_heard_out(&self) -> bool {
        self.source_ended() || (self.close.is_some() && !self.garbled)
    }

    /// Nothing of the source passes any more.
    fn is_sealed(&self) -> bool {
        matches!(self.flow, Flow::Sealed | Flow::Severed)
    }

    /// The source broke the rules, and is not understood any more.
    pub(super) fn is_garbled(&self) -> bool {
        self.garbled
    }

    /// The sink has got all that it will ever get, but for our FIN.
    pub(super) fn is_told(&self) -> bool {
        match self.flow {
            Flow::Open | Flow::Finishing => false,
            Flow::Sealed => self.stash.is_none() && !self.unflushed,
            Flow::Severed | Flow::Done => true,
        }
    }

    /// Nothing waits for the sink.
    pub(super) fn is_drained(&self) -> bool {
        self.stash.is_none() && self.insert.is_none() && !self.unflushed
    }

    /// The FIN was passed on, or there is nobody to pass it on to: nothing will move here any more.
    pub(super) fn is_done(&self) -> bool {
        self.flow == Flow::Done || (self.is_severed() && self.is_heard_out())
    }

    /// The sink is gone.
    pub(super) fn is_severed(&self) -> bool {
        self.flow == Flow::Severed
    }

    /// Whether bytes moved since the last call.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Whether a peer's messages moved since the last call: pings and pongs are no life of theirs.
    pub(super) fn take_live(&mut self) -> bool {
        std::mem::take(&mut self.live)
    }

    /// Whether the source is to be heard: not while it is not read, nor once it has said its last.
    pub(super) fn listens(&self) -> bool {
        !self.paused && !self.is_heard_out()
    }

    /// Whether bytes came from the source since the last call.
    pub(super) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Whether the last frame of Bowline's has gone out since the last call.
    pub(super) fn take_placed(&mut self) -> bool {
        let out = self.stash.is_none() && self.insert.is_none();
        out && std::mem::take(&mut self.placed)
    }

    /// Whether bytes wait for the sink that were not noted.
    pub(super) fn has_new_stall(&self) -> bool {
        self.stash.as_ref().is_some_and(|stash| stash.since.is_none())
    }

    /// Looks whether the sink takes what waits for it.
    pub(super) fn note_stall(&mut self, now: Instant) {
        let wrote = std::mem::take(&mut self.wrote);
        if let Some(stash) = &mut self.stash
            && (wrote || stash.since.is_none())
        {
            stash.since = Some(now);
        }
    }

    /// Since when the sink has taken nothing of what waits for it.
    pub(super) fn stalled(&self) -> Option<Instant> {
        self.stash.as_ref()?.since
    }

    /// From now on the source is read as fast as the sink takes it.
    pub(super) fn lift_rate(&mut self) {
        (self.allowance, self.throttled) = (None, false);
    }

    /// When the rate allows for more, while it does not.
    pub(super) fn resumes(&self) -> Option<Instant> {
        self.allowance.as_ref().filter(|_| self.throttled && self.flow == Flow::Open)?.fills()
    }

    /// The sink is gone: nothing can be told to it. The source is heard out all the same.
    pub(super) fn abandon(&mut self) {
        (self.insert, self.stash, self.unflushed) = (None, None, false);
        self.flow = match self.flow {
            Flow::Open | Flow::Sealed | Flow::Severed => Flow::Severed,
            Flow::Finishing | Flow::Done => Flow::Done,
        };
    }

    /// Sends a FIN behind the last frame.
    pub(super) fn finish(&mut self) {
        if self.flow == Flow::Sealed {
            self.flow = Flow::Finishing;
        }
    }

    /// The source is gone: nothing more comes of it.
    pub(super) fn deafen(&mut self) {
        self.deaf = true;
        if self.flow == Flow::Open && self.insert.is_some() && !self.at_boundary() {
            // The frame under way, behind which it was to stand, will never end.
            (self.insert, self.flow) = (None, Flow::Sealed);
        }
    }

    /// Moves bytes until one side would block. Ready when the FIN was passed on, or when something
    /// stops it.
    pub(super) fn poll_pump<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        (source, sink): (&mut R, &mut W),
        scratch: &mut [u8],
        around: &mut Surroundings<'_, impl Watch>,
    ) -> Poll<Result<(), Stop>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..ROUNDS {
            let written = self.poll_stash(cx, sink).map_err(Stop::Sink)?;
            match self.flow {
                Flow::Open => {
                    self.pause(written.is_pending(), around);
                    ready!(written);
                    if self.throttled {
                        ready!(self.poll_flush(cx, sink)).map_err(Stop::Sink)?;
                        return Poll::Pending;
                    }
                }
                // The source is heard out even when the sink takes nothing.
                Flow::Sealed | Flow::Severed => {}
                Flow::Finishing => {
                    ready!(written);
                    return self.poll_finish(cx, sink, around.answered).map_err(Stop::Sink);
                }
                Flow::Done => return Poll::Ready(Ok(())),
            }
            if let Some(mut ahead) = self.ahead.take() {
                let piece = ahead.split_to(self.longest_read().min(ahead.len()));
                self.ahead = Some(ahead).filter(|ahead| !ahead.is_empty());
                let carry = self.meter.as_ref().map_or(&[][..], Meter::carry);
                let mut input = [carry, &piece].concat();
                self.take_in(cx, sink, &mut input, around)?;
                continue;
            }
            if self.deaf {
                ready!(self.poll_flush(cx, sink)).map_err(Stop::Sink)?;
                return Poll::Pending;
            }
            let carried = self.restore(scratch);
            let room = scratch.get_mut(carried..).unwrap_or_default();
            let longest = self.longest_read().min(room.len());
            let mut read = ReadBuf::new(room.get_mut(..longest).unwrap_or_default());
            match Pin::new(&mut *source).poll_read(cx, &mut read) {
                Poll::Pending => {
                    ready!(self.poll_flush(cx, sink)).map_err(Stop::Sink)?;
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Stop::Source(error))),
                Poll::Ready(Ok(())) => {}
            }
            match read.filled().len() {
                0 => self.source_said_fin(around),
                length => {
                    let input = scratch.get_mut(..carried.saturating_add(length));
                    self.take_in(cx, sink, input.unwrap_or_default(), around)?;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Notes whether the source may be read: not while the sink is `stuck`, nor before its rate
    /// allows for more.
    fn pause(&mut self, stuck: bool, around: &Surroundings<'_, impl Watch>) {
        if let Some(allowance) = &mut self.allowance {
            let now = Instant::now();
            if stuck {
                allowance.hold_up(now)
            } else {
                allowance.let_go(now)
            }
            self.throttled = allowance.waits(now);
        }
        let paused = stuck || self.throttled;
        if paused && !self.paused {
            around.paused();
        }
        self.heard |= self.paused && !paused;
        self.paused = paused;
    }

    /// How much to read at once.
    fn longest_read(&self) -> usize {
        let left = self.meter.as_ref().map_or(0, Meter::payload_left);
        let allowance = self.allowance.as_ref();
        allowance.map_or(usize::MAX, |one| one.longest_read(left, Instant::now()))
    }

    /// Puts what waits in the meter in front of what will be read.
    fn restore(&self, scratch: &mut [u8]) -> usize {
        let carry = self.meter.as_ref().map_or(&[][..], Meter::carry);
        match scratch.get_mut(..carry.len()) {
            Some(front) if !carry.is_empty() => front.copy_from_slice(carry),
            _ => {}
        }
        carry.len()
    }

    fn source_said_fin(&mut self, around: &Surroundings<'_, impl Watch>) {
        self.seal_now();
        if self.is_sealed() {
            self.deaf = true;
            return;
        }
        if self.close.is_none()
            && self.at_boundary()
            && let Some(frame) = around.farewell()
        {
            self.stash.get_or_insert_default().push(&frame);
            self.told_loss = true;
        }
        self.flow = Flow::Finishing;
    }

    /// Passes on what was read, as far as the meter lets it.
    fn take_in<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        input: &mut [u8],
        around: &mut Surroundings<'_, impl Watch>,
    ) -> Result<(), Stop> {
        (self.moved, self.heard) = (true, true);
        if self.garbled {
            return Ok(());
        }
        let carried = self.meter.as_ref().map_or(0, |meter| meter.carry().len());
        let (fresh, before) = (input.len().saturating_sub(carried), self.messages);
        let offence = self.look(cx, sink, input, around)?;
        let spent = match &mut self.allowance {
            Some(allowance) if offence.is_none() && self.flow == Flow::Open => {
                allowance.take(self.messages.saturating_sub(before), fresh, Instant::now())
            }
            _ => false,
        };
        match offence {
            Some(offence) => {
                self.garbled = true;
                Err(Stop::Offence(offence))
            }
            None if spent => Err(Stop::OverRate),
            None => Ok(()),
        }
    }

    /// Looks through what was read, and writes what passes. Tells what may not.
    fn look<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        input: &mut [u8],
        around: &mut Surroundings<'_, impl Watch>,
    ) -> Result<Option<Offence>, Stop> {
        let (rules, sealed) = (around.rules, self.is_sealed());
        let Some(meter) = &mut self.meter else {
            self.live = true;
            self.write(cx, sink, input).map_err(Stop::Sink)?;
            return Ok(None);
        };
        let (messages, close, live) = (&mut self.messages, &mut self.close, &mut self.live);
        let replaces = self.insert.as_ref().is_some_and(|insert| insert.place == Place::ForClose);
        let scan = meter.scan(&rules, input, |event| {
            match event {
                Event::Message(bytes) => {
                    *messages = messages.saturating_add(1);
                    around.message(bytes);
                    *live = true;
                }
                Event::Close(code) => {
                    *close = close.or(Some(code));
                    *live = true;
                    if replaces {
                        return Fate::Swallow;
                    }
                }
                Event::Pong(payload) if around.is_ours(payload) => return Fate::Swallow,
                Event::Ping | Event::Pong(_) => {}
            }
            Fate::Pass
        });
        // A long message lives while it comes.
        *live |= scan.of_message;
        let passed = input.get(..scan.passed).unwrap_or_default();
        if sealed {
            self.garbled |= scan.offence.is_some();
            return Ok(None);
        }
        match scan.boundary {
            _ if replaces => {
                self.write(cx, sink, passed).map_err(Stop::Sink)?;
                if self.close.is_some() {
                    self.seal_now();
                }
            }
            Some(boundary) if self.insert.is_some() => {
                let (before, behind) = passed.split_at_checked(boundary).unwrap_or((passed, &[]));
                self.write(cx, sink, before).map_err(Stop::Sink)?;
                self.place_now();
                if self.flow == Flow::Open {
                    self.write(cx, sink, behind).map_err(Stop::Sink)?;
                }
            }
            _ => self.write(cx, sink, passed).map_err(Stop::Sink)?,
        }
        Ok(scan.offence)
    }

    fn at_boundary(&self) -> bool {
        self.meter.as_ref().is_some_and(Meter::at_boundary)
    }
}
