//! The live tunnels of one worker, so that a drain can reach them. A tunnel enters when it is
//! made and leaves when it is dropped; there is no other way in or out.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use slab::Slab;

use super::Allowance;

/// Every live tunnel of a worker.
#[derive(Debug, Default)]
pub struct Roster {
    entries: RefCell<Slab<Entry>>,
    /// Tunnels that have ever entered.
    entered: Cell<u64>,
    /// Who enters now is told to close at once, with this code.
    closing: Cell<Option<u16>>,
    /// The same for who enters as one of a group.
    closing_groups: RefCell<Vec<(Group, u16)>>,
    /// Those that were shed and are not gone yet, by their place.
    shed: RefCell<HashMap<usize, Arc<Allowance>>>,
}

/// What a tunnel belongs to: numbers whose meaning is their owner's, each at a place of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels(pub [u32; 2]);

/// The tunnels that have one number at one place of their labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The place, from 0.
    pub place: usize,
    /// The number.
    pub number: u32,
}

impl Group {
    fn holds(self, labels: Labels) -> bool {
        labels.0.get(self.place) == Some(&self.number)
    }
}

#[derive(Debug)]
struct Entry {
    number: u64,
    labels: Labels,
    order: Option<Order>,
    waker: Option<Waker>,
}

/// What a tunnel is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// To end properly, with this code.
    Close(u16),
    /// To end properly, since there is more room elsewhere.
    Shed,
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
    pub fn enter(self: &Rc<Self>, labels: Labels) -> Member {
        let number = self.entered.get();
        self.entered.set(number.wrapping_add(1));
        let of_group = || {
            let groups = self.closing_groups.borrow();
            groups.iter().find(|(group, _)| group.holds(labels)).map(|(_, code)| *code)
        };
        let order = self.closing.get().or_else(of_group).map(Order::Close);
        let key = self.entries.borrow_mut().insert(Entry { number, labels, order, waker: None });
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
    /// those that are here and were told nothing yet, the youngest first.
    pub fn begin_closing(&self, code: u16) -> Vec<Ticket> {
        self.closing.set(Some(code));
        self.tickets(|_| true)
    }

    /// Closes the door to `group`, as [`begin_closing`](Self::begin_closing) does to all; open again
    /// with [`reopen`](Self::reopen). A second time it is the newer code that counts.
    pub fn begin_closing_group(&self, group: Group, code: u16) -> Vec<Ticket> {
        self.reopen(group);
        self.closing_groups.borrow_mut().push((group, code));
        self.tickets(|labels| group.holds(labels))
    }

    /// Tunnels of `group` that enter from now on are not told to close. Who was told, was.
    pub fn reopen(&self, group: Group) {
        self.closing_groups.borrow_mut().retain(|(closing, _)| *closing != group);
    }

    /// Whether the door is closed to `group`.
    pub fn is_closing(&self, group: Group) -> bool {
        self.closing_groups.borrow().iter().any(|(closing, _)| *closing == group)
    }

    /// Those that are here and were told nothing yet, the youngest first.
    fn tickets(&self, wanted: impl Fn(Labels) -> bool) -> Vec<Ticket> {
        let entries = self.entries.borrow();
        let wanted =
            entries.iter().filter(|(_, entry)| entry.order.is_none() && wanted(entry.labels));
        let mut tickets: Vec<Ticket> =
            wanted.map(|(key, entry)| Ticket { key, number: entry.number }).collect();
        tickets.sort_unstable_by_key(|ticket| std::cmp::Reverse(ticket.number));
        tickets
    }

    /// Ends a tunnel properly, with `code`, if it is still there and was not told before.
    pub fn close(&self, ticket: Ticket, code: u16) {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(ticket.key).filter(|entry| entry.number == ticket.number);
        if let Some(entry) = entry.filter(|entry| entry.order.is_none()) {
            entry.tell(Order::Close(code));
        }
    }

    /// Ends some tunnels of `group` properly, the youngest first, with as many of `allowance` as this
    /// roster's share is where the group has `of` tunnels in all rosters; how many. Each holds the
    /// allowance until it is gone.
    ///
    /// Looks at every tunnel of the roster, which is about a millisecond for 100,000.
    pub fn shed(&self, group: Group, of: usize, allowance: &Arc<Allowance>) -> usize {
        let tickets = self.tickets(|labels| group.holds(labels));
        let share = allowance.share(tickets.len(), of);
        let mut told = 0;
        for ticket in tickets.into_iter().take(share) {
            if !allowance.take() {
                break;
            }
            if let Some(entry) = self.entries.borrow_mut().get_mut(ticket.key) {
                self.shed.borrow_mut().insert(ticket.key, Arc::clone(allowance));
                entry.tell(Order::Shed);
                told += 1;
            }
        }
        told
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
        let mut shed = self.roster.shed.borrow_mut();
        // Nothing is hashed for a tunnel's end while none is shed.
        if !shed.is_empty() {
            shed.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const GROUP: Group = Group { place: 1, number: 7 };

    fn told(member: &Member) -> Option<Order> {
        member.poll_order(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_the_group_is_told_those_that_enter_later_among_them() {
        let roster = Rc::<Roster>::default();
        let (of_it, of_another) = (Labels([1, 7]), Labels([7, 1]));
        let (old, other) = (roster.enter(of_it), roster.enter(of_another));
        let tickets = roster.begin_closing_group(GROUP, 1012);
        assert_eq!(tickets.len(), 1);
        let (young, another) = (roster.enter(of_it), roster.enter(of_another));
        assert_eq!((told(&old), told(&young)), (None, Some(Order::Close(1012))));
        roster.close(tickets[0], 1012);
        assert_eq!(told(&old), Some(Order::Close(1012)));
        roster.reopen(GROUP);
        assert!(!roster.is_closing(GROUP));
        for member in [&other, &another, &roster.enter(of_it)] {
            assert_eq!(told(member), None);
        }
    }

    #[test]
    fn a_ticket_is_for_one_tunnel_and_not_for_the_next_in_its_place() {
        let roster = Rc::<Roster>::default();
        let gone = roster.enter(Labels([1, 7]));
        let ticket = roster.begin_closing_group(GROUP, 1012)[0];
        roster.reopen(GROUP);
        drop(gone);
        let next = roster.enter(Labels([1, 7]));
        roster.close(ticket, 1012);
        assert_eq!(told(&next), None);
    }

    #[test]
    fn the_youngest_are_shed_and_hold_the_allowance_until_they_are_gone() {
        let roster = Rc::<Roster>::default();
        let mut members: Vec<_> = (0..10).map(|_| roster.enter(Labels([1, 7]))).collect();
        let _other = roster.enter(Labels([7, 1]));
        let allowance = Arc::<Allowance>::default();
        allowance.grant(3);
        // Half of the group is with another worker.
        assert_eq!(roster.shed(GROUP, 20, &allowance), 2, "half of three, rounded up");
        let shed = |members: &[Member]| {
            members.iter().map(|one| told(one) == Some(Order::Shed)).collect::<Vec<_>>()
        };
        assert_eq!(shed(&members[7..]), [false, true, true]);
        assert_eq!(Arc::strong_count(&allowance), 3);
        assert_eq!(roster.shed(GROUP, 10, &allowance), 1, "what was left");
        assert_eq!(roster.shed(GROUP, 10, &allowance), 0, "there is none left");
        assert_eq!(shed(&members[6..]), [false, true, true, true]);
        members.truncate(8);
        assert_eq!(Arc::strong_count(&allowance), 2);
        // A drain leaves alone who was told.
        assert_eq!(roster.begin_closing(1012).len(), 8);
        drop(members);
        assert_eq!(Arc::strong_count(&allowance), 1);
    }

    #[test]
    fn who_was_told_a_code_keeps_it_until_the_cut() {
        let roster = Rc::<Roster>::default();
        let member = roster.enter(Labels([1, 7]));
        let ticket = roster.begin_closing_group(GROUP, 1001)[0];
        roster.close(ticket, 1001);
        assert_eq!(roster.begin_closing(1012), []);
        roster.close(ticket, 1012);
        assert_eq!(told(&member), Some(Order::Close(1001)));
        roster.cut_all();
        assert_eq!(told(&member), Some(Order::Cut));
    }
}
