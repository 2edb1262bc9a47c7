//! What the tunnels of an endpoint are told while it is down. It is taken back when the checks of the
//! endpoint end, at once and not when their task gets round to it: what is said next counts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What becomes of the live tunnels of an endpoint, by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// They are to be told to close, at a pace, and so are those that still begin.
    Drain(usize),
    /// No further one is.
    Keep(usize),
}

/// Who hears of it, in the call itself.
#[derive(Clone)]
pub(super) struct Notices(Arc<dyn Fn(Notice) + Send + Sync>);

const OFF: u8 = 0;
const ON: u8 = 1;
const ENDED: u8 = 2;

/// Whether the tunnels of an endpoint are being told. A drop ends it.
#[derive(Debug)]
pub(super) struct Told {
    endpoint: usize,
    state: AtomicU8,
    notices: Notices,
}

impl Notices {
    pub(super) fn new(hear: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }
}

impl Told {
    pub(super) fn new(endpoint: usize, notices: Notices) -> Self {
        Self { endpoint, state: AtomicU8::new(OFF), notices }
    }

    pub(super) fn set(&self, on: bool) {
        let (before, after) = if on { (OFF, ON) } else { (ON, OFF) };
        let change =
            self.state.compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed);
        if change.is_ok() {
            let id = self.endpoint;
            (self.notices.0)(if on { Notice::Drain(id) } else { Notice::Keep(id) });
        }
    }

    /// Takes it back, for ever.
    pub(super) fn end(&self) {
        if self.state.swap(ENDED, Ordering::Relaxed) == ON {
            (self.notices.0)(Notice::Keep(self.endpoint));
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices").finish_non_exhaustive()
    }
}
