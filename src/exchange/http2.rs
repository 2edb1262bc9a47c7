//! HTTP/2 with a client (RFC 9113), and WebSockets over it (RFC 8441). The connection is driven in the
//! client's task by h2 itself; each stream is a task of its own, which goes the same way as a request of
//! HTTP/1.1. hyper is not in between: it reads resets as clean ends, and hides what floods are made of.

mod answer;
mod client_leg;
mod door;
mod floods;
mod frame_heads;
mod inflow;
mod outflow;
mod responder;
mod stream_body;
mod stream_life;
mod streams;

use std::any::Any;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use h2::{Ping, PingPong, Reason};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use self::door::{Door, Doorway};
use self::floods::Floods;
pub(super) use self::stream_body::StreamBody;
use self::streams::Streams;
use super::client_task::{Carriage, ClientTask};
use super::connection::{Arrival, ClientStream, LINGER, linger};
use super::service::Conversation;
use super::worker::Worker;
use crate::telemetry::Http2Fault;

/// What a stream may hold that nobody has taken yet: one that stalls is stopped here.
const STREAM_WINDOW: u32 = 64 << 10;

/// The same for all streams of a connection together: 64 that stall leave the others untouched.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How far h2 lets small frames pile up unread, in its own measure: 256 less the length of each. A sip
/// (`door.rs`) takes three quarters of it at most.
const UNREAD: usize = 4 << 20;

/// What h2 holds of a stream's answer beyond what the socket takes.
const SEND_BUFFER: usize = 64 << 10;

/// Streams that were reset before anybody saw them. A sip has room for no more, and `floods.rs` counts them
/// over a connection's life.
const RESET_UNSEEN: usize = 1024;

/// A client that says nothing for so long while streams are open is asked whether it is there.
const QUIET: Duration = Duration::from_secs(30);

/// For it to say anything then.
const PATIENCE: Duration = Duration::from_secs(15);

/// Serves HTTP/2 on one connection until its last stream has ended. `ahead` is what was read of it before.
/// `admission` is let go last of all, by a tunnel when one is left.
pub async fn serve<S: ClientStream>(
    stream: S,
    ahead: Vec<u8>,
    arrival: Arrival,
    worker: Rc<Worker>,
    admission: Box<dyn Any>,
) -> Option<Carriage> {
    let (limits, header_timeout) = (arrival.limits, arrival.header_timeout);
    let peer = arrival.peer.ip();
    let way = Doorway::new(Floods::new(limits.streams, limits.headers, Instant::now()));
    let door = Door::new(stream, ahead, Rc::clone(&way));
    let streams = Streams::new(Rc::clone(&worker), admission);
    let conversation = Conversation::new(arrival, Rc::clone(&worker));
    // Until the client has had its time to read the last words.
    let _admission = Rc::clone(&streams);
    let handshake = builder(&conversation).handshake(door);
    let ended = match timeout(header_timeout, handshake).await {
        Ok(Ok(mut connection)) => {
            let driver = Driver {
                ping_pong: connection.ping_pong(),
                connection,
                way: Rc::clone(&way),
                conversation,
                streams,
                header_timeout,
                going: None,
                over_by: None,
                asked: None,
                timer: None,
                fault: None,
            };
            driver.drive().await
        }
        Ok(Err(error)) => {
            tracing::debug!(client = %peer, %error, "HTTP/2 did not begin");
            fault_of(&error)
        }
        Err(_) => None,
    };
    if let Some(fault) = ended {
        worker.counters().count_http2_fault(fault);
    }
    let stream = way.take_back()?;
    // Boxed, or every connection would be as large as its end.
    Box::pin(linger(stream)).await;
    None
}

/// h2 with our measures.
fn builder(conversation: &Conversation) -> Builder {
    let limits = &conversation.limits;
    let mut builder = Builder::new();
    // The list is checked again, precisely, where it can be answered with a reason.
    let headers = u32::try_from(limits.headers.saturating_mul(2)).unwrap_or(u32::MAX);
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(headers)
        .max_send_buffer_size(SEND_BUFFER)
        // What a client still sends on streams that were answered early is no fault of its.
        .max_concurrent_reset_streams(limits.streams as usize)
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .data_frame_budget(UNREAD);
    let plan = &conversation.worker.generation().plan;
    if plan.routes.all().iter().any(|route| route.websocket.bridge) {
        builder.enable_connect_protocol();
    }
    builder
}

/// What the end of a connection says about its client; nothing when that has just left.
fn fault_of(error: &h2::Error) -> Option<Http2Fault> {
    if !error.is_library() {
        return None;
    }
    match error.reason()? {
        Reason::NO_ERROR => None,
        Reason::ENHANCE_YOUR_CALM => Some(Http2Fault::Calm),
        _ => Some(Http2Fault::Protocol),
    }
}

/// One connection being driven.
struct Driver<S: ClientStream> {
    connection: Connection<Door<S>, Bytes>,
    ping_pong: Option<PingPong>,
    way: Rc<Doorway<S>>,
    conversation: Conversation,
    streams: Rc<Streams>,
    header_timeout: Duration,
    /// Since when the client knows that no further stream is taken.
    going: Option<Instant>,
    /// The end is said; it is waited for so long that it gets out.
    over_by: Option<Instant>,
    /// When the client was asked whether it is there.
    asked: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    fault: Option<Http2Fault>,
}

impl<S: ClientStream> Driver<S> {
    /// Until the connection is over; tells the fault of the client, if that is why.
    async fn drive(mut self) -> Option<Http2Fault> {
        let worker = Rc::clone(&self.conversation.worker);
        let mut draining = pin!(worker.drain_begun());
        let mut drains = false;
        poll_fn(|cx| {
            self.streams.watch(cx);
            self.way.begin_sip();
            loop {
                // The streams first: a request that is here already was sent in good faith.
                if self.poll_streams(cx).is_ready() {
                    return Poll::Ready(());
                }
                drains = drains || draining.as_mut().poll(cx).is_ready();
                if !self.decide(cx, drains) {
                    break;
                }
            }
            self.poll_due(cx)
        })
        .await;
        self.fault
    }

    /// Takes in new streams until there is nothing more to read. Ready when the connection is over.
    fn poll_streams(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let (conversation, place) = (self.conversation.another(), self.streams.enter());
                    let life = stream_life::serve(request, respond, conversation, place);
                    tokio::task::spawn_local(ClientTask::new(life));
                }
                Poll::Ready(Some(Err(error))) => {
                    // h2 may have had enough of the same in the same moment.
                    self.blame(self.way.fault().or(fault_of(&error)), &error);
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn blame(&mut self, fault: Option<Http2Fault>, error: &dyn std::fmt::Display) {
        let client = self.conversation.sender.peer.ip();
        match fault {
            Some(fault) if self.fault.is_none() => {
                self.fault = Some(fault);
                tracing::info!(%client, fault = fault.label(), %error, "a connection of HTTP/2 was ended");
            }
            _ => tracing::debug!(%client, %error, "a client connection ended early"),
        }
    }

    /// Ends what is to end. Whether there is something new to be sent.
    fn decide(&mut self, cx: &mut Context<'_>, drains: bool) -> bool {
        let now = Instant::now();
        if self.over_by.is_some() {
            return false;
        }
        if let Some(fault) = self.way.fault() {
            self.blame(Some(fault), &"too many of these frames");
            return self.end(Reason::ENHANCE_YOUR_CALM, now);
        }
        // Who hears of the end closes their WebSockets in their own way: these get their closes first.
        if drains && self.going.is_none() && !self.streams.has_tunnels() {
            return self.go(now);
        }
        if let Some(since) = self.streams.empty_since() {
            match self.going {
                Some(going) if now >= later(going.max(since), LINGER) => {
                    return self.end(Reason::NO_ERROR, now);
                }
                None if now >= later(since, self.header_timeout) => return self.go(now),
                _ => {}
            }
        }
        self.ask(cx, now)
    }

    /// Tells the client that no further stream is taken. True, for the sake of `decide`.
    fn go(&mut self, now: Instant) -> bool {
        self.going = Some(now);
        self.connection.graceful_shutdown();
        true
    }

    /// Says the end, whatever is still open.
    fn end(&mut self, reason: Reason, now: Instant) -> bool {
        self.over_by = Some(later(now, LINGER));
        self.way.shut();
        self.connection.abrupt_shutdown(reason);
        true
    }

    /// Asks a quiet client whether it is there, and ends the connection of one that is not.
    fn ask(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let heard = self.way.heard();
        let Some(ping_pong) = &mut self.ping_pong else { return false };
        if let Some(asked) = self.asked {
            let answered = ping_pong.poll_pong(cx).is_ready();
            if answered || heard > asked {
                // Until the pong has come there is no other ping, which any byte makes needless.
                self.asked = (!answered).then_some(heard);
                return false;
            }
            if now >= later(asked, PATIENCE) {
                self.blame(Some(Http2Fault::Silent), &"no answer to a PING");
                return self.end(Reason::NO_ERROR, now);
            }
            return false;
        }
        let due = now >= later(heard, QUIET) && self.streams.empty_since().is_none();
        if due && ping_pong.send_ping(Ping::opaque()).is_ok() {
            self.asked = Some(now);
            return true;
        }
        false
    }

    /// Waits for the next thing that time brings. Ready when the connection is over by it.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let due = self.next_due();
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if now < due {
                timer.as_mut().reset(due);
                continue;
            }
            if self.over_by.is_some_and(|by| now >= by) {
                return Poll::Ready(());
            }
            // Somebody else's business: once more from the beginning, and the timer with it.
            self.timer = None;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
    }

    fn next_due(&self) -> Instant {
        if let Some(by) = self.over_by {
            return by;
        }
        let asks = match self.asked {
            Some(asked) => later(asked, PATIENCE),
            None => later(self.way.heard(), QUIET),
        };
        match (self.streams.empty_since(), self.going) {
            (Some(since), Some(going)) => later(going.max(since), LINGER),
            (Some(since), None) => later(since, self.header_timeout),
            (None, _) => asks,
        }
    }
}

/// A time beyond the clock's end is as good as never.
fn later(from: Instant, time: Duration) -> Instant {
    /// 30 years, as tokio has it.
    const NEVER: Duration = Duration::from_secs(86_400 * 365 * 30);
    from.checked_add(time).unwrap_or_else(|| from + NEVER)
}

#[cfg(test)]
mod tests;
