//! What each side got, and what the end says of it.

use super::super::{Closer, Ended, Reason};
use super::frames::{CLOSE, Frame, PONG};
use super::history::History;
use super::model::Model;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passes,
    /// It answers a ping of Bowline's.
    Stays,
    /// It answers one that was asked so long ago that it may have been forgotten.
    Either,
}

/// So many pings back an answer is surely known: one of the eight may wait for its place.
const REMEMBERED: usize = 7;

impl Model<'_> {
    /// The streams, the counts and the code.
    pub(super) fn account(&mut self, then: &[History<'_>; 2], ended: &Ended) {
        let counts = [
            ("bytes to the upstream", ended.to_upstream, self.upstream.log.written.len() as u64),
            ("bytes to the client", ended.to_client, self.client.log.written.len() as u64),
            ("messages of the client", ended.messages_to_upstream, self.client.messages()),
            ("messages of the upstream", ended.messages_to_client, self.upstream.messages()),
        ];
        for (what, told, is) in counts {
            self.claim(told == is, || format!("{told} {what}, and there were {is}"));
        }
        self.code(then, ended);
    }

    /// Each side got what the other one said, and of Bowline only what may stand where it does.
    pub(super) fn streams(&mut self) {
        let sealed =
            self.decision.is_some_and(|decision| decision.reason.is_some()) || self.cut.is_some();
        let mut wrong = Vec::new();
        for (from, to) in [(&self.client, &self.upstream), (&self.upstream, &self.client)] {
            let way = if to.masks { "to the client" } else { "to the upstream" };
            let all = if self.metered() {
                passed(from, to)
            } else {
                let (read, written) = (&from.log.read, &to.log.written);
                if read.starts_with(written) {
                    Ok(read.len() == written.len())
                } else {
                    Err("other bytes than were sent".into())
                }
            };
            let excused = sealed || to.log.broken.is_some() || to.log.blocked.is_some();
            match all {
                Err(what) => wrong.push(format!("{way}: {what}")),
                Ok(false) if !excused => wrong.push(format!("{way}: not all that was sent")),
                Ok(_) => {}
            }
        }
        self.wrong.append(&mut wrong);
    }

    /// The code is that of the first Close.
    fn code(&mut self, then: &[History<'_>; 2], ended: &Ended) {
        if !self.metered() {
            return self.claim(ended.code.is_none(), || "a code, and no frames".into());
        }
        let said = [then[0].close(), then[1].close()];
        let first = then.iter().filter_map(History::end).min();
        let began = |side: &&History<'_>| first.is_some() && side.end() == first;
        // A loss that was told, by a Close or not; what the other side says to that is no first one.
        let lost = then.iter().filter(began).any(|side| side.close().is_none());
        let by_closer = match ended.closer {
            Closer::Client => said[0],
            Closer::Upstream => said[1],
            Closer::Bowline => {
                said.into_iter().flatten().min().filter(|(at, _)| Some(*at) == first)
            }
        };
        let holds = match (by_closer, ended.reason) {
            // Two in one moment: either.
            (Some((_, code)), _) => {
                ended.code == code
                    || (lost && matches!(ended.code, None | Some(1001 | 1014)))
                    || said.iter().flatten().any(|(_, other)| ended.code == *other)
            }
            (None, Reason::Lost | Reason::Heartbeat | Reason::Error | Reason::Closed) => {
                matches!(ended.code, None | Some(1001 | 1014))
            }
            (None, reason) => {
                let own = match reason {
                    Reason::Idle | Reason::HalfClose => 1001,
                    Reason::SlowConsumer => 1008,
                    Reason::Protocol => 1002,
                    Reason::TooBig => 1009,
                    _ => 1012,
                };
                // Who lost its other side before had heard of that.
                matches!(ended.code, Some(code) if code == own)
                    || (first.is_some() && matches!(ended.code, None | Some(1001 | 1014)))
                    || self.cut.is_some()
            }
        };
        self.claim(holds, || format!("the code is {:?}: {ended:?}, {said:?}", ended.code));
    }
}

/// Compares what `to` got with what `from` said: whether that was all.
fn passed(from: &History<'_>, to: &History<'_>) -> Result<bool, String> {
    let mut expected = fates(from).into_iter().peekable();
    let mut last = 0;
    let mut closed = false;
    for (frame, ..) in &to.got {
        last = frame.bytes.end;
        if closed {
            return Err(format!("a frame behind a Close: {frame:?}"));
        }
        closed = frame.first == CLOSE;
        if frame.is_of_bowline() {
            if frame.masked == to.masks {
                return Err(format!("a frame of Bowline's with the wrong mask: {frame:?}"));
            }
            continue;
        }
        let got = &to.log.written[frame.bytes.clone()];
        loop {
            let Some((said, fate)) = expected.next() else {
                return Err(format!("a frame that nobody sent: {frame:?}"));
            };
            let same = from.log.read[said.bytes.clone()].starts_with(got);
            match fate {
                Fate::Stays => {}
                Fate::Either if !same => {}
                // What is a part must be the last, or the next would not be read as one.
                Fate::Passes | Fate::Either if same => break,
                _ => return Err(format!("{said:?} was sent, and {frame:?} got")),
            }
        }
        if !frame.whole {
            let all = expected.peek().is_none();
            let half = from.said.last().is_some_and(|(said, _)| said.payload == frame.payload);
            return Ok(all && half);
        }
    }
    let rest = &to.log.written[last..];
    if closed && !rest.is_empty() {
        return Err(format!("bytes behind a Close: {rest:x?}"));
    }
    let waits = |frame: &Frame| frame.is_control() && !frame.whole;
    let left = expected.filter(|(frame, fate)| *fate == Fate::Passes && !waits(frame));
    Ok(rest.is_empty() && left.count() == 0)
}

/// What is to become of each frame that a side said.
fn fates<'a>(side: &'a History<'_>) -> Vec<(&'a Frame, Fate)> {
    let pings = side.got.iter().filter(|(frame, ..)| frame.is_ping_of_bowline() && frame.whole);
    let pings: Vec<_> = pings.map(|(frame, at, _)| (frame.payload.as_slice(), *at)).collect();
    let mut answered = Vec::new();
    side.said
        .iter()
        .map(|(frame, came)| {
            let asked = pings.iter().position(|(tag, _)| *tag == frame.payload);
            let Some(asked) = asked
                .filter(|asked| frame.first == PONG && frame.whole && !answered.contains(asked))
            else {
                return (frame, Fate::Passes);
            };
            answered.push(asked);
            let since = pings.iter().skip(asked).filter(|(_, at)| at <= came).count();
            (frame, if since <= REMEMBERED { Fate::Stays } else { Fate::Either })
        })
        .collect()
}
