//! What happened at one end of a tunnel, read off its log: frames with their times, and signs of
//! life.

use tokio::time::Instant;

use super::super::Rules;
use super::frames::{self, CLOSE, Frame};
use super::wire::Log;

/// One side as Bowline knew it until some time.
#[derive(Debug)]
pub(super) struct History<'a> {
    pub(super) log: &'a Log,
    pub(super) masks: bool,
    /// What it said, up to the first frame that may not pass, and when each had come.
    pub(super) said: Vec<(Frame, Instant)>,
    /// When it broke a rule, and whether that was a limit.
    pub(super) offence: Option<(Instant, bool)>,
    /// What it was sent, and from when to when; without an end when only a part was.
    pub(super) got: Vec<(Frame, Instant, Option<Instant>)>,
}

/// When the byte before `place` moved.
fn when(marks: &[(Instant, usize)], place: usize) -> Option<Instant> {
    let at = marks.partition_point(|(_, total)| *total < place);
    marks.get(at).map(|(at, _)| *at)
}

impl<'a> History<'a> {
    pub(super) fn new(log: &'a Log, masks: bool, rules: Option<Rules>) -> Self {
        let mut history = Self { log, masks, said: Vec::new(), offence: None, got: Vec::new() };
        let Some(rules) = rules else { return history };
        for frame in frames::read(&log.written) {
            let first = when(&log.writes, frame.bytes.start + 1);
            let last = when(&log.writes, frame.bytes.end).filter(|_| frame.whole);
            history.got.extend(first.map(|first| (frame, first, last)));
        }
        let mut message = 0;
        for frame in frames::read(&log.read) {
            let Some(header) = when(&log.reads, frame.bytes.start + frame.header) else { continue };
            if !frame.is_control() {
                message += frame.length as u64;
            }
            let unknown = frame.first & 0x0f == 3;
            let wrong = rules.strict && (unknown || frame.masked != masks);
            let big = message > rules.max_message || frame.length as u64 > rules.max_frame;
            if wrong || big {
                history.offence = Some((header, !wrong));
                break;
            }
            if frame.first >= 0x80 && !frame.is_control() {
                message = 0;
            }
            let came = when(&log.reads, frame.bytes.end).unwrap_or(header);
            history.said.push((frame, came));
        }
        history
    }

    /// Its Close, and when that had come.
    pub(super) fn close(&self) -> Option<(Instant, Option<u16>)> {
        let close = self.said.iter().find(|(frame, _)| frame.first == CLOSE && frame.whole);
        close.map(|(frame, at)| (*at, frame.code()))
    }

    /// When it began to end: a Close, a FIN, an error.
    pub(super) fn end(&self) -> Option<Instant> {
        let close = self.close().map(|(at, _)| at);
        [close, self.log.fin, self.log.broken].into_iter().flatten().min()
    }

    /// Messages that came whole.
    pub(super) fn messages(&self) -> u64 {
        let ends = |frame: &Frame| frame.whole && frame.first >= 0x80 && !frame.is_control();
        self.said.iter().filter(|(frame, _)| ends(frame)).count() as u64
    }

    /// When it was last heard.
    pub(super) fn heard(&self) -> Option<Instant> {
        self.log.reads.last().map(|(at, _)| *at)
    }

    /// From when to when each read went over the stream.
    fn batches(&self) -> impl Iterator<Item = (Instant, usize, usize)> + '_ {
        let totals = std::iter::once(0).chain(self.log.reads.iter().map(|(_, total)| *total));
        self.log.reads.iter().zip(totals).map(|((at, to), from)| (*at, from, *to))
    }

    /// The frames of it that have bytes among these.
    fn among(&self, from: usize, to: usize) -> impl Iterator<Item = &Frame> {
        let first = self.said.partition_point(|(frame, _)| frame.bytes.end <= from);
        let frames = self.said.iter().skip(first).map(|(frame, _)| frame);
        frames.take_while(move |frame| frame.bytes.start < to)
    }

    /// Times when a message of it surely moved.
    pub(super) fn surely_lives(&self, metered: bool) -> Vec<Instant> {
        let moves = |from: usize, to: usize| {
            !metered
                || self.among(from, to).any(|frame| match frame.is_control() {
                    true => frame.first == CLOSE && frame.whole && frame.bytes.end <= to,
                    false => to >= frame.bytes.start + frame.header,
                })
        };
        let batches = self.batches().filter(|(_, from, to)| moves(*from, *to));
        batches.map(|(at, ..)| at).collect()
    }

    /// Times that may count as life: a message or the beginning of one, a backlog that moves, an end.
    pub(super) fn may_live(&self, metered: bool) -> Vec<Instant> {
        let moves = |from: usize, to: usize| {
            let known = self.said.last().map_or(0, |(frame, _)| frame.bytes.end);
            let idle = |frame: &Frame| frame.is_control() && frame.first != CLOSE;
            !metered || to > known || self.among(from, to).any(|frame| !idle(frame))
        };
        let batches = self.batches().filter(|(_, from, to)| moves(*from, *to)).map(|(at, ..)| at);
        let log = self.log;
        let ends = [log.fin, log.broken, log.finished].into_iter().flatten();
        batches.chain(log.blocks.iter().map(|(_, until)| *until)).chain(ends).collect()
    }
}
