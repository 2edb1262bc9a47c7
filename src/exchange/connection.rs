//! One client connection from its first byte to its last: hyper reads and writes HTTP on it until
//! a 101 turns it into a tunnel or somebody closes it.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::StatusCode;
use hyper::server::conn::http1::{Builder, Connection, Parts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client_task::Carriage;
use super::front::Front;
use super::identity::Identity;
use super::reply::Refusal;
use super::service::{Conversation, ExchangeService};
use super::worker::Worker;
use crate::error::Failure;
use crate::plan::{Access, Limits};
use crate::tunnel::{Leg, Stream};

/// hyper's own default: what it reads ahead at most.
const READ_BUFFER: usize = 417_792;

/// How long a client may take to read a last answer before the socket is dropped (H-10).
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// A client's stream that can be ended by a reset.
pub trait ClientStream: Stream + 'static {
    /// Makes the coming close a reset: the peer must not take what it got for whole.
    fn reset_on_close(&self);
}

/// What is known of a connection before its first request.
#[derive(Debug)]
pub struct Arrival {
    /// The other end.
    pub peer: SocketAddr,
    /// What it was to reach: its own address here, or the one that a PROXY header tells. The listener's, if
    /// that is known, where nobody wanted to know when it came.
    pub reached: Option<SocketAddr>,
    /// Whether it is TLS.
    pub tls: bool,
    /// A proxy may have ended TLS before, and nobody has said whether it did.
    pub scheme_unknown: bool,
    /// Who may come to the listener, now and later; `None` for everybody.
    pub access: Arc<ArcSwapOption<Access>>,
    /// The TLS server name, when a Host that differs from it is to be refused.
    pub server_name: Option<String>,
    /// Who it has proved to be by a certificate; `None` where it was not asked for one.
    pub identity: Option<Box<Identity>>,
    /// For a request head to arrive, and between requests.
    pub header_timeout: Duration,
    /// What the client may send.
    pub limits: Limits,
}

/// Serves HTTP/1.1 on one connection until it ends or becomes a tunnel, which is handed back. `ahead`
/// is what was read of it before. `admission` is let go last of all, by the tunnel when there is one.
pub async fn serve<S: ClientStream>(
    stream: S,
    ahead: Vec<u8>,
    arrival: Arrival,
    worker: Rc<Worker>,
    admission: Box<dyn Any>,
) -> Option<Carriage> {
    let header_timeout = arrival.header_timeout;
    let conversation = Rc::new(Conversation::new(arrival, worker));
    let service = ExchangeService(Rc::clone(&conversation));
    let mut connection = Box::new(
        Builder::new()
            .timer(conversation.timer.clone())
            .header_read_timeout(header_timeout)
            // The list is checked again, precisely, where it can be answered with a reason.
            .max_header_size(conversation.limits.headers.saturating_mul(2))
            .max_buf_size(READ_BUFFER.max(conversation.limits.headers.saturating_mul(2)))
            .serve_connection(Front::new(stream, ahead, Rc::clone(&conversation.turn)), service),
    );
    let upgrades = || conversation.pending.borrow().is_some();
    let result = drive(&mut connection, &conversation.worker, upgrades).await;
    let Parts { io, read_buf, .. } = connection.into_parts();
    let stream = io.into_inner();
    let pending = conversation.pending.take();
    match (result, pending) {
        (Ok(()), Some(pending)) => {
            let client = Leg { stream, read_ahead: read_buf.to_vec() };
            // The read buffer's block must not outlive the handshake.
            drop(read_buf);
            return Some(Box::pin(pending.begin(client, admission)));
        }
        // Boxed, or every connection would be as large as its end.
        (Ok(()), None) => Box::pin(linger(stream)).await,
        (Err(error), _) => {
            let said_something = !read_buf.is_empty();
            Box::pin(failed(stream, &error, said_something, &conversation)).await;
        }
    }
    None
}

/// Answers whoever speaks HTTP where TLS is spoken, and closes.
pub async fn turn_away<S: ClientStream>(stream: S, worker: &Worker) {
    worker.counters().count_failure(Failure::BadRequest);
    let refusal = Refusal::new(Failure::BadRequest)
        .because("this port speaks TLS: use https:// or wss:// to reach it");
    last_answer(stream, refusal, worker).await;
}

/// Polls hyper until the connection is done, telling it once when the process drains.
async fn drive<S: ClientStream>(
    connection: &mut Connection<Front<S>, ExchangeService>,
    worker: &Worker,
    upgrades: impl FnOnce() -> bool,
) -> hyper::Result<()> {
    let mut draining = pin!(worker.drain_begun());
    let mut told = false;
    poll_fn(|cx| {
        // The connection first: a request that is here already was sent in good faith.
        let mut polled = Pin::new(&mut *connection).poll(cx);
        if polled.is_pending() && !told && draining.as_mut().poll(cx).is_ready() {
            told = true;
            Pin::new(&mut *connection).graceful_shutdown();
            polled = Pin::new(&mut *connection).poll(cx);
        }
        polled
    })
    .await?;
    if upgrades() {
        return Ok(());
    }
    // An upgrade that did not happen: hyper was done with it before its answer was flushed.
    poll_fn(|cx| Pin::new(&mut *connection).poll(cx)).await
}

/// `said_something`: bytes of a head are there that hyper could not make a request of.
async fn failed<S: ClientStream>(
    stream: S,
    error: &hyper::Error,
    said_something: bool,
    conversation: &Conversation,
) {
    if conversation.truncated.get() {
        stream.reset_on_close();
        return;
    }
    let counters = conversation.worker.counters();
    let refusal = if error.is_timeout() {
        // hyper closes a slow head without a word. Where nothing was said that is right.
        if !said_something {
            return linger(stream).await;
        }
        counters.count_failure(Failure::RequestTimeout);
        Refusal::new(Failure::RequestTimeout).because("the request head did not arrive in time")
    } else if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        counters.unparsed.inc();
        tracing::info!(client = %conversation.sender.peer.ip(), %error, "a request that is not HTTP");
        if !conversation.turn.may_speak() {
            // The end of an earlier answer is still unsent: another one now would stand in it.
            return;
        }
        unreadable(conversation)
    } else {
        tracing::debug!(client = %conversation.sender.peer.ip(), %error, "a client connection ended early");
        return;
    };
    last_answer(stream, refusal, &conversation.worker).await;
}

/// Writes an answer behind hyper's back, and closes.
async fn last_answer<S: ClientStream>(mut stream: S, refusal: Refusal, worker: &Worker) {
    let answer = refusal.closing().answer(None, &worker.generation().plan.pseudonym);
    // A client that does not read its answer is not waited for.
    drop(timeout(LINGER, stream.write_all(&super::reply::to_bytes(&answer))).await);
    linger(stream).await;
}

/// What a client is told whose head is no HTTP/1.1; hyper knows only the status.
fn unreadable(conversation: &Conversation) -> Refusal {
    match conversation.turn.bare_answer() {
        Some(StatusCode::URI_TOO_LONG) => {
            Refusal::new(Failure::UriTooLong).because("the request target is too long")
        }
        Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => Refusal::new(Failure::HeadersTooLarge)
            .because("the request head is too large or has over 100 fields"),
        _ => Refusal::new(Failure::BadRequest).because("the request head is not HTTP/1.1"),
    }
}

/// Closes so that the client can read the last answer: FIN, then a moment for what it still
/// sends, then the rest. A close with bytes unread would be a reset that destroys the answer.
pub(super) async fn linger<S: ClientStream>(mut stream: S) {
    drop(
        timeout(LINGER, async {
            stream.shutdown().await?;
            let mut rest = [0; 4096];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<_, std::io::Error>(())
        })
        .await,
    );
}
