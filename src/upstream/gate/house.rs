//! A bound with a queue: how many requests and tunnels an upstream carries, how many handshakes are
//! under way, and those who wait for one to end. It outlives plans, as those do who are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::Told;

/// What is counted under one bound, across all workers.
#[derive(Debug)]
pub struct House {
    seats: AtomicUsize,
    /// Those in the queue, the one at its front among them.
    waiting: AtomicUsize,
    /// Who has the one permit stands at the front; the others wait for it in order.
    front: Semaphore,
    /// Rung for who stands at the front.
    freed: Notify,
    /// When a refusal was last told.
    pub told: Told,
}

/// One of those who are counted, for as long as this lives; of no house where there is no bound.
#[derive(Debug, Default)]
pub struct Seat(Option<Arc<House>>);

/// A place in the queue, counted for as long as this lives.
#[derive(Debug)]
pub struct Place(Arc<House>);

impl Default for House {
    fn default() -> Self {
        Self {
            seats: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            front: Semaphore::new(1),
            freed: Notify::new(),
            told: Told::default(),
        }
    }
}

impl House {
    /// A seat, when fewer than `most` are taken and nobody waits for one.
    pub fn seat_for_newcomer(self: &Arc<Self>, most: u32) -> Option<Seat> {
        // Whoever gives one up rings for who has begun to wait in the meantime.
        if self.waiting() > 0 { None } else { self.seat(most) }
    }

    /// Waits for a seat behind all who wait already.
    pub async fn queue(self: &Arc<Self>, most: u32) -> Seat {
        match self.place(u32::MAX) {
            Some(place) => place.wait(|| self.seat(most), || None).await,
            // Nobody has so many clients.
            None => Seat::default(),
        }
    }

    /// A seat, when fewer than `most` are taken.
    pub(in super::super) fn seat(self: &Arc<Self>, most: u32) -> Option<Seat> {
        count_below(&self.seats, most).then(|| Seat(Some(Arc::clone(self))))
    }

    /// A seat that was handed over is free.
    pub(in super::super) fn leave(&self) {
        self.seats.fetch_sub(1, Ordering::SeqCst);
        self.freed();
    }

    /// Taken seats.
    pub fn seats(&self) -> usize {
        self.seats.load(Ordering::Relaxed)
    }

    /// A place in the queue, when fewer than `most` are taken.
    pub fn place(self: &Arc<Self>, most: u32) -> Option<Place> {
        count_below(&self.waiting, most).then(|| Place(Arc::clone(self)))
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Something was let go: who stands at the front tries again.
    ///
    /// Its count was lowered before, and who waits looks at it after having counted itself as waiting;
    /// both in the one order that `SeqCst` gives. So one of the two sees the other.
    pub(in super::super) fn freed(&self) {
        if self.waiting() > 0 {
            self.freed.notify_one();
        }
    }
}

impl Place {
    /// Waits for the front of the queue, and there until `attempt` comes to something: it is made
    /// at once, again whenever something was let go, and when `again` says so, if it does. Who stops
    /// waiting frees its place.
    pub async fn wait<T>(
        self,
        mut attempt: impl FnMut() -> Option<T>,
        again: impl Fn() -> Option<Duration>,
    ) -> T {
        let house = &*self.0;
        // It is never closed; were it, all would stand at the front.
        let _front = house.front.acquire().await;
        loop {
            if let Some(done) = attempt() {
                return done;
            }
            // What was let go since then has left a permit.
            let freed = house.freed.notified();
            match again() {
                None => freed.await,
                // Either way it is tried again.
                Some(after) => drop(timeout(after, freed).await),
            }
        }
    }
}

impl Seat {
    /// Goes on as a number alone, which [`House::leave`] takes back: whether there is one.
    pub(in super::super) fn hand_over(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Gives it back without ringing, for who stands at the front itself and would only hear itself.
    pub(in super::super) fn withdraw(mut self) {
        if let Some(house) = self.0.take() {
            house.seats.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(house) = &self.0 {
            house.leave();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One more, unless there are `most`.
fn count_below(count: &AtomicUsize, most: u32) -> bool {
    let more = |now: usize| (now < most as usize).then(|| now.saturating_add(1));
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn those_who_wait_are_let_in_in_order_and_one_who_leaves_is_passed_over() {
        let house = Arc::new(House::default());
        let mut seats: Vec<Seat> = (0..2).filter_map(|_| house.seat(2)).collect();
        assert!(seats.len() == 2 && house.seat(2).is_none());
        let mut context = Context::from_waker(Waker::noop());
        let queue = || Box::pin(house.place(3).unwrap().wait(|| house.seat(2), || None));
        let (mut first, mut second, mut third) = (queue(), queue(), queue());
        assert!(house.place(3).is_none(), "there are three places");
        // They come in this order.
        for one in [&mut first, &mut second, &mut third] {
            assert!(one.as_mut().poll(&mut context).is_pending());
        }
        seats.pop();
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        let seat = first.as_mut().poll(&mut context);
        assert!(seat.is_ready() && house.waiting() == 2);
        assert!(second.as_mut().poll(&mut context).is_pending(), "at the front, and all is taken");
        drop(second);
        assert_eq!(house.waiting(), 1);
        seats.pop();
        assert!(third.as_mut().poll(&mut context).is_ready());
        drop(seat);
        assert_eq!((house.seats(), house.waiting()), (0, 0));
    }

    #[test]
    fn a_newcomer_does_not_pass_those_who_wait_though_a_seat_is_free() {
        let house = Arc::new(House::default());
        let mut context = Context::from_waker(Waker::noop());
        let seat = house.seat_for_newcomer(1).unwrap();
        let mut waits = Box::pin(house.queue(1));
        assert!(waits.as_mut().poll(&mut context).is_pending());
        drop(seat);
        assert!(house.seats() == 0 && house.seat_for_newcomer(1).is_none());
        let Poll::Ready(seat) = waits.as_mut().poll(&mut context) else { panic!("its turn") };
        assert!(house.seat_for_newcomer(1).is_none());
        drop(seat);
        assert!(house.seat_for_newcomer(1).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_at_the_front_tries_again_when_it_was_told_to() {
        let house = Arc::new(House::default());
        let began = tokio::time::Instant::now();
        let returns = Duration::from_secs(7);
        let attempt = || (began.elapsed() >= returns).then_some(());
        let again = || Some(returns.saturating_sub(began.elapsed()));
        house.place(1).unwrap().wait(attempt, again).await;
        assert_eq!((began.elapsed(), house.waiting()), (returns, 0));
    }

    #[test]
    fn nobody_is_left_waiting_however_threads_interleave() {
        let house = Arc::new(House::default());
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    runtime().block_on(async {
                        for _ in 0..2000 {
                            let seat = match house.seat(2) {
                                Some(seat) => seat,
                                None => {
                                    house.place(4).unwrap().wait(|| house.seat(2), || None).await
                                }
                            };
                            assert!(house.seats() <= 2);
                            drop(seat);
                        }
                    });
                });
            }
        });
        assert_eq!((house.seats(), house.waiting()), (0, 0));
    }

    #[test]
    fn a_place_that_is_given_up_unused_is_free_again() {
        let house = Arc::new(House::default());
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            let place = house.place(1).unwrap();
            let mut waits = pin!(place.wait(|| None::<()>, || None));
            assert!(waits.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(house.waiting(), 0);
    }
}
