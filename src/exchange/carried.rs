//! A tunnel with all that it carries: lease, admission, labels, counters. What a 101 promises is
//! kept here, and let go here, in one place, once both sockets are done.

use std::any::Any;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::HeaderMap;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::account::Account;
use super::service::Conversation;
use super::upgrade;
use super::worker::Worker;
use crate::generation::{LiveRoute, Way};
use crate::plan;
use crate::telemetry::access;
use crate::tunnel::{Leg, Limits, Pulse, Pulses, Rules, Tunnel};
use crate::upstream::{self, Lease};

/// The upstream half of a tunnel whose 101 is on its way to the client.
#[derive(Debug)]
pub(super) struct Pending {
    upstream: TcpStream,
    read_ahead: Vec<u8>,
    limits: Limits,
    pulses: Pulses,
    max_age: Option<Duration>,
    opening: Option<Box<Opening>>,
    held: Held,
}

/// What only the line of the opening tells; kept until there is a tunnel.
#[derive(Debug)]
struct Opening {
    host: String,
    path: String,
    subprotocol: Option<String>,
    handshake: Duration,
}

/// What lives exactly as long as the tunnel.
#[derive(Debug)]
struct Held {
    worker: Rc<Worker>,
    lease: Lease,
    route: LiveRoute,
    upstream: Arc<str>,
    client: IpAddr,
    id: u64,
}

impl Pending {
    #[expect(clippy::too_many_arguments, reason = "each is one fact of the handshake, used once")]
    pub(super) fn new(
        conversation: &Conversation,
        way: Way<'_>,
        client: IpAddr,
        stream: TcpStream,
        read_ahead: Vec<u8>,
        lease: Lease,
        account: &Account,
        answer: &HeaderMap,
    ) -> Self {
        // Where the upstream is pinged, the kernel need not ask it too: three system calls less.
        if !way.route.websocket.metered || way.route.websocket.upstream_pulse.is_none() {
            upstream::keep_alive(&stream);
        }
        let worker = Rc::clone(&conversation.worker);
        let id = worker.next_tunnel_id();
        let subprotocol = answer.get(SEC_WEBSOCKET_PROTOCOL).and_then(|one| one.to_str().ok());
        let opening = account.line().map(|line| {
            Box::new(Opening {
                host: line.host.clone(),
                path: line.path.clone(),
                subprotocol: subprotocol.map(str::to_owned),
                handshake: account.began.elapsed(),
            })
        });
        let (timeouts, websocket) = (&way.route.timeouts, &way.route.websocket);
        Self {
            upstream: stream,
            read_ahead,
            opening,
            limits: Limits {
                frames: websocket.metered.then(|| Rules {
                    strict: websocket.strict,
                    extensions: upgrade::agreed(answer),
                    max_frame: websocket.max_frame,
                    max_message: websocket.max_message,
                }),
                idle: timeouts.idle,
                half_close: timeouts.half_close,
                write: websocket.write_timeout,
                close: websocket.close_timeout,
                tell_loss: websocket.tell_loss,
            },
            max_age: websocket.max_age.map(somewhat_less),
            pulses: Pulses {
                client: websocket.client_pulse.map(pulse),
                upstream: websocket.upstream_pulse.map(pulse),
            },
            held: Held {
                worker,
                lease,
                route: way.live.clone(),
                upstream: Arc::clone(&way.upstream.name),
                client,
                id,
            },
        }
    }

    /// Joins the two sockets. `admission` is let go with the lease, last.
    pub(super) fn begin<C>(self, client: Leg<C>, admission: Box<dyn Any>) -> Carried<C>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { upstream, read_ahead, limits, pulses, max_age, opening, held } = self;
        if let Some(opening) = opening {
            opening.tell(&held);
        }
        held.route.counters.at(held.worker.id).tunnels_opened.inc();
        let member = held.worker.roster.enter();
        let upstream = Leg { stream: upstream, read_ahead };
        Carried {
            tunnel: Tunnel::new(client, upstream, limits, pulses, member).retiring(max_age),
            held,
            _admission: admission,
        }
    }
}

/// Up to a tenth less, at random.
fn somewhat_less(age: Duration) -> Duration {
    let part = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
    age.mul_f64(1.0 - part / 10.0)
}

fn pulse(plan: plan::Pulse) -> Pulse {
    Pulse { interval: plan.interval, timeout: plan.timeout }
}

impl Opening {
    fn tell(&self, held: &Held) {
        access::tunnel_open(&access::TunnelOpen {
            id: held.id,
            client: held.client,
            host: &self.host,
            path: &self.path,
            route: &held.route.name,
            upstream: &held.upstream,
            endpoint: &held.lease.endpoint().label,
            subprotocol: self.subprotocol.as_deref(),
            handshake: self.handshake,
        });
    }
}

/// A tunnel as a task: when it has ended, that is counted and told, and everything is let go.
pub(super) struct Carried<C> {
    tunnel: Tunnel<C, TcpStream>,
    held: Held,
    _admission: Box<dyn Any>,
}

impl<C> Future for Carried<C>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.tunnel).poll(cx);
        let held = &this.held;
        let counters = held.route.counters.at(held.worker.id);
        counters.round_trips(this.tunnel.take_round_trips());
        let ended = ready!(polled);
        counters.tunnel_ended(&ended);
        if access::enabled() {
            access::tunnel_close(&access::TunnelClose {
                id: held.id,
                client: held.client,
                route: &held.route.name,
                upstream: &held.upstream,
                endpoint: &held.lease.endpoint().label,
                ended: &ended,
            });
        }
        Poll::Ready(())
    }
}
