//! The live tunnels of one worker, so that a drain can reach them. A tunnel enters when it is
//! made and leaves when it is dropped; there is no other way in or out.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// Every live tunnel of a worker.
#[derive(Debug, Default)]
pub struct Roster {
    entries: RefCell<Slab<Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    cut: bool,
    waker: Option<Waker>,
}

/// A tunnel's place in the [`Roster`]; its drop gives the place back.
#[derive(Debug)]
pub struct Member {
    roster: Rc<Roster>,
    key: usize,
}

impl Roster {
    /// Takes a place for a new tunnel.
    pub fn enter(self: &Rc<Self>) -> Member {
        let key = self.entries.borrow_mut().insert(Entry::default());
        Member { roster: Rc::clone(self), key }
    }

    /// How many tunnels live.
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Whether no tunnel lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends every tunnel now, without a word: what a drain does at its deadline.
    pub fn cut_all(&self) {
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            entry.cut = true;
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Member {
    /// Ready once the tunnel must end; otherwise remembers whom to wake.
    pub(super) fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut entries = self.roster.entries.borrow_mut();
        let Some(entry) = entries.get_mut(self.key) else { return Poll::Ready(()) };
        if entry.cut {
            return Poll::Ready(());
        }
        match &entry.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => entry.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.roster.entries.borrow_mut().try_remove(self.key);
    }
}
