//! What workers are told about tunnels that are theirs alone: each has a box of its own, and its own
//! thread carries an order out.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::exchange::{Part, Worker};
use crate::telemetry::{Sharded, UpstreamShard};
use crate::tunnel::{Allowance, Pace};

/// What is to become of some tunnels.
#[derive(Clone, Debug)]
pub enum Order {
    /// They are told to close, at the pace of the plan's `drain`, and so are those that still begin.
    Drain(Part),
    /// No further one is.
    Keep(Part),
    /// Some of them are told to come back, each worker's share of what is allowed.
    Shed {
        /// Whose.
        part: Part,
        /// How many it has, through all workers.
        of: usize,
        /// How many may be told.
        allowance: Arc<Allowance>,
        /// Where they are counted.
        counters: Arc<Sharded<UpstreamShard>>,
    },
}

/// The boxes of all workers.
#[derive(Clone, Debug)]
pub struct Orders {
    boxes: Vec<mpsc::UnboundedSender<Order>>,
}

impl Orders {
    /// A box for each of `workers`, and what comes into them.
    pub(super) fn new(workers: usize) -> (Self, Vec<mpsc::UnboundedReceiver<Order>>) {
        let (boxes, inboxes) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        (Self { boxes }, inboxes)
    }

    /// Tells every worker.
    pub fn send(&self, order: &Order) {
        for one in &self.boxes {
            // A worker that is gone has no tunnels.
            one.send(order.clone()).ok();
        }
    }
}

impl Order {
    /// Carries it out, as long as it takes, in a task of its own.
    pub(super) fn obey(self, worker: &Rc<Worker>) {
        match self {
            Self::Drain(part) => {
                let drain = worker.generation().plan.drain;
                let pace = Pace { spread: drain.spread, code: drain.code };
                let worker = Rc::clone(worker);
                tokio::task::spawn_local(async move {
                    pace.close_group(&worker.roster, part.group()).await;
                });
            }
            Self::Keep(part) => worker.roster.reopen(part.group()),
            Self::Shed { part, of, allowance, counters } => {
                let shed = worker.roster.shed(part.group(), of, &allowance);
                counters.at(worker.id).rebalanced.add(shed as u64);
            }
        }
    }
}
