//! What every kind of source is to those who follow it.

use std::fmt;
use std::future::Future;

use crate::plan::Endpoint;

/// Something that knows the endpoints of an upstream: a name of the DNS, a file, and what may follow, an
/// orchestrator's API say. It paces itself, and may be dropped at any time.
pub(super) trait Source: Send + 'static {
    /// Resolves when there is something to say: at first at once, then when it is time to look again or
    /// something has changed. The whole list, which may be the one of before; never an empty one.
    ///
    /// # Errors
    /// Why nothing could be found this time. Whoever follows keeps what was found last.
    fn next(&mut self) -> impl Future<Output = Result<Vec<Endpoint>, Fault>> + Send;
}

/// Why a source says nothing: a sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault(pub(super) String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
