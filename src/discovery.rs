//! Which endpoints upstreams have where that is not written down: sources are asked in the background,
//! in the runtime of whoever starts them, and what each said last is kept, through its failures and
//! through reloads. What becomes of the endpoints is not decided here.
//!
//! A new kind of source is a file with a type that is a [`source::Source`], a variant of
//! [`crate::plan::Source`] that says how it is written, and a line in [`Discovery::start`].

mod answer;
mod dns;
mod file;
mod members;
mod pace;
mod runtime;
mod source;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use self::dns::{Names, Question};
use self::file::List;
use self::members::Change;
use self::source::{Fault, Source};
use crate::plan::{self, Discovered, Endpoint, Plan, Resolver};
use crate::telemetry::{Failing, Finding, Metrics};

pub(crate) use self::file::read;

/// A start, or a reload, waits so long for sources that were never heard.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// All sources that are followed. A drop ends that.
#[derive(Debug)]
pub(crate) struct Discovery {
    metrics: Arc<Metrics>,
    tasks: JoinSet<()>,
    followed: Vec<Followed>,
    begun: u64,
    said: mpsc::UnboundedSender<Said>,
    inbox: mpsc::UnboundedReceiver<Said>,
    /// Some list is another one than when it was last asked for.
    news: bool,
}

/// What a source said, by the number of its task.
#[derive(Debug)]
struct Said(u64, Result<Vec<Endpoint>, Fault>);

/// A source that is followed.
#[derive(Debug)]
struct Followed {
    upstream: String,
    source: plan::Source,
    /// Whom it asks; `None` where that is no matter of the DNS.
    resolver: Option<Resolver>,
    task: u64,
    handle: AbortHandle,
    list: Vec<Endpoint>,
    finding: Arc<Finding>,
    state: State,
}

/// How a source fares.
#[derive(Debug)]
enum State {
    /// Nothing was heard of it yet.
    Unheard {
        _failing: Failing,
    },
    Well,
    Failing {
        _failing: Failing,
    },
}

impl Discovery {
    /// Follows nothing yet.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let (said, inbox) = mpsc::unbounded_channel();
        let (tasks, followed) = (JoinSet::new(), Vec::new());
        Self { metrics, tasks, followed, begun: 0, said, inbox, news: false }
    }

    /// Follows what `plan` names, beside what is followed already. Whose resolver is another one now
    /// begins anew, with the list that it had.
    pub(crate) fn begin(&mut self, plan: &Plan) {
        for upstream in &plan.upstreams {
            for Discovered { source, .. } in &upstream.discovered {
                let resolver = source.is_dns().then(|| plan.resolver.clone());
                let known = self.followed.iter().position(|one| one.is(&upstream.name, source));
                match known.and_then(|at| self.followed.get(at)) {
                    Some(one) if one.resolver == resolver => continue,
                    _ => {}
                }
                let (task, handle) = self.start(source, &plan.resolver);
                if let Some(one) = known.and_then(|at| self.followed.get_mut(at)) {
                    one.handle.abort();
                    (one.task, one.handle, one.resolver) = (task, handle, resolver);
                    continue;
                }
                let finding = self.metrics.finding(&upstream.name);
                self.followed.push(Followed {
                    upstream: upstream.name.clone(),
                    source: source.clone(),
                    resolver,
                    task,
                    handle,
                    list: Vec::new(),
                    state: State::Unheard { _failing: finding.failing() },
                    finding,
                });
            }
        }
    }

    /// Follows what `plan` names, and nothing else.
    pub(crate) fn keep(&mut self, plan: &Plan) {
        self.followed.retain(|one| {
            let mut upstreams = plan.upstreams.iter();
            let upstream = upstreams.find(|upstream| upstream.name == one.upstream);
            upstream.is_some_and(|upstream| {
                upstream.discovered.iter().any(|by| by.source == one.source)
            })
        });
        self.begin(plan);
        while self.tasks.try_join_next().is_some() {}
    }

    /// Waits until every source was heard, or [`PATIENCE`] is over. Tells who was not.
    pub(crate) async fn hear_all(&mut self) {
        let heard = async {
            while self.followed.iter().any(Followed::is_unheard) {
                let Some(said) = self.inbox.recv().await else { return };
                self.note(said);
            }
        };
        if timeout(PATIENCE, heard).await.is_err() {
            for one in self.followed.iter().filter(|one| one.is_unheard()) {
                tracing::warn!(
                    upstream = one.upstream, source = %one.source,
                    "nothing is heard of a source of endpoints: going on without"
                );
            }
        }
    }

    /// Resolves when some list is another one than before.
    pub(crate) async fn changed(&mut self) {
        while !self.news {
            match self.inbox.recv().await {
                Some(said) => self.note(said),
                // It holds a sender itself.
                None => std::future::pending().await,
            }
            while let Ok(said) = self.inbox.try_recv() {
                self.note(said);
            }
        }
    }

    /// The lists are taken over now. Whether any differs from the last time.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// `upstream` with the endpoints that were found for it.
    pub(crate) fn complete<'a>(&self, upstream: &'a plan::Upstream) -> Cow<'a, plan::Upstream> {
        if upstream.discovered.is_empty() {
            return Cow::Borrowed(upstream);
        }
        let found = upstream.discovered.iter().flat_map(|by| {
            let one = self.followed.iter().find(|one| one.is(&upstream.name, &by.source));
            members::claimed(one.map(|one| one.list.as_slice()).unwrap_or_default(), by)
        });
        let written = upstream.endpoints.iter().cloned();
        let (endpoints, left_out) = members::fitted(written.chain(found), upstream.room());
        if left_out > 0 {
            tracing::warn!(
                upstream = upstream.name,
                left_out,
                room = upstream.room(),
                "more endpoints are found than can be balanced: some are left out"
            );
        }
        Cow::Owned(plan::Upstream { endpoints, ..upstream.clone() })
    }

    fn start(&mut self, source: &plan::Source, terms: &Resolver) -> (u64, AbortHandle) {
        self.begun = self.begun.wrapping_add(1);
        let (task, said) = (self.begun, self.said.clone());
        let names = |question| Names::new(question, terms.clone());
        let handle = match source.clone() {
            plan::Source::Addresses { host, port } => {
                let names = names(Question::Addresses(host, port));
                self.tasks.spawn(follow(names, task, said))
            }
            plan::Source::Services { name } => {
                self.tasks.spawn(follow(names(Question::Services(name)), task, said))
            }
            plan::Source::File(file) => self.tasks.spawn(follow(List::new(file), task, said)),
        };
        (task, handle)
    }

    fn note(&mut self, Said(task, said): Said) {
        // One that is not followed any more may have had its last word on the way.
        if let Some(one) = self.followed.iter_mut().find(|one| one.task == task) {
            self.news |= one.note(said);
        }
    }
}

impl Followed {
    fn is(&self, upstream: &str, source: &plan::Source) -> bool {
        self.upstream == upstream && self.source == *source
    }

    fn is_unheard(&self) -> bool {
        matches!(self.state, State::Unheard { .. })
    }

    /// Whether the list is another one now. A change of the state is told, and only that.
    fn note(&mut self, said: Result<Vec<Endpoint>, Fault>) -> bool {
        let (upstream, source) = (&self.upstream, &self.source);
        let list = match said {
            Ok(list) => list,
            Err(why) => {
                self.finding.count_failure();
                if !matches!(self.state, State::Failing { .. }) {
                    let kept = self.list.len();
                    tracing::warn!(
                        upstream, %source, why = why.0.as_str(), kept,
                        "endpoints cannot be found: the last ones that were stay"
                    );
                    self.state = State::Failing { _failing: self.finding.failing() };
                }
                return false;
            }
        };
        if matches!(self.state, State::Failing { .. }) {
            tracing::info!(upstream, %source, "endpoints can be found again");
        }
        self.state = State::Well;
        let Some(Change { joined, left }) = Change::between(&self.list, &list) else {
            return false;
        };
        let now = list.len();
        tracing::info!(upstream, %source, joined, left, now, "endpoints have changed");
        self.list = list;
        true
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Passes on what a source says, for ever.
async fn follow(mut source: impl Source, task: u64, said: mpsc::UnboundedSender<Said>) {
    loop {
        let next = source.next().await;
        if said.send(Said(task, next)).is_err() {
            return;
        }
    }
}
