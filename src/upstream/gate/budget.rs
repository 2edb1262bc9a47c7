//! How many retries an upstream may get. Without a bound, an upstream that fails under load is given
//! several times that load. Decisions only.

/// A retry costs this much.
const RETRY: u64 = 1000;

/// What one worker may still retry towards one upstream: every request pays in a share of a retry, every
/// retry takes a whole one out.
#[derive(Debug)]
pub struct RetryBudget {
    /// In thousandths of a retry.
    share: u64,
    most: u64,
    left: u64,
}

impl RetryBudget {
    /// For `percent` retries in a hundred requests. A `reserve` of retries is there from the start, so
    /// that rare requests may be retried too; no more than that is ever saved up.
    pub fn new(percent: u8, reserve: u16) -> Self {
        let most = u64::from(reserve).saturating_mul(RETRY);
        Self { share: u64::from(percent).saturating_mul(RETRY / 100), most, left: most }
    }

    /// A request came in.
    pub fn pay_in(&mut self) {
        self.left = self.left.saturating_add(self.share).min(self.most);
    }

    /// Whether a retry may be made; it is taken out then.
    pub fn take(&mut self) -> bool {
        match self.left.checked_sub(RETRY) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_and_then_a_share_of_the_requests() {
        let mut budget = RetryBudget::new(20, 10);
        let retries = (0..1000).filter(|_| {
            budget.pay_in();
            budget.take()
        });
        let retries = retries.count();
        assert!((209..=211).contains(&retries), "{retries}");
    }

    #[test]
    fn quiet_hours_save_up_no_more_than_the_reserve() {
        let mut budget = RetryBudget::new(50, 3);
        for _ in 0..1000 {
            budget.pay_in();
        }
        assert_eq!((0..10).filter(|_| budget.take()).count(), 3);
    }

    #[test]
    fn no_percent_and_no_reserve_is_no_retry() {
        let mut budget = RetryBudget::new(0, 0);
        budget.pay_in();
        assert!(!budget.take());
    }
}
