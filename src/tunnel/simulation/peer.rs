//! A peer with manners of its own: it talks and falls silent, reads or does not, answers or does
//! not, and ends in one of many ways.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::dice::Dice;
use super::frames::{self, CLOSE, PING, PONG};
use super::wire::{Gauge, Wire};

/// What a peer is like.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    /// Frames have keys.
    masks: bool,
    /// Milliseconds between two things it does, at most.
    pause: u64,
    /// Milliseconds within a frame, at most; seldom.
    dwells: u64,
    /// What it says is as large as this.
    largest: usize,
    reads: Reading,
    /// After how long pings are answered.
    pongs: Option<Duration>,
    echoes_close: bool,
    /// Drops its socket when all is said.
    leaves: bool,
    /// Says nothing of its own after this.
    quiet_after: Duration,
    ends: Option<(Duration, End)>,
}

#[derive(Clone, Copy, Debug)]
enum Reading {
    AtOnce,
    /// Milliseconds between two reads, at most, and bytes in one.
    Slowly(u64, usize),
    /// Not at all for a while.
    But(Duration, Duration),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    CloseWithoutCode,
    /// A Close, and nobody minds it.
    CloseAndFin,
    Fin,
    /// Within a frame.
    FinInside,
    Reset,
    /// Leaves with whatever it was sent unread.
    Drop,
    /// Says and reads nothing any more.
    Freeze,
    /// A frame that means nothing.
    BadOpcode,
    /// A frame with a key where there is to be none, or without.
    BadMask,
    /// A frame over the limit.
    TooBig,
    /// A message over the limit.
    TooLong,
}

/// What every peer's messages are within, unless it means to break it.
pub(super) const MAX_FRAME: usize = 400;
pub(super) const MAX_MESSAGE: usize = 600;

/// It says no more than this: a run is to be short.
const MOST: usize = 100;

impl Manners {
    pub(super) fn new(dice: &mut Dice, masks: bool) -> Self {
        Self {
            masks,
            pause: dice.pick(&[100, 500, 3000, 20_000, 80_000]),
            dwells: dice.pick(&[0, 10, 2000, 40_000]),
            largest: dice.pick(&[3, 30, 180]),
            reads: match dice.between(0, 9) {
                0 | 1 => Reading::Slowly(dice.pick(&[100, 5000, 30_000]), dice.size(1, 200)),
                2 | 3 => Reading::But(dice.time(0, 60_000), dice.time(1000, 200_000)),
                _ => Reading::AtOnce,
            },
            pongs: dice.maybe(93, |dice| {
                let longest = dice.pick(&[0, 0, 100, 4000, 15_000]);
                dice.time(0, longest)
            }),
            echoes_close: dice.percent(80),
            leaves: dice.percent(80),
            quiet_after: dice.time(0, 250_000),
            ends: dice.maybe(70, |dice| {
                let end = dice.pick(&[
                    End::Close,
                    End::Close,
                    End::CloseWithoutCode,
                    End::CloseAndFin,
                    End::Fin,
                    End::FinInside,
                    End::Reset,
                    End::Drop,
                    End::Freeze,
                    End::BadOpcode,
                    End::BadMask,
                    End::TooBig,
                    End::TooLong,
                ]);
                (dice.time(0, 150_000), end)
            }),
        }
    }

    /// What it has said before anybody listened.
    pub(super) fn ahead(&self, dice: &mut Dice) -> Vec<u8> {
        let mut said = Vec::new();
        for _ in 0..dice.size(0, 3) {
            said.extend(self.frame(dice, 0x81, b"early"));
        }
        said
    }

    fn frame(&self, dice: &mut Dice, first: u8, payload: &[u8]) -> Vec<u8> {
        let key = (dice.roll() as u32).to_be_bytes();
        frames::write(first, payload, self.masks.then_some(key))
    }
}

/// What the reading half tells the writing half.
#[derive(Debug, Default)]
struct Heard {
    /// Frames to be sent, and when.
    answers: RefCell<VecDeque<(Instant, Vec<u8>)>>,
    /// The other side said Close, or its last.
    closed: RefCell<bool>,
    news: Notify,
}

/// Lives as long as it has something to do, and holds its socket until then.
pub(super) async fn live(wire: Wire, manners: Manners, mut dice: Dice) {
    let gauge = wire.gauge();
    let (reader, writer) = tokio::io::split(wire);
    let heard = Heard::default();
    let reading = Listener { manners: &manners, dice: dice.split(), heard: &heard };
    let began = Instant::now();
    let speaker = Speaker { manners: &manners, dice, heard: &heard, writer, gauge };
    tokio::select! {
        biased;
        _ = reading.listen(reader) => {}
        () = speaker.speak(began) => {}
    }
}

struct Listener<'a> {
    manners: &'a Manners,
    dice: Dice,
    heard: &'a Heard,
}

impl Listener<'_> {
    /// Returns when it is time to leave.
    async fn listen(mut self, mut reader: ReadHalf<Wire>) {
        let (mut got, mut at) = (Vec::new(), 0);
        let mut buffer = [0; 512];
        let began = Instant::now();
        loop {
            let most = match self.manners.reads {
                Reading::AtOnce => buffer.len(),
                Reading::Slowly(longest, most) => {
                    sleep(self.dice.time(0, longest)).await;
                    most
                }
                Reading::But(after, pause) => {
                    if began.elapsed() >= after {
                        sleep_until(began + after + pause).await;
                    }
                    buffer.len()
                }
            };
            match reader.read(&mut buffer[..most]).await {
                Ok(1..) if self.is_frozen(began) => std::future::pending().await,
                Ok(length @ 1..) => got.extend_from_slice(&buffer[..length]),
                Ok(0) => break,
                Err(_) => return,
            }
            for frame in frames::read(&got[at..]) {
                if frame.whole {
                    self.answer(&frame);
                }
            }
            at += frames::read(&got[at..])
                .iter()
                .filter(|frame| frame.whole)
                .map(|frame| frame.bytes.end)
                .max()
                .unwrap_or(0);
        }
        self.heard.closed.replace(true);
        self.heard.news.notify_one();
        if self.manners.leaves {
            // What is still to be said is lost.
            sleep(self.dice.time(0, 3000)).await;
            return;
        }
        std::future::pending().await
    }

    fn is_frozen(&self, began: Instant) -> bool {
        matches!(self.manners.ends, Some((after, End::Freeze)) if began.elapsed() >= after)
    }

    fn answer(&mut self, frame: &frames::Frame) {
        let now = Instant::now();
        match frame.first {
            PING => {
                let Some(delay) = self.manners.pongs else { return };
                let pong = self.manners.frame(&mut self.dice, PONG, &frame.payload);
                let mut answers = self.heard.answers.borrow_mut();
                answers.push_back((now + delay, pong.clone()));
                // Once more than it was asked.
                if self.dice.percent(5) {
                    answers.push_back((now + delay, pong));
                }
            }
            CLOSE => {
                if self.manners.echoes_close {
                    let code = frame.code().map(u16::to_be_bytes);
                    // Its own codes are its own: a test tells by them who said what.
                    let code = code.map(|_| 4000_u16.to_be_bytes());
                    let payload = code.as_ref().map_or(&[][..], |code| &code[..]);
                    let close = self.manners.frame(&mut self.dice, CLOSE, payload);
                    self.heard.answers.borrow_mut().push_back((now, close));
                }
                self.heard.closed.replace(true);
            }
            _ => return,
        }
        self.heard.news.notify_one();
    }
}

struct Speaker<'a> {
    manners: &'a Manners,
    dice: Dice,
    heard: &'a Heard,
    writer: WriteHalf<Wire>,
    gauge: Gauge,
}

/// The socket takes nothing any more.
struct Mute;

impl From<std::io::Error> for Mute {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Speaker<'_> {
    async fn speak(mut self, began: Instant) {
        match self.talk(began).await {
            Ok(Some(End::Drop | End::Reset)) => {}
            // It waits for whatever comes.
            _ => std::future::pending().await,
        }
    }

    async fn talk(&mut self, began: Instant) -> Result<Option<End>, Mute> {
        let ends = self.manners.ends;
        let quiet_after = began + self.manners.quiet_after;
        let (mut next, mut said) = (self.next(), 0);
        loop {
            let due = self.heard.answers.borrow().front().map(|(due, _)| *due);
            if due.is_some_and(|due| due <= Instant::now()) {
                let answer = self.heard.answers.borrow_mut().pop_front();
                let (_, frame) = answer.ok_or(Mute)?;
                self.writer.write_all(&frame).await?;
                if frame[0] == CLOSE {
                    return self.close_is_said().await;
                }
                continue;
            }
            if let Some((after, end)) = ends
                && began + after <= Instant::now()
            {
                return self.end(end).await;
            }
            if next <= Instant::now() {
                next = self.next();
                let done = said == MOST || Instant::now() >= quiet_after;
                if !done && !*self.heard.closed.borrow() {
                    said += 1;
                    self.say().await?;
                }
                continue;
            }
            let ends = ends.map(|(after, _)| began + after);
            let wake = [Some(next), due, ends].into_iter().flatten().min().unwrap_or(next);
            tokio::select! {
                biased;
                () = self.heard.news.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    fn next(&mut self) -> Instant {
        Instant::now() + self.dice.time(0, self.manners.pause)
    }

    fn frame(&mut self, first: u8, payload: &[u8]) -> Vec<u8> {
        self.manners.frame(&mut self.dice, first, payload)
    }

    fn payload(&mut self) -> Vec<u8> {
        let length = self.dice.size(0, self.manners.largest);
        let byte = self.dice.roll() as u8;
        vec![byte; length]
    }

    /// A message in some frames, with control frames between them, or a control frame.
    async fn say(&mut self) -> Result<(), Mute> {
        let last = self.dice.pick(&[0, 0, 0, 1, 3]);
        for part in 0..=last {
            if self.dice.percent(20) {
                let first = self.dice.pick(&[PING, PONG]);
                // Never eight bytes: those are Bowline's.
                let length = self.dice.pick(&[0, 1, 7, 9, 100]);
                let frame = self.frame(first, &vec![b'?'; length]);
                self.send(frame).await?;
            }
            if last == 0 && self.dice.percent(20) {
                return Ok(());
            }
            let opcode = if part == 0 { 2 } else { 0 };
            let fin = if part == last { 0x80 } else { 0 };
            let payload = self.payload();
            let frame = self.frame(fin | opcode, &payload[..payload.len().min(150)]);
            self.send(frame).await?;
            if part < last {
                sleep(self.dice.time(0, self.manners.dwells)).await;
            }
        }
        Ok(())
    }

    async fn send(&mut self, frame: Vec<u8>) -> Result<(), Mute> {
        let dwells = if self.dice.percent(10) { self.manners.dwells } else { 0 };
        let (front, back) = frame.split_at(self.dice.size(0, frame.len()));
        self.writer.write_all(front).await?;
        if dwells > 0 {
            sleep(self.dice.time(0, dwells)).await;
        }
        Ok(self.writer.write_all(back).await?)
    }

    async fn close_is_said(&mut self) -> Result<Option<End>, Mute> {
        while !*self.heard.closed.borrow() {
            self.heard.news.notified().await;
        }
        if self.manners.leaves {
            self.writer.shutdown().await?;
            if self.dice.percent(50) {
                return Ok(Some(End::Drop));
            }
        }
        Ok(None)
    }

    async fn end(&mut self, end: End) -> Result<Option<End>, Mute> {
        let wrong = match end {
            End::Close | End::CloseAndFin => {
                let code = self.dice.pick(&[1000_u16, 3000, 4001]).to_be_bytes();
                let close = self.frame(CLOSE, &code);
                self.send(close).await?;
                if matches!(end, End::CloseAndFin) {
                    self.writer.shutdown().await?;
                    return Ok(None);
                }
                return self.close_is_said().await;
            }
            End::CloseWithoutCode => {
                let close = self.frame(CLOSE, b"");
                self.send(close).await?;
                return self.close_is_said().await;
            }
            End::Fin => {
                self.writer.shutdown().await?;
                return Ok(None);
            }
            End::FinInside => {
                let frame = self.frame(0x82, b"never to be ended");
                let part = self.dice.size(1, frame.len() - 1);
                self.writer.write_all(&frame[..part]).await?;
                self.writer.shutdown().await?;
                return Ok(None);
            }
            End::Reset => {
                self.gauge.reset();
                return Ok(Some(end));
            }
            End::Drop | End::Freeze => return Ok(Some(end)),
            End::BadOpcode => self.frame(0x83, b"?"),
            End::BadMask => {
                let key = (!self.manners.masks).then_some([1, 2, 3, 4]);
                frames::write(0x82, b"wrong", key)
            }
            End::TooBig => self.frame(0x82, &[b'b'; MAX_FRAME + 1]),
            End::TooLong => {
                let part = self.frame(0x02, &[b'l'; MAX_FRAME]);
                self.writer.write_all(&part).await?;
                self.frame(0x80, &[b'l'; MAX_MESSAGE - MAX_FRAME + 1])
            }
        };
        self.writer.write_all(&wrong).await?;
        while !*self.heard.closed.borrow() {
            self.heard.news.notified().await;
        }
        if self.manners.leaves {
            self.writer.shutdown().await?;
        }
        Ok(None)
    }
}
