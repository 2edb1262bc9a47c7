//! Names of the DNS, asked for again and again. The shell around `answer` and `pace`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::time::{Instant, sleep_until, timeout};

use super::answer::{Addresses, Reply, Service, of_addresses, of_services};
use super::pace;
use super::runtime::Runtime;
use super::source::{Fault, Source};
use crate::plan::{Endpoint, Resolver};

type Asked = hickory_resolver::Resolver<Runtime>;

/// Each question is asked so often, at least: a datagram may be lost.
const TRIES: u32 = 3;

/// Targets of SRV records that are asked for at once.
const AT_ONCE: usize = 8;

/// What is asked for.
#[derive(Debug)]
pub(super) enum Question {
    /// The addresses of a name, and the port that goes with them.
    Addresses(String, u16),
    /// SRV records.
    Services(String),
}

/// A name that is followed.
pub(super) struct Names {
    question: Question,
    terms: Resolver,
    resolver: Option<Asked>,
    /// What is known of the name, or of the targets of its SRV records.
    known: BTreeMap<String, Addresses>,
    failures: u32,
    /// When it is asked for; `None` for now.
    due: Option<Instant>,
}

impl Source for Names {
    async fn next(&mut self) -> Result<Vec<Endpoint>, Fault> {
        if let Some(due) = self.due {
            sleep_until(due).await;
        }
        let found = self.ask().await;
        let dice = getrandom::u32().unwrap_or_default();
        let pause = match &found {
            Ok((_, ttl)) => {
                self.failures = 0;
                pace::after_answer(*ttl, &self.terms, dice)
            }
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                // The system's servers may be others by now.
                self.resolver = None;
                pace::after_failures(self.failures, &self.terms, dice)
            }
        };
        self.due = Some(Instant::now() + pause);
        found.map(|(endpoints, _)| endpoints)
    }
}

impl Names {
    pub(super) fn new(question: Question, terms: Resolver) -> Self {
        Self { question, terms, resolver: None, known: BTreeMap::new(), failures: 0, due: None }
    }

    /// The endpoints now, and how long that holds.
    async fn ask(&mut self) -> Result<(Vec<Endpoint>, Duration), Fault> {
        let resolver = match self.resolver.take() {
            Some(resolver) => resolver,
            None => resolver(&self.terms).map_err(|error| {
                Fault(format!("the system's DNS servers are not known: {error}"))
            })?,
        };
        let resolver = &*self.resolver.insert(resolver);
        let longest = self.terms.timeout;
        match &self.question {
            Question::Addresses(host, port) => {
                let before = self.known.get(host).cloned().unwrap_or_default();
                let (v4, v6) = both(resolver, host, longest).await;
                let learned = before.learn(v4, v6);
                if let Some(why) = learned.failed {
                    return Err(Fault(why));
                }
                let endpoints = of_addresses(&learned.addresses, *port)?;
                self.known = BTreeMap::from([(host.clone(), learned.addresses)]);
                Ok((endpoints, learned.ttl.unwrap_or_default()))
            }
            Question::Services(name) => {
                let (services, mut ttl) = match services(resolver, name, longest).await {
                    Reply::Records(services, ttl) => (services, ttl),
                    Reply::Nothing => return Err(Fault("the name has no SRV records".to_owned())),
                    Reply::Failed(why) => return Err(Fault(why)),
                };
                let mut names: Vec<_> = services.iter().map(|one| one.target.clone()).collect();
                names.sort_unstable();
                names.dedup();
                names.retain(|name| name != ".");
                let asked = names.into_iter().map(|name| async move {
                    let replies = both(resolver, &name, longest).await;
                    (name, replies)
                });
                let replies: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
                let mut known = BTreeMap::new();
                for (name, (v4, v6)) in replies {
                    let before = self.known.get(&name).cloned().unwrap_or_default();
                    let learned = before.learn(v4, v6);
                    // What is not known now is asked for again with all the rest.
                    ttl = learned.ttl.map_or(ttl, |of_target| ttl.min(of_target));
                    known.insert(name, learned.addresses);
                }
                let endpoints = of_services(&services, &known)?;
                self.known = known;
                Ok((endpoints, ttl))
            }
        }
    }
}

/// Asks the servers of `terms`, or those of the system.
fn resolver(terms: &Resolver) -> Result<Asked, NetError> {
    let mut builder = if terms.servers.is_empty() {
        Asked::builder(Runtime::default())?
    } else {
        let servers = terms.servers.iter().map(|server| {
            let mut known = NameServerConfig::udp_and_tcp(server.ip());
            let port = |one: &mut ConnectionConfig| one.port = server.port();
            known.connections.iter_mut().for_each(port);
            known
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        Asked::builder_with_config(config, Runtime::default())
    };
    let options = builder.options_mut();
    options.timeout = terms.timeout / TRIES;
    options.attempts = TRIES as usize - 1;
    // Each look is a fresh one: when to look is ours to say.
    options.cache_size = 0;
    // A file of this machine is no DNS; a name that is resolved at each dial honours it.
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

/// Both kinds of addresses of a name.
async fn both(resolver: &Asked, name: &str, longest: Duration) -> (Reply<IpAddr>, Reply<IpAddr>) {
    let of = |kind| {
        lookup(resolver, name, kind, longest, |data| match data {
            RData::A(ip) => Some(IpAddr::V4(ip.0)),
            RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
            _ => None,
        })
    };
    tokio::join!(of(RecordType::A), of(RecordType::AAAA))
}

async fn services(resolver: &Asked, name: &str, longest: Duration) -> Reply<Service> {
    lookup(resolver, name, RecordType::SRV, longest, |data| match data {
        RData::SRV(srv) => Some(Service {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_ascii().to_ascii_lowercase(),
        }),
        _ => None,
    })
    .await
}

async fn lookup<T>(
    resolver: &Asked,
    name: &str,
    kind: RecordType,
    longest: Duration,
    read: impl Fn(&RData) -> Option<T>,
) -> Reply<T> {
    let answer = match timeout(longest, resolver.lookup(name, kind)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(NetError::Dns(DnsError::NoRecordsFound(_)))) => return Reply::Nothing,
        Ok(Err(NetError::Timeout)) | Err(_) => {
            return Reply::Failed(format!("no answer within {longest:?}"));
        }
        Ok(Err(error)) => return Reply::Failed(error.to_string()),
    };
    // Aliases on the way hold no longer than they say, too.
    let ttl = answer.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
    let records: Vec<T> = answer.answers().iter().filter_map(|record| read(&record.data)).collect();
    if records.is_empty() {
        return Reply::Nothing;
    }
    Reply::Records(records, Duration::from_secs(ttl.into()))
}
