//! A tunnel with all that it carries: lease, admission, labels, counters. What a 101 promises is
//! kept here, and let go here, in one place, once both sockets are done.

use std::any::Any;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, Version};

use super::account::Account;
use super::part;
use super::service::Conversation;
use super::upgrade;
use super::worker::Worker;
use crate::generation::{LiveRoute, Way};
use crate::guard::quota::Seats;
use crate::jitter::somewhat_less;
use crate::telemetry::{RouteShard, access};
use crate::tunnel::{Closer, Ended, Extensions, Heading, Leg, Reason, Stream, Tunnel, Watch};
use crate::upstream::{Lease, Socket};

/// The upstream half of a tunnel whose 101 is on its way to the client.
#[derive(Debug)]
pub(super) struct Pending {
    upstream: Socket,
    read_ahead: Vec<u8>,
    extensions: Extensions,
    max_age: Option<Duration>,
    opening: Option<Box<Opening>>,
    held: Held,
    /// Its places in what quotas count.
    seats: Seats,
}

/// What only the line of the opening tells; kept until there is a tunnel.
#[derive(Debug)]
struct Opening {
    certificate: Option<Arc<str>>,
    host: String,
    path: String,
    version: Version,
    subprotocol: Option<String>,
    handshake: Duration,
}

/// What lives exactly as long as the tunnel.
#[derive(Debug)]
struct Held {
    worker: Rc<Worker>,
    lease: Lease,
    route: Arc<LiveRoute>,
    /// IPv4 as mapped: either kind would be eight bytes more.
    client: Ipv6Addr,
    id: u64,
}

impl Pending {
    #[expect(clippy::too_many_arguments, reason = "each is one fact of the handshake, used once")]
    pub(super) fn new(
        conversation: &Conversation,
        way: Way<'_>,
        client: IpAddr,
        socket: Socket,
        read_ahead: Vec<u8>,
        lease: Lease,
        account: &mut Account,
        answer: &HeaderMap,
    ) -> Self {
        // Where the upstream is pinged, the kernel need not ask it too: three system calls less.
        if !way.route.websocket.metered || way.route.websocket.upstream_pulse.is_none() {
            socket.keep_alive();
        }
        let worker = Rc::clone(&conversation.worker);
        let client = match client {
            IpAddr::V4(client) => client.to_ipv6_mapped(),
            IpAddr::V6(client) => client,
        };
        let id = worker.next_tunnel_id();
        let subprotocol = answer.get(SEC_WEBSOCKET_PROTOCOL).and_then(|one| one.to_str().ok());
        let opening = account.line().map(|line| {
            Box::new(Opening {
                certificate: line.certificate.clone(),
                host: line.host.clone(),
                path: line.path.clone(),
                version: line.version,
                subprotocol: subprotocol.map(str::to_owned),
                handshake: account.began.elapsed(),
            })
        });
        Self {
            upstream: socket,
            read_ahead,
            opening,
            extensions: upgrade::agreed(answer),
            max_age: way.route.websocket.max_age.map(somewhat_less),
            held: Held { worker, lease, route: Arc::clone(way.live), client, id },
            seats: std::mem::take(&mut account.seats),
        }
    }

    /// Joins the two sockets. `admission` is let go with the lease, last.
    pub(super) fn begin<C>(self, client: Leg<C>, admission: Box<dyn Any>) -> Carried<C>
    where
        C: Stream,
    {
        let Self { upstream, read_ahead, extensions, max_age, opening, held, seats } = self;
        // In one box, so that a tunnel that no quota counts is no larger for it.
        let admission = if seats.is_empty() { admission } else { Box::new((admission, seats)) };
        if let Some(opening) = opening {
            opening.tell(&held);
        }
        held.counters().tunnels_opened.inc();
        let labels = part::labels(held.lease.endpoint(), &held.route);
        let member = held.worker.roster.enter(labels);
        let upstream = Leg { stream: upstream, read_ahead };
        let limits = Arc::clone(&held.route.limits);
        let tunnel = Tunnel::new(client, upstream, limits, extensions, member, held);
        Carried { tunnel: tunnel.retiring(max_age), _admission: admission }
    }
}

impl Opening {
    fn tell(&self, held: &Held) {
        access::tunnel_open(&access::TunnelOpen {
            id: held.id,
            client: held.client(),
            certificate: self.certificate.as_deref(),
            host: &self.host,
            path: &self.path,
            version: self.version,
            route: &held.route.name,
            upstream: &held.lease.endpoint().upstream,
            endpoint: &held.lease.endpoint().label,
            subprotocol: self.subprotocol.as_deref(),
            handshake: self.handshake,
        });
    }
}

impl Held {
    fn client(&self) -> IpAddr {
        IpAddr::V6(self.client).to_canonical()
    }

    fn counters(&self) -> &RouteShard {
        self.route.counters.at(self.worker.id)
    }
}

impl Watch for Held {
    fn message(&self, heading: Heading, bytes: u64) {
        self.counters().message(heading, bytes);
    }

    fn round_trip(&self, side: Closer, took: Duration) {
        self.counters().round_trip(side, took);
    }

    fn paused(&self, heading: Heading) {
        self.counters().paused(heading);
    }
}

impl Stream for Socket {
    // With TLS the drop says its close_notify before it, as far as the socket takes it at once.
    const DROP_IS_FIN: bool = true;

    fn give_up_after(&self, time: Duration) {
        Socket::give_up_after(self, time);
    }

    fn reset(&mut self) {
        self.reset_on_close();
    }
}

/// A tunnel as a future: when it has ended, that is counted and told, and everything is let go.
pub(super) struct Carried<C> {
    tunnel: Tunnel<C, Socket, Held>,
    _admission: Box<dyn Any>,
}

impl<C> Future for Carried<C>
where
    C: Stream,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let ended = ready!(Pin::new(&mut this.tunnel).poll(cx));
        let held = this.tunnel.watch();
        held.counters().tunnel_ended(&ended);
        let (generation, endpoint) = (held.worker.generation(), held.lease.endpoint());
        // As it is now: the one that it began with may be long gone.
        if let Some(upstream) = generation.upstream(&endpoint.upstream) {
            upstream.tunnel_ended(endpoint, is_lost(&ended), ended.lasted);
        }
        if access::enabled() {
            access::tunnel_close(&access::TunnelClose {
                id: held.id,
                client: held.client(),
                route: &held.route.name,
                upstream: &held.lease.endpoint().upstream,
                endpoint: &held.lease.endpoint().label,
                ended: &ended,
            });
        }
        Poll::Ready(())
    }
}

/// Whether the upstream let it go without a Close: a crash, a reset, silence.
fn is_lost(ended: &Ended) -> bool {
    let rude = matches!(ended.reason, Reason::Error | Reason::Heartbeat | Reason::Lost);
    rude && ended.closer == Closer::Upstream
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn an_idle_tunnel_with_all_that_it_carries_is_half_a_kibibyte() {
        // Memory per idle socket is a promise; this number may only fall.
        let size = size_of::<Carried<TcpStream>>();
        assert!(size <= 512, "{size} bytes");
    }
}
