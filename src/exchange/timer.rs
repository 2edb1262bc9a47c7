//! A timer that is lazy: hyper arms and disarms one for every request head, which in tokio's wheel
//! is a lock and two list operations each. Here a connection has one entry in the wheel; arming
//! notes a time, and the entry re-arms itself when it fires too early.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// hyper's timer for one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct LazyTimer(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

/// A time on a connection's one entry.
#[derive(Debug)]
struct LazySleep {
    due: Instant,
    timer: LazyTimer,
}

impl Timer for LazyTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, due: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(LazySleep { due, timer: self.clone() })
    }

    fn now(&self) -> Instant {
        // tokio's clock, which tests can pause.
        tokio::time::Instant::now().into_std()
    }
}

impl LazyTimer {
    /// Ready at `due`. Only one task may wait, which is the connection's.
    pub(super) fn poll_due(&self, cx: &mut Context<'_>, due: tokio::time::Instant) -> Poll<()> {
        // Never contended: hyper only demands that a timer may be sent.
        let mut entry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entry.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if entry.deadline() > due {
            entry.as_mut().reset(due);
        }
        while entry.as_mut().poll(cx).is_ready() {
            if tokio::time::Instant::now() >= due {
                return Poll::Ready(());
            }
            entry.as_mut().reset(due);
        }
        Poll::Pending
    }
}

impl LazyTimer {
    /// What `work` comes to, or `None` when that takes longer than `patience`.
    pub(super) async fn within<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        // A time beyond the clock's end never comes.
        let due = tokio::time::Instant::now().checked_add(patience);
        let mut work = pin!(work);
        poll_fn(|cx| match (work.as_mut().poll(cx), due) {
            (Poll::Ready(done), _) => Poll::Ready(Some(done)),
            (Poll::Pending, Some(due)) => self.poll_due(cx, due).map(|()| None),
            (Poll::Pending, None) => Poll::Pending,
        })
        .await
    }
}

impl Future for LazySleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll_due(cx, self.due.into())
    }
}

impl Sleep for LazySleep {}

#[cfg(test)]
mod tests {
    use super::*;

    async fn over(timer: &LazyTimer, seconds: u64) {
        timer.sleep(Duration::from_secs(seconds)).await;
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(test);
    }

    #[test]
    fn work_that_takes_too_long_is_given_up_and_other_work_is_not() {
        run(async {
            let timer = LazyTimer::default();
            let began = tokio::time::Instant::now();
            let (long, short) = (Duration::from_secs(9), Duration::from_secs(4));
            assert_eq!(timer.within(long, tokio::time::sleep(short)).await, Some(()));
            assert_eq!(timer.within(short, std::future::pending::<()>()).await, None);
            assert_eq!(began.elapsed().as_secs(), 8);
            assert_eq!(timer.within(Duration::MAX, async { 7 }).await, Some(7));
        });
    }

    #[test]
    fn a_later_time_waits_through_an_earlier_entry() {
        run(async {
            let timer = LazyTimer::default();
            let began = tokio::time::Instant::now();
            let brief = tokio::time::timeout(Duration::from_secs(1), over(&timer, 5));
            assert!(brief.await.is_err());
            over(&timer, 10).await;
            assert_eq!(began.elapsed().as_secs(), 11);
        });
    }

    #[test]
    fn an_earlier_time_is_not_kept_waiting_by_a_later_entry() {
        run(async {
            let timer = LazyTimer::default();
            let began = tokio::time::Instant::now();
            let hour = tokio::time::timeout(Duration::from_secs(1), over(&timer, 3600));
            assert!(hour.await.is_err());
            over(&timer, 2).await;
            assert_eq!(began.elapsed().as_secs(), 3);
        });
    }
}
