//! The upstream half of an upgrade: dial, ask, judge the answer. Not one byte of the client's
//! beyond its head goes out before the 101.

use bytes::Bytes;
use http::{Method, Response, StatusCode, response};
use tokio::time::Instant;

use super::dialling::{self, Attempts};
use super::entry;
use super::outbound_fields::OutboundFields;
use super::reply::Refusal;
use super::request_body::RequestBody;
use super::timer::LazyTimer;
use super::upgrade::UpgradeRequest;
use super::worker::Worker;
use crate::error::Failure;
use crate::generation::Way;
use crate::upstream::http1::{
    AnswerBody, AnswerError, Connection, Framing, InFlight, request_head,
};
use crate::upstream::{Claim, Lease, Mishap, Socket};

/// What an upstream made of an upgrade.
pub(super) enum Answer {
    /// A 101 that was checked, and the bare connection behind it.
    Switched {
        /// The 101's head.
        head: Box<response::Parts>,
        /// The connection.
        socket: Socket,
        /// What the upstream sent right behind its 101.
        read_ahead: Bytes,
        /// The endpoint, counted as a tunnel.
        lease: Lease,
    },
    /// Any other answer, which is the client's to see.
    Declined {
        /// The answer.
        response: Box<Response<AnswerBody>>,
        /// The endpoint, until the answer's body has ended.
        lease: Lease,
    },
}

/// An upgrade as the upstream shall see it.
pub(super) struct Question<'a> {
    /// What the client asked for, which the answer must fit.
    pub(super) upgrade: &'a UpgradeRequest,
    /// In origin-form.
    pub(super) target: &'a str,
    /// The fields of the handshake.
    pub(super) fields: &'a OutboundFields,
    /// What goes out before it.
    pub(super) preface: Option<Bytes>,
}

/// Asks `way`'s upstream for the upgrade, one endpoint after another until one answers.
///
/// # Errors
/// The refusal that the client gets.
pub(super) async fn open(
    worker: &Worker,
    timer: &LazyTimer,
    way: Way<'_>,
    claim: &Claim,
    question: Question<'_>,
) -> Result<Answer, Refusal> {
    let Question { upgrade, target, fields, preface } = question;
    let mut attempts = Attempts::begin(worker, way, preface)?;
    let began = Instant::now();
    entry::pace(timer, way).await?;
    // Until there is an answer, or none.
    let _seat = entry::turn(worker, timer, way, began).await?;
    let patience = way.route.timeouts.handshake;
    let head = request_head(&Method::GET, target, fields.iter(), Framing::Empty);
    loop {
        let lease = attempts.lease(timer, claim).await?;
        if attempts.is_retry() {
            way.upstream.counters.at(worker.id).retries.inc();
        }
        let began = Instant::now();
        let connection = match dialling::connect(&mut attempts, timer, &lease).await {
            Ok(connection) => connection,
            Err(failure) => {
                attempts.failed(&lease, failure);
                continue;
            }
        };
        match timer.within(patience, ask(connection, head.clone())).await {
            None => {
                attempts.met(&lease, Mishap::Silence);
                return Err(Refusal::new(Failure::HandshakeTimeout)
                    .because("the upstream did not answer the upgrade in time"));
            }
            Some(Err(error)) => {
                attempts.met(&lease, Mishap::Answer);
                tracing::warn!(
                    upstream = &*way.upstream.name,
                    endpoint = lease.endpoint().label,
                    %error,
                    "an endpoint gave no answer to an upgrade"
                );
                attempts.failed(&lease, dialling::blame(&error));
            }
            Some(Ok(asked)) => {
                let answer = asked.judge(&mut attempts, upgrade, lease)?;
                if let Answer::Switched { lease, .. } = &answer {
                    lease.endpoint().handshake_took(began.elapsed());
                }
                return Ok(answer);
            }
        }
    }
}

struct Asked {
    head: Response<()>,
    in_flight: InFlight<RequestBody>,
}

/// Sends the handshake and waits for the head of its answer.
async fn ask(connection: Connection, head: Bytes) -> Result<Asked, AnswerError> {
    let mut in_flight = InFlight::new(connection, Method::GET, head, None, Framing::Empty);
    let head = in_flight.head(|_| {}).await?;
    Ok(Asked { head, in_flight })
}

impl Asked {
    fn judge(
        self,
        attempts: &mut Attempts<'_>,
        upgrade: &UpgradeRequest,
        lease: Lease,
    ) -> Result<Answer, Refusal> {
        let Self { head, in_flight } = self;
        if head.status() != StatusCode::SWITCHING_PROTOCOLS {
            attempts.answered(&lease, head.status());
            let response = Box::new(head.map(|()| in_flight.into_body(false)));
            return Ok(Answer::Declined { response, lease });
        }
        let (head, ()) = head.into_parts();
        upgrade.check(&head.headers).map_err(|what| {
            attempts.met(&lease, Mishap::Upgrade);
            tracing::warn!(endpoint = lease.endpoint().label, "{what}");
            Refusal::new(Failure::BadUpgrade).because(what).closing()
        })?;
        attempts.answered(&lease, head.status);
        let (socket, read_ahead) = in_flight.into_socket();
        Ok(Answer::Switched {
            head: Box::new(head),
            socket,
            read_ahead,
            lease: lease.into_tunnel(),
        })
    }
}
