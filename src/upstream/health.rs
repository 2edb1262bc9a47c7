//! Which endpoints get requests. Two judges: checks that Bowline makes by itself (`checker`), and
//! what clients' requests meet (`report`). Decisions are pure (`streak`, `ejection`, `quorum`); what
//! they come to is one number on the endpoint (`standing`), which a pick reads and nothing else.

mod checker;
mod checkers;
mod ejection;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod probe;
mod quorum;
mod report;
mod standing;
mod streak;
mod told;

pub use self::checkers::Checkers;
pub use self::report::{Mishap, is_local};
pub(super) use self::standing::{Look, Standing};
pub use self::told::Notice;

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use super::Endpoint;
use crate::plan;
use crate::telemetry::Flag;

/// The health of an upstream as a whole.
#[derive(Debug)]
pub(super) struct Ward {
    pub(super) plan: plan::Health,
    /// Health is ignored; a gauge, and what tells a change from none. Picks do not read it.
    panics: Arc<Flag>,
    /// One ejection at a time: each looks at the others.
    ejecting: Mutex<()>,
    /// Which endpoints are backups.
    backups: Vec<bool>,
}

/// What one pick learns while it asks endpoint after endpoint.
#[derive(Debug, Default)]
pub(super) struct Glance {
    noticed: Cell<bool>,
}

impl Glance {
    /// Whether `endpoint` is open.
    pub(super) fn admits(&self, endpoint: &Endpoint) -> bool {
        match endpoint.look() {
            Look::Open => return true,
            Look::Back => self.noticed.set(true),
            Look::Shut => {
                self.noticed.set(true);
                return false;
            }
        }
        true
    }

    /// Whether an endpoint was not plainly open. Without one the pick is what it would have been
    /// without health, in panic too.
    pub(super) fn noticed(&self) -> bool {
        self.noticed.get()
    }
}

impl Ward {
    pub(super) fn new(plan: &plan::Upstream, panics: Arc<Flag>) -> Self {
        let backups = plan.endpoints.iter().map(|one| one.backup).collect();
        Self { plan: plan.health.clone(), panics, ejecting: Mutex::new(()), backups }
    }

    /// Whether health was ignored when somebody last looked.
    pub(super) fn is_ignored(&self) -> bool {
        self.panics.is_on()
    }

    /// Whether health is to be ignored now, because too few of `endpoints` are open. A change is told.
    pub(super) fn panics(&self, name: &str, endpoints: &[Arc<Endpoint>]) -> bool {
        let (mut of, mut open, mut open_backups) = (0_usize, 0_usize, 0_usize);
        for (endpoint, is_backup) in endpoints.iter().zip(&self.backups) {
            let one = usize::from(endpoint.is_open());
            if *is_backup {
                open_backups = open_backups.saturating_add(one);
            } else {
                of = of.saturating_add(1);
                open = open.saturating_add(one);
            }
        }
        let panics = quorum::is_lost(open, of, open_backups, self.plan.panic);
        if self.panics.set(panics) {
            if panics {
                tracing::warn!(
                    upstream = name,
                    open,
                    of,
                    "too few endpoints are up: health is ignored, all of them get requests"
                );
            } else {
                tracing::info!(upstream = name, open, of, "enough endpoints are up again");
            }
        }
        panics
    }
}
