//! The upstream half of an upgrade: dial, ask, judge the answer. Not one byte of the client's
//! beyond its head goes out before the 101.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use http::response;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::dialling::{self, Attempts, Dialled};
use super::reply::Refusal;
use super::request_body::RequestBody;
use super::upgrade::UpgradeRequest;
use super::worker::Worker;
use crate::error::Failure;
use crate::generation::Way;
use crate::upstream::Lease;

/// What an upstream made of an upgrade.
pub(super) enum Answer {
    /// A 101 that was checked, and the bare connection behind it.
    Switched {
        /// The 101's head.
        head: Box<response::Parts>,
        /// The connection.
        stream: TcpStream,
        /// What the upstream sent right behind its 101.
        read_ahead: Vec<u8>,
        /// The endpoint, counted as a tunnel.
        lease: Lease,
    },
    /// Any other answer, which is the client's to see.
    Declined {
        /// The answer.
        response: Box<Response<Incoming>>,
        /// The endpoint, until the answer's body has ended.
        lease: Lease,
    },
}

/// Asks `way`'s upstream for the upgrade, one endpoint after another until one answers. `headers`
/// are those of the handshake as the upstream shall see them.
///
/// # Errors
/// The refusal that the client gets.
pub(super) async fn open(
    worker: &Worker,
    way: Way<'_>,
    upgrade: &UpgradeRequest,
    target: &Uri,
    headers: HeaderMap,
) -> Result<Answer, Refusal> {
    let timeouts = &way.route.timeouts;
    let mut attempts = Attempts::default();
    loop {
        let lease = attempts.lease(way.upstream).map_err(Refusal::new)?;
        if attempts.is_retry() {
            way.upstream.counters.at(worker.id).retries.inc();
        }
        let dialled = match dialling::connect(worker, way.upstream, &lease, timeouts).await {
            Ok(dialled) => dialled,
            Err(failure) => {
                attempts.failed(&lease, failure);
                continue;
            }
        };
        let request = handshake(target, headers.clone());
        match timeout(timeouts.handshake, ask(dialled, request)).await {
            Err(_) => {
                return Err(Refusal::new(Failure::HandshakeTimeout)
                    .because("the upstream did not answer the upgrade in time"));
            }
            Ok(Err(failure)) => {
                tracing::warn!(
                    upstream = &*way.upstream.name,
                    endpoint = lease.endpoint().label,
                    cause = failure.label(),
                    "an endpoint gave no answer to an upgrade"
                );
                attempts.failed(&lease, failure);
            }
            Ok(Ok(asked)) => return asked.judge(upgrade, lease),
        }
    }
}

fn handshake(target: &Uri, headers: HeaderMap) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::default());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = target.clone();
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    request
}

struct Asked {
    response: Response<Incoming>,
    connection:
        hyper::client::conn::http1::Connection<hyper_util::rt::TokioIo<TcpStream>, RequestBody>,
}

/// Sends the handshake and drives the connection in this task until an answer head is there.
async fn ask(dialled: Dialled, request: Request<RequestBody>) -> Result<Asked, Failure> {
    let Dialled { mut sender, mut connection } = dialled;
    let response = {
        let mut response = pin!(sender.send_request(request));
        let mut ended = false;
        poll_fn(|cx| {
            if let Poll::Ready(response) = response.as_mut().poll(cx) {
                return Poll::Ready(response);
            }
            if !ended && connection.poll_without_shutdown(cx).is_ready() {
                ended = true;
            }
            response.as_mut().poll(cx)
        })
        .await
    };
    let response = response.map_err(|error| dialling::blame(&error))?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // hyper hands the socket over as soon as it is polled once more.
        poll_fn(|cx| connection.poll_without_shutdown(cx))
            .await
            .map_err(|error| dialling::blame(&error))?;
    }
    Ok(Asked { response, connection })
}

impl Asked {
    fn judge(self, upgrade: &UpgradeRequest, lease: Lease) -> Result<Answer, Refusal> {
        if self.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // The driver ends with the answer's body, or when that is dropped.
            tokio::task::spawn_local(async move {
                if let Err(error) = self.connection.await {
                    tracing::debug!(%error, "an upstream connection ended early");
                }
            });
            return Ok(Answer::Declined { response: Box::new(self.response), lease });
        }
        let (head, _) = self.response.into_parts();
        upgrade.check(&head.headers).map_err(|what| {
            tracing::warn!(endpoint = lease.endpoint().label, "{what}");
            Refusal::new(Failure::BadUpgrade).because(what).closing()
        })?;
        let parts = self.connection.into_parts();
        Ok(Answer::Switched {
            head: Box::new(head),
            stream: parts.io.into_inner(),
            read_ahead: parts.read_buf.to_vec(),
            lease: lease.into_tunnel(),
        })
    }
}
