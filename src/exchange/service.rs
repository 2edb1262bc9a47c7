//! One request, judged and answered: the path of every exchange on one page.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::UPGRADE;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::Service;

use super::account::{Account, Line};
use super::carried::Pending;
use super::client_answer::{carried, clean_answer, refuse, set_cookie, switched};
use super::client_body::ClientBody;
use super::connection::Arrival;
use super::forward;
use super::forwarded::{self, Sender};
use super::front::Turn;
use super::guarded::Guarded;
use super::handshake::{self, Answer, Question};
use super::head::{self, Head};
use super::hygiene::{self, ConnectionOptions};
use super::outbound_fields::OutboundFields;
use super::path;
use super::reply::{self, Refusal};
use super::request_body::RequestBody;
use super::response_body::{FromUpstream, ResponseBody};
use super::timer::LazyTimer;
use super::upgrade::UpgradeRequest;
use super::worker::{Snapshot, Worker};
use crate::error::Failure;
use crate::generation::Way;
use crate::plan::{Access, Facts, Limits, Plan, Routes};
use crate::telemetry::UpgradeOutcome;
use crate::upstream::http1::AnswerBody;
use crate::upstream::{Asker, Claim, Lease};

/// What the requests of one client connection share; with HTTP/2 each stream has one of its own.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) worker: Rc<Worker>,
    pub(super) sender: Sender,
    pub(super) limits: Limits,
    /// Who may come on this listener; a reload may change it.
    pub(super) access: Arc<ArcSwapOption<Access>>,
    /// The TLS server name, when a Host that differs from it is refused.
    pub(super) server_name: Option<Rc<str>>,
    /// A 101 was answered, and this is what begins behind it.
    pub(super) pending: RefCell<Option<Pending>>,
    /// An answer broke off: the connection must not end as if it were whole.
    pub(super) truncated: Rc<Cell<bool>>,
    /// The connection's one timer.
    pub(super) timer: LazyTimer,
    /// Whether an exchange is under way.
    pub(super) turn: Rc<Turn>,
    /// How long the client may take nothing of an answer; HTTP/2 only, whose streams are many.
    pub(super) patience: Cell<Option<Duration>>,
    /// How often the client had been read when an upgrade of its was declined.
    pub(super) declined_at: Cell<Option<u64>>,
}

/// hyper's view of a [`Conversation`].
#[derive(Debug)]
pub(super) struct ExchangeService(pub(super) Rc<Conversation>);

impl Service<Request<Incoming>> for ExchangeService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let conversation = Rc::clone(&self.0);
        Box::pin(async move {
            let exchanging = conversation.turn.begin();
            let mut response = conversation.exchange(request.map(ClientBody::Http1)).await;
            response.body_mut().hold(exchanging);
            Ok(response)
        })
    }
}

/// What a head that passed its checks says.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) head: Head,
    options: ConnectionOptions,
    /// What some servers take the path for.
    other_paths: Vec<String>,
    /// The handshake, when the request is one.
    pub(super) upgrade: Option<UpgradeRequest>,
}

/// Checks a head. `server_name` is the TLS name that its Host must have.
///
/// # Errors
/// The refusal that the client gets.
pub(super) fn judge(
    parts: &mut Parts,
    plan: &Plan,
    limits: &Limits,
    server_name: Option<&str>,
) -> Result<Judged, Refusal> {
    let head = Head::check(parts, limits)?;
    let unclear = |what| Refusal::new(Failure::BadRequest).because(what);
    path::normalize(&mut parts.uri, plan.merge_slashes).map_err(unclear)?;
    let other_paths = path::other_readings(parts.uri.path()).map_err(unclear)?;
    if server_name.is_some_and(|name| name != head.host) {
        return Err(Refusal::new(Failure::Misdirected)
            .because("this TLS connection was opened for another host"));
    }
    let options = ConnectionOptions::read(&parts.headers)
        .map_err(|what| Refusal::new(Failure::BadRequest).because(what).closing())?;
    let upgrade = UpgradeRequest::parse(parts, &options)?;
    if upgrade.is_some() {
        // On HTTP/2 it came as CONNECT (RFC 8441 section 5).
        parts.method = Method::GET;
    }
    Ok(Judged { head, options, other_paths, upgrade })
}

impl Judged {
    /// What routes look at.
    pub(super) fn facts<'a>(&'a self, parts: &'a Parts) -> Facts<'a> {
        Facts {
            host: &self.head.host,
            path: parts.uri.path(),
            query: parts.uri.query(),
            method: &parts.method,
            headers: &parts.headers,
            websocket: self.upgrade.is_some(),
        }
    }

    /// Whether a server may take the path for one that goes another way: what guards the one says
    /// nothing about the other.
    ///
    /// # Errors
    /// The refusal that the client gets then.
    pub(super) fn is_clear(&self, parts: &Parts, routes: &Routes) -> Result<(), Refusal> {
        if self.other_paths.is_empty() {
            return Ok(());
        }
        let facts = self.facts(parts);
        let way = |facts: &Facts<'_>| routes.find(facts).map(|(id, _)| id);
        let own = way(&facts);
        if self.other_paths.iter().all(|other| way(&Facts { path: other, ..facts }) == own) {
            return Ok(());
        }
        Err(Refusal::new(Failure::BadRequest)
            .because("servers differ in what this path names, and its routes differ too"))
    }
}

/// A request whose head was judged.
struct Checked {
    parts: Parts,
    body: ClientBody,
    judged: Judged,
}

impl Conversation {
    /// The first one of a connection.
    pub(super) fn new(arrival: Arrival, worker: Rc<Worker>) -> Self {
        Self {
            sender: Sender::new(arrival.peer, arrival.reached, arrival.tls, arrival.scheme_unknown)
                .identified(arrival.identity),
            access: arrival.access,
            limits: arrival.limits,
            server_name: arrival.server_name.map(Rc::from),
            pending: RefCell::new(None),
            truncated: Rc::default(),
            timer: LazyTimer::default(),
            turn: Rc::default(),
            patience: Cell::new(None),
            declined_at: Cell::new(None),
            worker,
        }
    }

    /// Another one with the same client.
    pub(super) fn another(&self) -> Self {
        Self {
            worker: Rc::clone(&self.worker),
            sender: self.sender.clone(),
            limits: self.limits,
            access: Arc::clone(&self.access),
            server_name: self.server_name.clone(),
            pending: RefCell::new(None),
            truncated: Rc::default(),
            timer: LazyTimer::default(),
            turn: Rc::default(),
            patience: Cell::new(None),
            declined_at: Cell::new(None),
        }
    }

    pub(super) async fn exchange(&self, request: Request<ClientBody>) -> Response<ResponseBody> {
        let generation = self.worker.generation();
        let (mut parts, body) = request.into_parts();
        let mut account = Account::open(&self.worker, || self.line(&parts, &generation));
        let accept = parts.headers.get(http::header::ACCEPT).cloned();
        let mut checked =
            match judge(&mut parts, &generation.plan, &self.limits, self.server_name.as_deref()) {
                Ok(judged) => Checked { parts, body, judged },
                Err(refusal) => {
                    self.declined(parts.headers.contains_key(UPGRADE));
                    return refuse(&refusal, accept, &generation, account);
                }
            };
        account.note(|line| checked.judged.head.authority.clone_into(&mut line.host));
        if self.declined_at.take() == Some(self.turn.reads()) {
            // It came in one piece with an upgrade that was declined: meant for the tunnel that
            // did not begin, or for another reader than us (H-11).
            let refusal = Refusal::new(Failure::BadRequest)
                .because("a request sent ahead of the answer to an upgrade")
                .closing();
            return refuse(&refusal, accept, &generation, account);
        }
        if let Err(refusal) = checked.judged.is_clear(&checked.parts, &generation.plan.routes) {
            self.declined(checked.judged.upgrade.is_some());
            return refuse(&refusal, accept, &generation, account);
        }
        let Some(way) = generation.find(&checked.judged.facts(&checked.parts)) else {
            let refusal =
                Refusal::new(Failure::NoRoute).because("no route takes this host and path");
            return refuse(&refusal, accept, &generation, account);
        };
        account.route = Some(Arc::clone(way.live));
        account.note(|line| line.upstream = Some(way.upstream.name.clone()));
        let upgrade = checked.judged.upgrade.is_some();
        let guarded =
            self.guard(&generation, way, &checked.parts, &checked.judged, &mut account.seats);
        let share = match guarded {
            Guarded::Passes(share) => share,
            Guarded::Answered(answered) => {
                return self.conclude(*answered, upgrade, accept, &generation, account);
            }
        };
        if head::is_loop(&checked.parts.headers, &generation.plan.pseudonym) {
            let refusal =
                Refusal::new(Failure::Loop).because("the request came through here too often");
            return refuse(&refusal, accept, &generation, account);
        }
        if head::ends_here(&mut checked.parts) {
            let response = reply::options().map(ResponseBody::own);
            return carried(response, account);
        }
        let answered = if upgrade {
            // Boxed: rare beside plain requests, whose future would else carry its size.
            Box::pin(self.upgrade(&generation, way, checked, &mut account)).await
        } else {
            self.forward(&generation, way, checked, &mut account).await
        };
        let mut response = self.conclude(answered, upgrade, accept, &generation, account);
        if let Some(share) = share {
            share.put(response.headers_mut());
        }
        response
    }

    /// Makes of what came out the client's answer, which carries the account.
    fn conclude(
        &self,
        answered: Result<Response<ResponseBody>, Refusal>,
        upgrade: bool,
        accept: Option<HeaderValue>,
        generation: &Snapshot,
        mut account: Box<Account>,
    ) -> Response<ResponseBody> {
        match answered {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                account.answered(response.status(), None);
                account.becomes_tunnel();
                response
            }
            Ok(response) => {
                self.declined(upgrade);
                carried(response, account)
            }
            Err(refusal) => {
                self.declined(upgrade);
                refuse(&refusal, accept, generation, account)
            }
        }
    }

    /// Notes that an upgrade was not granted.
    fn declined(&self, upgrade: bool) {
        if upgrade {
            self.declined_at.set(Some(self.turn.reads()));
        }
    }

    /// Makes a client's fields those for the upstream. Returns with them whether the client takes
    /// trailers.
    fn rewrite(&self, generation: &Snapshot, checked: &mut Checked) -> (OutboundFields, bool) {
        let plan = &generation.plan;
        let Checked { parts, judged: Judged { head, options, .. }, .. } = checked;
        let mut fields = OutboundFields::new(std::mem::take(&mut parts.headers));
        let trailers = options.strip(&mut fields.said);
        self.sender.apply(&mut fields, &head.authority, plan.forwarded, &plan.trusted);
        forwarded::pass_via(&mut fields, parts.version, plan);
        head.put_host(&mut fields.said);
        (fields, trailers)
    }

    /// Where the request belongs, by its own head: what the upstream sees of it is not asked.
    fn claim(&self, generation: &Snapshot, way: Way<'_>, checked: &Checked) -> Claim {
        let Checked { parts, judged, .. } = checked;
        let trusted = &generation.plan.trusted;
        way.upstream.claim(&judged.facts(parts), || Asker {
            address: self.sender.client(&parts.headers, trusted),
            tls: self.sender.is_secure(&parts.headers, trusted),
        })
    }

    /// What tells the upstream who asks, where that is not told by fields alone.
    fn preface(&self, generation: &Snapshot, way: Way<'_>, parts: &Parts) -> Option<Bytes> {
        let trusted = &generation.plan.trusted;
        way.upstream.preface(|| Some(self.sender.ends(&parts.headers, trusted)))
    }

    async fn forward(
        &self,
        generation: &Snapshot,
        way: Way<'_>,
        mut checked: Checked,
        account: &mut Account,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let length = forward::content_length(&checked.parts.headers);
        let too_large = |limit| (length? > limit).then_some(limit);
        if let Some(limit) = way.route.max_body.and_then(too_large) {
            return Err(Refusal::new(Failure::BodyTooLarge)
                .because(format!("the body is over {limit} bytes"))
                .closing());
        }
        let claim = self.claim(generation, way, &checked);
        let preface = self.preface(generation, way, &checked.parts);
        let (mut fields, trailers) = self.rewrite(generation, &mut checked);
        let Checked { parts, body, judged: Judged { head, options, .. } } = checked;
        if trailers {
            hygiene::accept_trailers(&mut fields.said);
        }
        let (mut body, story) =
            RequestBody::new(body, way.route.max_body, way.route.timeouts.body, options);
        account.story = Some(Rc::clone(&story));
        if head.expects_continue {
            body.await_continue();
        }
        let request = forward::outbound(&parts, &fields, length, body, preface);
        let forwarded =
            forward::forward(&self.worker, &self.timer, way, &claim, request, &story).await?;
        account.note(|line| line.endpoint = Some(forwarded.endpoint().label.clone()));
        if forwarded.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for one: not a tunnel, not an answer (H-2).
            return Err(Refusal::new(Failure::BadUpgrade)
                .because("the upstream switched protocols without being asked")
                .closing());
        }
        self.patience.set(Some(way.route.timeouts.body));
        let cookie = way.upstream.cookie(&claim, forwarded.endpoint());
        let mut response = forwarded.into_response(&self.worker, way, &claim, &self.truncated);
        clean_answer(&mut response);
        set_cookie(&mut response, cookie);
        Ok(response)
    }

    async fn upgrade(
        &self,
        generation: &Snapshot,
        way: Way<'_>,
        mut checked: Checked,
        account: &mut Box<Account>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let counters = way.live.counters.at(self.worker.id);
        self.may_upgrade(way, &checked.judged)?;
        let claim = self.claim(generation, way, &checked);
        let client = self.sender.client(&checked.parts.headers, &generation.plan.trusted);
        let preface = self.preface(generation, way, &checked.parts);
        let (mut fields, _) = self.rewrite(generation, &mut checked);
        let Checked { parts, judged: Judged { upgrade, .. }, .. } = checked;
        let Some(upgrade) = upgrade else { return Err(Refusal::new(Failure::Internal)) };
        upgrade.ask(&mut fields.said);
        let target = super::origin_form(&parts.uri);
        let question = Question { upgrade: &upgrade, target: &target, fields: &fields, preface };
        let answer = handshake::open(&self.worker, &self.timer, way, &claim, question).await;
        match answer {
            Err(refusal) => {
                counters.count_upgrade(match refusal.failure {
                    Failure::UpgradeRate
                    | Failure::UpgradesInProgress
                    | Failure::UpstreamFull
                    | Failure::BreakerOpen => UpgradeOutcome::Refused,
                    _ => UpgradeOutcome::Failed,
                });
                Err(refusal)
            }
            Ok(Answer::Declined { response, lease }) => {
                counters.count_upgrade(UpgradeOutcome::Declined);
                account.note(|line| line.endpoint = Some(lease.endpoint().label.clone()));
                if upgrade.is_extended() && response.status().is_success() {
                    // To a client of HTTP/2 any 2xx would be a tunnel.
                    return Err(Refusal::new(Failure::BadUpgrade)
                        .because("the upstream answered an upgrade without switching protocols"));
                }
                Ok(self.not_upgraded(*response, way, &claim, lease))
            }
            Ok(Answer::Switched { .. }) if self.worker.is_draining() => {
                // The drain began in the meantime: hyper would add `close` to a 101 now (Y-9).
                counters.count_upgrade(UpgradeOutcome::Refused);
                Err(Refusal::new(Failure::Draining).because("shutting down").closing())
            }
            Ok(Answer::Switched { head, socket, read_ahead, lease }) => {
                counters.count_upgrade(UpgradeOutcome::Accepted);
                counters.handshake_seconds.observe(account.began.elapsed());
                let mut response = switched(&upgrade, *head, way);
                set_cookie(&mut response, way.upstream.cookie(&claim, lease.endpoint()));
                self.pending.replace(Some(Pending::new(
                    self,
                    way,
                    client,
                    socket,
                    read_ahead.into(),
                    lease,
                    account,
                    response.headers(),
                )));
                Ok(response)
            }
        }
    }

    /// Whether an upgrade is asked for at all.
    fn may_upgrade(&self, way: Way<'_>, judged: &Judged) -> Result<(), Refusal> {
        let extended = judged.upgrade.as_ref().is_some_and(UpgradeRequest::is_extended);
        let refusal = if self.worker.is_draining() {
            Refusal::new(Failure::Draining).because("shutting down").closing()
        } else if extended && !way.route.websocket.bridge {
            Refusal::new(Failure::ProtocolUnknown)
                .because("WebSockets of this route go over HTTP/1.1")
        } else {
            return Ok(());
        };
        way.live.counters.at(self.worker.id).count_upgrade(UpgradeOutcome::Refused);
        Err(refusal)
    }

    /// An upstream's plain answer to an upgrade, on a connection that is not used again.
    fn not_upgraded(
        &self,
        response: Response<AnswerBody>,
        way: Way<'_>,
        claim: &Claim,
        lease: Lease,
    ) -> Response<ResponseBody> {
        let cookie = way.upstream.cookie(claim, lease.endpoint());
        let mut response = response.map(|incoming| {
            ResponseBody::upstream(Box::new(FromUpstream {
                incoming,
                reuse: None,
                lease: Some(lease),
                truncated: Rc::clone(&self.truncated),
                broken: None,
                overhearing: None,
            }))
        });
        clean_answer(&mut response);
        set_cookie(&mut response, cookie);
        response
    }

    fn line(&self, parts: &Parts, generation: &Snapshot) -> Line {
        Line {
            client: self.sender.client(&parts.headers, &generation.plan.trusted),
            certificate: self.sender.subject().cloned(),
            method: parts.method.clone(),
            host: String::new(),
            path: parts.uri.path().to_owned(),
            version: parts.version,
            upstream: None,
            endpoint: None,
        }
    }
}
