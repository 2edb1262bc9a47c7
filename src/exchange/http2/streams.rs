//! How many streams of a connection live, and how many of them are tunnels. Its admission is let go when the
//! connection and the last of them are.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use tokio::time::Instant;

use super::super::worker::Worker;

/// The count of one connection.
pub(super) struct Streams {
    worker: Rc<Worker>,
    open: Cell<usize>,
    tunnels: Cell<usize>,
    /// Since when none is open.
    empty_since: Cell<Instant>,
    driver: RefCell<Option<Waker>>,
    _admission: Box<dyn Any>,
}

/// One stream in the count; its drop takes it out.
pub(super) struct Place {
    streams: Rc<Streams>,
    is_tunnel: bool,
}

impl Streams {
    pub(super) fn new(worker: Rc<Worker>, admission: Box<dyn Any>) -> Rc<Self> {
        worker.counters().http2_begun.inc();
        Rc::new(Self {
            worker,
            open: Cell::new(0),
            tunnels: Cell::new(0),
            empty_since: Cell::new(Instant::now()),
            driver: RefCell::new(None),
            _admission: admission,
        })
    }

    /// One more.
    pub(super) fn enter(self: &Rc<Self>) -> Place {
        self.worker.counters().streams_begun.inc();
        self.open.set(self.open.get().saturating_add(1));
        Place { streams: Rc::clone(self), is_tunnel: false }
    }

    /// Remembers whom to wake when the last stream ends, or the last tunnel.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        match &*driver {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => *driver = Some(cx.waker().clone()),
        }
    }

    /// Since when there is none.
    pub(super) fn empty_since(&self) -> Option<Instant> {
        (self.open.get() == 0).then(|| self.empty_since.get())
    }

    /// Whether one of them is a tunnel.
    pub(super) fn has_tunnels(&self) -> bool {
        self.tunnels.get() > 0
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.worker.counters().http2_ended.inc();
    }
}

impl Place {
    /// It is a tunnel from now on.
    pub(super) fn into_tunnel(mut self) -> Self {
        if !self.is_tunnel {
            self.is_tunnel = true;
            self.streams.tunnels.set(self.streams.tunnels.get().saturating_add(1));
        }
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self { streams, is_tunnel } = self;
        streams.worker.counters().streams_ended.inc();
        streams.open.set(streams.open.get().saturating_sub(1));
        if *is_tunnel {
            streams.tunnels.set(streams.tunnels.get().saturating_sub(1));
        }
        if streams.open.get() == 0 {
            streams.empty_since.set(Instant::now());
        }
        if (streams.open.get() == 0 || (*is_tunnel && !streams.has_tunnels()))
            && let Some(driver) = &*streams.driver.borrow()
        {
            driver.wake_by_ref();
        }
    }
}
