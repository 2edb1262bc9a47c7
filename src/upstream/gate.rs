//! What stands before an upstream: rates, bounds and budgets that keep its load to what it can bear.

mod breaker;
mod budget;
mod house;
mod rate;
mod told;
mod upgrades;

pub use self::breaker::{Breaker, Verdict};
pub use self::budget::RetryBudget;
pub use self::house::{House, Place, Seat};
pub use self::told::Told;
pub use self::upgrades::Upgrades;
