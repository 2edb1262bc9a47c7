//! Which endpoints get requests. Two judges: checks that Bowline makes by itself (`checker`), and
//! what clients' requests meet (`report`). Decisions are pure (`streak`, `ejection`, `quorum`); what
//! they come to is one number on the endpoint (`standing`), which a pick reads and nothing else.

mod checker;
mod ejection;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod probe;
mod quorum;
mod report;
mod standing;
mod streak;

pub use self::checker::{Checkers, Notice};
pub use self::report::{Mishap, is_local};
pub(super) use self::standing::{Look, Standing};

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
    pub(super) fn new(plan: plan::Health, panics: Arc<Flag>) -> Self {
        Self { plan, panics, ejecting: Mutex::new(()) }
    }

    /// Whether health was ignored when somebody last looked.
    pub(super) fn is_ignored(&self) -> bool {
        self.panics.is_on()
    }

    /// Whether health is to be ignored now, because too few of `endpoints` are open. A change is told.
    pub(super) fn panics(&self, name: &str, endpoints: &[Arc<Endpoint>]) -> bool {
        let open = endpoints.iter().filter(|endpoint| endpoint.is_open()).count();
        let panics = quorum::is_lost(open, endpoints.len(), self.plan.panic);
        if self.panics.set(panics) {
            let of = endpoints.len();
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
