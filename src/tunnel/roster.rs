//! The live tunnels of one worker, so that a drain can reach them. A tunnel enters when it is
//! made and leaves when it is dropped; there is no other way in or out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use slab::Slab;

/// Every live tunnel of a worker.
#[derive(Debug, Default)]
pub struct Roster {
    entries: RefCell<Slab<Entry>>,
    /// Tunnels that have ever entered.
    entered: Cell<u64>,
    /// Who enters now is told to close at once, with this code.
    closing: Cell<Option<u16>>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    order: Option<Order>,
    waker: Option<Waker>,
}

/// What a tunnel is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// To end properly, with this code.
    Close(u16),
    /// To end now, without a word.
    Cut,
}

/// Names one tunnel that was there, even when another one has its place now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    key: usize,
    number: u64,
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
        let number = self.entered.get();
        self.entered.set(number.wrapping_add(1));
        let order = self.closing.get().map(Order::Close);
        let key = self.entries.borrow_mut().insert(Entry { number, order, waker: None });
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

    /// Closes the door: tunnels that still enter are told to close with `code` at once. Returns
    /// those that are here, the youngest first.
    pub fn begin_closing(&self, code: u16) -> Vec<Ticket> {
        self.closing.set(Some(code));
        let entries = self.entries.borrow();
        let mut tickets: Vec<Ticket> =
            entries.iter().map(|(key, entry)| Ticket { key, number: entry.number }).collect();
        tickets.sort_unstable_by_key(|ticket| std::cmp::Reverse(ticket.number));
        tickets
    }

    /// Ends a tunnel properly, with `code`, if it is still there.
    pub fn close(&self, ticket: Ticket, code: u16) {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(ticket.key).filter(|entry| entry.number == ticket.number);
        if let Some(entry) = entry {
            entry.tell(Order::Close(code));
        }
    }

    /// Ends every tunnel now, without a word: what a drain does at its deadline.
    pub fn cut_all(&self) {
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            entry.tell(Order::Cut);
        }
    }
}

impl Entry {
    fn tell(&mut self, order: Order) {
        self.order = Some(order);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Member {
    /// What the tunnel has been told, now or before; remembers whom to wake when that changes.
    pub(super) fn poll_order(&self, cx: &Context<'_>) -> Option<Order> {
        let mut entries = self.roster.entries.borrow_mut();
        let entry = entries.get_mut(self.key)?;
        match &entry.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => entry.waker = Some(cx.waker().clone()),
        }
        entry.order
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.roster.entries.borrow_mut().try_remove(self.key);
    }
}
