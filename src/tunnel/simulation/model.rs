//! What must be true of a tunnel, whatever its peers are like: told from its logs and its limits
//! alone, by rules written for this and not taken from the tunnel.

use std::time::Duration;

use tokio::time::Instant;

use super::super::{Closer, Ended, Pulse, Reason};
use super::Setup;
use super::frames::{CLOSE, Frame, PONG};
use super::history::History;
use super::wire::Log;

/// The clock of a timer goes in milliseconds, and rounds up.
const SLACK: Duration = Duration::from_millis(2);

/// A moment at which Bowline made up its mind, as it was right then.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) at: Instant,
    /// `None` when there was no Close of Bowline's on the way yet.
    pub(super) reason: Option<Reason>,
    /// What had gone over the client's and the upstream's wire.
    pub(super) logs: [Log; 2],
    /// What had come from them and was not read.
    pub(super) unread: [usize; 2],
}

/// A run, or a run so far.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) setup: &'a Setup,
    pub(super) began: Instant,
    pub(super) client: History<'a>,
    pub(super) upstream: History<'a>,
    pub(super) decision: Option<&'a Decision>,
    pub(super) ended: Option<(Instant, Ended)>,
    /// When it was cut, if it was.
    pub(super) cut: Option<Instant>,
    pub(super) now: Instant,
    pub(super) wrong: Vec<String>,
}

impl Model<'_> {
    /// All that is wrong with it.
    pub(super) fn judge(mut self) -> Vec<String> {
        self.deadlines();
        self.heartbeats();
        self.streams();
        if let (Some((at, ended)), Some(decision)) = (self.ended, self.decision) {
            let rules = self.setup.limits.frames;
            let [client, upstream] = &decision.logs;
            let then = [History::new(client, true, rules), History::new(upstream, false, rules)];
            self.reason(decision, &then, &ended);
            self.closer(&then, &ended);
            self.goodbye(decision, at, &ended);
            self.account(&then, &ended);
        }
        self.wrong
    }

    pub(super) fn claim(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(what());
        }
    }

    pub(super) fn metered(&self) -> bool {
        self.setup.limits.frames.is_some()
    }

    /// When it stopped to live by its limits.
    fn until(&self) -> Instant {
        self.decision.map_or(self.now, |decision| decision.at)
    }

    fn sides(&self) -> [(&History<'_>, &History<'_>, Option<Pulse>); 2] {
        let pulses = self.setup.limits.pulses;
        [
            (&self.client, &self.upstream, pulses.client),
            (&self.upstream, &self.client, pulses.upstream),
        ]
    }

    /// Nothing lives longer than it may.
    fn deadlines(&mut self) {
        let (until, limits) = (self.until(), self.setup.limits);
        let metered = self.metered();
        let mut life = [self.client.may_live(metered), self.upstream.may_live(metered)].concat();
        life.push(self.began);
        let mut late = Vec::new();
        let mut gaps = |what: &str, since: Instant, limit: Duration| {
            let from = life.iter().copied().filter(|at| (since..=until).contains(at));
            let times = from.map(|at| (at, at)).collect();
            late.extend(
                silence(times, until)
                    .filter(|gap| *gap > limit + SLACK)
                    .map(|gap| format!("{what} after {gap:?}, not {limit:?}")),
            );
        };
        if let Some(idle) = limits.idle {
            gaps("idle", self.began, idle);
        }
        if let Some(since) = half_closed([&self.client, &self.upstream]) {
            gaps("half-closed", since, limits.half_close);
        }
        for side in [&self.client, &self.upstream] {
            let open = side.log.blocked.map(|since| (since, until));
            for (since, end) in side.log.blocks.iter().copied().chain(open) {
                let lasted = end.min(until).saturating_duration_since(since);
                if limits.write.is_some_and(|write| lasted > write + SLACK) {
                    late.push(format!("blocked for {lasted:?}"));
                }
            }
        }
        let age = until.duration_since(self.began);
        if self.setup.max_age.is_some_and(|max| age > max + SLACK) {
            late.push(format!("{age:?} old"));
        }
        let drain = self.setup.drain.filter(|_| metered);
        if drain.is_some_and(|(after, _)| age > after + SLACK) {
            late.push(format!("{age:?} old after a drain"));
        }
        if let (Some(cut), Some((at, _))) = (self.cut, self.ended)
            && at > cut + SLACK
        {
            late.push("not cut at once".into());
        }
        self.wrong.append(&mut late);
    }

    /// Nobody is silent for long, but is asked, and gone without an answer.
    fn heartbeats(&mut self) {
        let (until, metered) = (self.until(), self.metered());
        let mut late = Vec::new();
        for (side, other, pulse) in self.sides() {
            if let Some(pulse) = pulse.filter(|_| metered) {
                let until = [Some(until), side.end(), other.end()];
                let until = until.into_iter().flatten().min().unwrap_or(self.now);
                let most = pulse.interval + pulse.timeout + SLACK * 2;
                let gaps = silence(excuses(side, other, self.began, until), until);
                late.extend(gaps.filter(|gap| *gap > most).map(|gap| {
                    format!(
                        "nothing was heard for {gap:?}, and nobody asked (masks: {})",
                        side.masks
                    )
                }));
            }
        }
        self.wrong.append(&mut late);
    }

    /// The reason is one that held when it was found.
    fn reason(&mut self, decision: &Decision, then: &[History<'_>; 2], ended: &Ended) {
        if let Some(reason) = decision.reason {
            let same = reason == ended.reason || self.cut.is_some();
            self.claim(same, || format!("{reason:?} became {:?}", ended.reason));
        }
        let (at, limits, metered) = (decision.at, self.setup.limits, self.metered());
        let last = then.iter().flat_map(|side| side.surely_lives(metered)).max();
        let last = last.unwrap_or(self.began);
        let quiet = at.duration_since(last);
        let age = at.duration_since(self.began);
        let has = |found: fn(&History<'_>) -> bool| then.iter().any(found);
        let holds = match decision.reason.unwrap_or(ended.reason) {
            Reason::Closed => !metered || has(|side| side.close().is_some()),
            Reason::Drain if self.cut.is_some() => true,
            Reason::Drain => {
                self.setup.drain.is_some_and(|(after, _)| age >= after && !super::is_shed(after))
            }
            Reason::Rebalance => self
                .setup
                .drain
                .is_some_and(|(after, cut)| age >= after && !cut && super::is_shed(after)),
            Reason::Error => has(|side| side.log.broken.is_some()),
            Reason::HalfClose => {
                let since = half_closed(then).map(|since| at.saturating_duration_since(since));
                quiet.min(since.unwrap_or_default()) >= limits.half_close
            }
            Reason::Heartbeat => self.is_dead(decision, then),
            Reason::Idle => limits.idle.is_some_and(|idle| quiet >= idle),
            Reason::Lost => {
                has(|side| side.close().is_none() && (side.log.fin.or(side.log.broken)).is_some())
            }
            Reason::MaxAge => self.setup.max_age.is_some_and(|max| age >= max),
            Reason::Protocol => has(|side| side.offence.is_some_and(|(_, big)| !big)),
            // No side has one.
            Reason::Rate => false,
            Reason::SlowConsumer => then
                .iter()
                .filter_map(|side| side.log.blocked)
                .any(|since| limits.write.is_some_and(|write| at.duration_since(since) >= write)),
            Reason::TooBig => has(|side| side.offence.is_some_and(|(_, big)| big)),
        };
        self.claim(holds, || {
            format!(
                "{:?} did not hold at {age:?}: quiet for {quiet:?}, unread {:?}",
                ended.reason, decision.unread
            )
        });
    }

    /// Whether a side that was asked has kept quiet for as long as it may, with nothing of it unread.
    fn is_dead(&self, decision: &Decision, then: &[History<'_>; 2]) -> bool {
        let dead = |side: &History<'_>, pulse: Pulse| {
            let pings = side.got.iter().filter(|(frame, ..)| frame.is_ping_of_bowline());
            let asked = pings.filter_map(|(ping, _, out)| Some((ping, (*out)?))).next_back();
            let silent = decision.at.duration_since(side.heard().unwrap_or(self.began));
            asked.is_some_and(|(ping, asked)| {
                let answers = |frame: &Frame| frame.first == PONG && frame.payload == ping.payload;
                !side.said.iter().any(|(frame, _)| answers(frame))
                    && decision.at.duration_since(asked) >= pulse.timeout
                    && silent >= pulse.timeout.max(pulse.interval)
            })
        };
        let pulses = [self.setup.limits.pulses.client, self.setup.limits.pulses.upstream];
        let mut sides = then.iter().zip(pulses).zip(decision.unread);
        sides.any(|((side, pulse), unread)| unread == 0 && pulse.is_some_and(|p| dead(side, p)))
    }

    /// Who began it is who began it.
    fn closer(&mut self, then: &[History<'_>; 2], ended: &Ended) {
        use Reason::{Closed, Error, HalfClose, Lost};
        let ends = [then[0].end(), then[1].end()];
        let first = ends.into_iter().flatten().min();
        let holds = match (ended.reason, ended.closer) {
            (Closed | Error | HalfClose | Lost, Closer::Client) => {
                ends[0].is_some() && ends[0] == first
            }
            (Closed | Error | HalfClose | Lost, Closer::Upstream) => {
                ends[1].is_some() && ends[1] == first
            }
            (Closed | Error | HalfClose | Lost, Closer::Bowline) => false,
            (_, closer) => closer == Closer::Bowline,
        };
        self.claim(holds, || {
            format!("{:?} did not begin {:?}: {ends:?}", ended.closer, ended.reason)
        });
    }

    /// The end takes the time that it may, and not less unless all is said.
    fn goodbye(&mut self, decision: &Decision, at: Instant, ended: &Ended) {
        let took = at.duration_since(decision.at);
        let Some(reason) = decision.reason else {
            return self.claim(took.is_zero(), || "an end without a decision".into());
        };
        let close = self.setup.limits.close;
        let offence = matches!(reason, Reason::Protocol | Reason::TooBig);
        let most = if offence { close * 2 } else { close };
        self.claim(took <= most + SLACK, || format!("{reason:?} took {took:?}, not {most:?}"));
        let given_up =
            matches!(reason, Reason::Heartbeat | Reason::Lost | Reason::Error | Reason::Closed);
        let heard_out = self.client.end().is_some() && self.upstream.end().is_some();
        if took < close && !given_up && self.cut.is_none() {
            self.claim(heard_out, || format!("{:?} was over after {took:?}", ended.reason));
        }
        if self.cut.is_none() {
            let [client, upstream] = &decision.logs;
            let told = [is_told(&self.client, client), is_told(&self.upstream, upstream)];
            // One of two that were given up needs no word.
            let enough = if given_up { told[0] || told[1] } else { told[0] && told[1] };
            self.claim(enough, || format!("not told: {told:?}"));
        }
    }
}

/// Whether a side that could be told of the end was.
fn is_told(side: &History<'_>, then: &Log) -> bool {
    let log = side.log;
    // Nothing goes behind a FIN.
    let gone = log.fin.or(log.broken).or(then.finished).or(log.blocked).is_some();
    let last = side.got.last().map(|(frame, ..)| frame);
    // Nor into a frame that did not end.
    gone || last.is_some_and(|frame| frame.first == CLOSE || !frame.whole)
}

/// Since when a tunnel has been half-closed: a FIN that was passed on, or a Close.
fn half_closed<'a>(sides: impl IntoIterator<Item = &'a History<'a>>) -> Option<Instant> {
    let since = |side: &History<'_>| [side.close().map(|(at, _)| at), side.log.finished];
    sides.into_iter().flat_map(since).flatten().min()
}

/// The times between what `covers`, up to `until`.
fn silence(mut covers: Vec<(Instant, Instant)>, until: Instant) -> impl Iterator<Item = Duration> {
    covers.push((until, until));
    covers.sort_unstable();
    let mut reach = covers[0].0;
    covers.into_iter().filter(move |(from, _)| *from <= until).map(move |(from, to)| {
        let gap = from.saturating_duration_since(reach);
        reach = reach.max(to);
        gap
    })
}

/// What may keep Bowline from asking `side`: it is heard, it is not read, a frame to it is under
/// way, or it takes nothing.
fn excuses(
    side: &History<'_>,
    other: &History<'_>,
    began: Instant,
    until: Instant,
) -> Vec<(Instant, Instant)> {
    let mut excuses = vec![(began, began)];
    excuses.extend(side.log.reads.iter().map(|(at, _)| (*at, *at)));
    for log in [side.log, other.log] {
        excuses.extend_from_slice(&log.blocks);
        excuses.extend(log.blocked.map(|since| (since, until)));
    }
    excuses.extend(side.got.iter().map(|(_, from, to)| (*from, to.unwrap_or(until))));
    excuses
}
