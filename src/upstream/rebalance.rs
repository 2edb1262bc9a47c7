//! Which sockets are to move, and when: some of the fullest endpoint's, at a rate, until the skew is
//! met. Pure: a tick is a function of the time, the terms, the endpoints as they stand, and of what the
//! ticks before it have come to.
//!
//! What is shed comes back as least connections has it, so a tick plays that: it sheds from who is
//! fullest only while the socket would stand better with another one. Those who were told and have
//! not come back yet are played too, or each tick would shed them anew.

use std::collections::VecDeque;
use std::time::Duration;

use super::balance::WARM;
use crate::plan;

/// A client that was shed and is not back after this is not expected any more.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// A tick that comes late makes up for no more than this.
const LONGEST_TICK: Duration = Duration::from_secs(2);

/// Fewer sockets than these tell nothing about where they go.
const TELLING: u64 = 16;

/// Parts of a socket in what may be shed: a percent of one in a second of an hour is a whole number.
const WHOLE: u128 = 3_600_000_000;

/// An endpoint that takes part: open, and no backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: usize,
    /// At least 1.
    pub weight: u16,
    /// How much of its share it takes, up to 1000; never 0.
    pub warmth: u16,
    /// Open sockets, those on their way out among them.
    pub tunnels: u64,
    /// Sockets that were told to come back, and are not gone yet.
    pub leaving: u64,
    /// Further sockets that it may take.
    pub room: u64,
}

/// What one upstream's ticks have come to.
#[derive(Debug, Default)]
pub struct Rebalance {
    last: Option<Duration>,
    /// What may be shed, in parts of [`WHOLE`].
    credit: u128,
    /// What was shed lately, and when.
    recent: VecDeque<(Duration, u64)>,
    /// All sockets when nobody was on the way.
    before: u64,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// The skew is met.
    #[default]
    Even,
    /// Sockets are shed.
    Shedding(Episode),
    /// It did not help; not tried again with the same endpoints.
    GivenUp(Vec<usize>),
}

/// From a skew that is too great to one that is not.
#[derive(Debug)]
struct Episode {
    /// Who took part at the beginning, and what each had.
    began: Vec<(usize, u64)>,
    /// What had to move then, as if all were warm.
    needed: u64,
    shed: u64,
}

/// What comes of a tick.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// How many of whom, by id.
    pub shed: Vec<(usize, u32)>,
    /// What is to be told.
    pub news: Option<News>,
}

/// A change of what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Sockets are shed from now on.
    Began {
        /// How many have to move.
        needed: u64,
    },
    /// The skew is met, or there is nobody to compare with any more.
    Ended {
        /// How many were shed.
        shed: u64,
    },
    /// Those that were shed did not go where there was room.
    GaveUp {
        /// How many were shed.
        shed: u64,
    },
}

impl Rebalance {
    /// The tick at `now`, which only grows.
    pub fn tick(&mut self, now: Duration, terms: &plan::Rebalance, members: &[Member]) -> Tick {
        let elapsed = now.saturating_sub(self.last.replace(now).unwrap_or(now)).min(LONGEST_TICK);
        let all: u64 = members.iter().map(|one| one.tunnels).sum();
        let leaving: u64 = members.iter().map(|one| one.leaving).sum();
        while self.recent.front().is_some_and(|(at, _)| now.saturating_sub(*at) > BACK_WITHIN) {
            self.recent.pop_front();
        }
        let recent: u64 = self.recent.iter().map(|(_, count)| count).sum();
        // Who comes and goes by themselves is mistaken for who was shed, but for no more of them.
        self.before = if recent == 0 { all } else { self.before.max(all) };
        let missing = (self.before - all).min(recent.saturating_sub(leaving));

        let mut floor = Floor::new(members, all.saturating_add(missing), terms.max_skew);
        for _ in 0..leaving.saturating_add(missing) {
            floor.land();
        }
        if members.len() < 2 || !floor.may_move() {
            return self.rest();
        }
        let mut news = None;
        let is_same =
            |began: &mut dyn Iterator<Item = usize>| began.eq(members.iter().map(|m| m.id));
        match &self.state {
            State::GivenUp(with) if is_same(&mut with.iter().copied()) => return Tick::default(),
            State::Shedding(episode) if is_same(&mut episode.began.iter().map(|(id, _)| *id)) => {}
            before => {
                if !matches!(before, State::Shedding(_)) {
                    // Time in which nothing had to move is not saved up.
                    self.credit = 0;
                }
                let episode = Episode::new(members, terms.max_skew);
                news = Some(News::Began { needed: episode.needed });
                self.state = State::Shedding(episode);
            }
        }
        let State::Shedding(episode) = &mut self.state else { return Tick::default() };
        if episode.is_in_vain(members, recent) {
            let news = Some(News::GaveUp { shed: episode.shed });
            self.state = State::GivenUp(members.iter().map(|one| one.id).collect());
            return Tick { news, ..Tick::default() };
        }
        self.credit = self.credit.saturating_add(credit(terms, elapsed, floor.all));
        let may = u64::try_from(self.credit / WHOLE).unwrap_or(u64::MAX).min(episode.left());
        let mut shed = 0;
        while shed < may && floor.moves() {
            shed += 1;
        }
        if shed == 0 {
            return Tick { news, ..Tick::default() };
        }
        // What could not be used is not saved up, but for the part of a socket.
        self.credit = self.credit.saturating_sub(u128::from(shed) * WHOLE) % WHOLE;
        self.recent.push_back((now, shed));
        episode.shed = episode.shed.saturating_add(shed);
        Tick { shed: floor.shed(), news }
    }

    /// Of what a tick shed so many could not be found: they were gone by themselves.
    pub fn take_back(&mut self, count: u32) {
        let count = u64::from(count);
        if let State::Shedding(episode) = &mut self.state {
            episode.shed = episode.shed.saturating_sub(count);
        }
        if let Some((_, shed)) = self.recent.back_mut() {
            *shed = shed.saturating_sub(count);
        }
    }

    fn rest(&mut self) -> Tick {
        let news = match std::mem::take(&mut self.state) {
            State::Shedding(episode) => Some(News::Ended { shed: episode.shed }),
            State::Even | State::GivenUp(_) => None,
        };
        Tick { news, ..Tick::default() }
    }
}

/// What `elapsed` is worth where there are `all` sockets.
fn credit(terms: &plan::Rebalance, elapsed: Duration, all: u64) -> u128 {
    let rate = terms.rate;
    let amount = u128::from(rate.amount).saturating_mul(WHOLE);
    let amount = if rate.is_share { amount.saturating_mul(all.into()) / 100 } else { amount };
    amount.saturating_mul(elapsed.as_nanos()) / rate.per.as_nanos().max(1)
}

impl Episode {
    fn new(members: &[Member], max_skew: u32) -> Self {
        let warm: Vec<_> = members.iter().map(|one| Member { warmth: WARM, ..*one }).collect();
        let all = members.iter().map(|one| one.tunnels).sum();
        let floor = Floor::new(&warm, all, max_skew);
        let over = floor.places.iter().map(|one| one.stands.saturating_sub(one.most));
        let began = members.iter().map(|one| (one.id, one.tunnels)).collect();
        Self { began, needed: over.sum(), shed: 0 }
    }

    /// What may still be shed: half as many again as had to move, since others come and go meanwhile.
    fn left(&self) -> u64 {
        (self.needed + self.needed / 2 + TELLING).saturating_sub(self.shed)
    }

    /// Whether those who were shed and had the time to come back did not go where there was room: what
    /// they met there may be an error. `recent` were shed just now.
    fn is_in_vain(&self, members: &[Member], recent: u64) -> bool {
        let settled = self.shed.saturating_sub(recent);
        let gained: u64 = members
            .iter()
            .zip(&self.began)
            .map(|(one, (_, began))| one.tunnels.saturating_sub(*began))
            .sum();
        self.left() == 0 || (settled >= TELLING && gained < settled / 4)
    }
}

/// The endpoints while sockets are moved about on paper.
struct Floor {
    places: Vec<Place>,
    all: u64,
}

#[derive(Clone, Copy)]
struct Place {
    id: usize,
    /// Weight times warmth.
    share: u64,
    stands: u64,
    room: u64,
    /// What it may have.
    most: u64,
    /// Those that came on paper cannot be shed.
    own: u64,
    shed: u32,
}

impl Floor {
    /// Without those who leave, `all` being what there will be when everybody is back.
    fn new(members: &[Member], all: u64, max_skew: u32) -> Self {
        let share = |one: &Member| u64::from(one.weight) * u64::from(one.warmth);
        let shares = members.iter().map(share).sum::<u64>().max(1);
        let places = members.iter().map(|one| {
            let due = u128::from(all) * u128::from(share(one));
            // A part of a socket cannot move.
            let even = due.div_ceil(shares.into());
            let most = due * u128::from(max_skew) / 1000 / u128::from(shares);
            let stands = one.tunnels.saturating_sub(one.leaving);
            Place {
                id: one.id,
                share: share(one).max(1),
                stands,
                room: one.room,
                most: u64::try_from(most.max(even)).unwrap_or(u64::MAX),
                own: stands,
                shed: 0,
            }
        });
        Self { places: places.collect(), all }
    }

    /// The next socket's place as least connections has it; `None` when all are full.
    fn emptiest(&self) -> Option<usize> {
        let open = (0..self.places.len()).filter(|at| self.at(*at).is_some_and(|one| one.room > 0));
        open.min_by(|a, b| match (self.at(*a), self.at(*b)) {
            (Some(a), Some(b)) => a.after_one_more(b),
            _ => std::cmp::Ordering::Equal,
        })
    }

    /// The fullest of those who have more than they may and something to give.
    fn fullest(&self) -> Option<usize> {
        let over = (0..self.places.len())
            .filter(|at| self.at(*at).is_some_and(|one| one.stands > one.most && one.own > 0));
        over.max_by(|a, b| match (self.at(*a), self.at(*b)) {
            (Some(a), Some(b)) => (a.stands * b.share).cmp(&(b.stands * a.share)),
            _ => std::cmp::Ordering::Equal,
        })
    }

    fn at(&self, at: usize) -> Option<&Place> {
        self.places.get(at)
    }

    /// A socket comes.
    fn land(&mut self) {
        if let Some(place) = self.emptiest().and_then(|at| self.places.get_mut(at)) {
            place.stands += 1;
            place.room -= 1;
        }
    }

    /// From whom to whom the next one moves, if that is for the better.
    fn next(&self) -> Option<(usize, usize)> {
        let (from, to) = (self.fullest()?, self.emptiest()?);
        let (full, empty) = (self.at(from)?, self.at(to)?);
        let better = (empty.stands + 1) * full.share < full.stands * empty.share;
        (from != to && better).then_some((from, to))
    }

    fn may_move(&self) -> bool {
        self.next().is_some()
    }

    /// Moves one; whether there was one to move.
    fn moves(&mut self) -> bool {
        let Some((from, to)) = self.next() else { return false };
        if let Some(from) = self.places.get_mut(from) {
            from.stands -= 1;
            from.own -= 1;
            from.room = from.room.saturating_add(1);
            from.shed = from.shed.saturating_add(1);
        }
        if let Some(to) = self.places.get_mut(to) {
            to.stands += 1;
            to.room -= 1;
        }
        true
    }

    fn shed(&self) -> Vec<(usize, u32)> {
        let shed = self.places.iter().filter(|one| one.shed > 0);
        shed.map(|one| (one.id, one.shed)).collect()
    }
}

impl Place {
    /// How full it would be with one more, beside `other` with one more.
    fn after_one_more(&self, other: &Self) -> std::cmp::Ordering {
        ((self.stands + 1) * other.share).cmp(&((other.stands + 1) * self.share))
    }
}

#[cfg(test)]
mod tests;
