//! One connection to an endpoint: to a host and port, from an address of this machine that the upstream
//! may name, or to a Unix domain socket; with TLS, where that is spoken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::TcpKeepalive;
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio::time::sleep;

use super::gate::Told;
use super::{Endpoint, Socket, Upstream, tls};
use crate::plan::{Target, Transport};

/// A peer that is gone is noticed within three minutes, without a byte of the application's: 60 s,
/// then Linux's nine probes. Every further option is one more system call a handshake.
pub const KEEP_ALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10));

/// Where the connections of an upstream come from.
#[derive(Debug, Default)]
pub(super) struct Departure {
    /// Addresses of this machine, by family; none where the kernel is to choose.
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    turn: AtomicUsize,
    told_no_port: Told,
    told_missing: Told,
}

impl Departure {
    pub(super) fn new(sources: &[IpAddr]) -> Self {
        let (v4, v6) = sources.iter().partition(|source| source.is_ipv4());
        Self { v4, v6, ..Self::default() }
    }

    fn is_chosen(&self) -> bool {
        !self.v4.is_empty() || !self.v6.is_empty()
    }

    /// The sources of the family of `target`, from the one on whose turn it is.
    fn sources(&self, target: SocketAddr) -> impl Iterator<Item = IpAddr> {
        let family = if target.is_ipv4() { &self.v4 } else { &self.v6 };
        // Wrapping is the point: only remainders are used.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let first = turn.checked_rem(family.len()).unwrap_or(0);
        family.iter().cycle().skip(first).take(family.len()).copied()
    }
}

impl Upstream {
    /// Connects to `endpoint` and speaks TLS there, if that is how it is spoken to; what is wanting here is
    /// counted in the slot of `worker`. What comes back beside the socket is what of `preface` is still to
    /// go out first: with TLS all of it is out.
    ///
    /// # Errors
    /// Those of `reach`, and one that [`is_tls`](super::is_tls) tells from others.
    pub async fn dial(
        &self,
        endpoint: &Endpoint,
        preface: Bytes,
        worker: usize,
    ) -> io::Result<(Socket, Bytes)> {
        match (self.reach(endpoint, worker).await?, &endpoint.transport) {
            (Socket::Tcp(stream), Transport::Tls(name)) => {
                // Boxed, as what is rare below: a plain dial would else be as large as a TLS handshake.
                let secured = Box::pin(tls::begin(self.tls.as_ref(), name, stream, &preface));
                let socket = secured.await?;
                Ok((Socket::Tls(Box::new(socket)), Bytes::new()))
            }
            (socket, _) => Ok((socket, preface)),
        }
    }

    /// Connects to `endpoint`, and no more. TCP_NODELAY is set: small frames leave at once.
    ///
    /// # Errors
    /// `ConnectionRefused` or `NotFound` (of a path) when nobody listens there; `AddrNotAvailable` when no
    /// source address has a free port; any other when the name does not resolve, there is no route, or
    /// another local resource ran out.
    pub(super) async fn reach(&self, endpoint: &Endpoint, worker: usize) -> io::Result<Socket> {
        let stream = match &endpoint.target {
            Target::Unix(path) => return Box::pin(to_path(path)).await.map(Socket::Unix),
            target if self.departure.is_chosen() => {
                Box::pin(self.dial_from_sources(endpoint, target, worker)).await?
            }
            Target::Address(address) => {
                let dialled =
                    TcpStream::connect(address).await.map_err(|error| why(error, *address));
                dialled.inspect_err(|error| self.note_no_port(endpoint, error, worker))?
            }
            Target::Name { host, port } => {
                let dialled = Box::pin(TcpStream::connect((host.as_str(), *port))).await;
                dialled.inspect_err(|error| self.note_no_port(endpoint, error, worker))?
            }
        };
        stream.set_nodelay(true)?;
        Ok(Socket::Tcp(stream))
    }

    /// Tries each address of `target`, as the standard library does, and for each the sources of its
    /// family, until one has a port.
    async fn dial_from_sources(
        &self,
        endpoint: &Endpoint,
        target: &Target,
        worker: usize,
    ) -> io::Result<TcpStream> {
        let addresses: Vec<SocketAddr> = match target {
            Target::Address(address) => vec![*address],
            Target::Name { host, port } => lookup_host((host.as_str(), *port)).await?.collect(),
            Target::Unix(_) => Vec::new(),
        };
        let mut last = None;
        for address in addresses {
            let mut sources = self.departure.sources(address).peekable();
            if sources.peek().is_none() {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => {
                        self.note_no_port(endpoint, &error, worker);
                        last = Some(error);
                    }
                }
            }
            for source in sources {
                match connect(source, address).await {
                    Ok(stream) => return Ok(stream),
                    Err(Undialled::Unfit(error)) => {
                        self.tell_unfit(endpoint, source, &error, worker);
                        last = Some(io::Error::from_raw_os_error(EADDRNOTAVAIL));
                    }
                    Err(Undialled::NoPort) => {
                        self.tell_no_port(endpoint, Some(source), worker);
                        last = Some(io::Error::from_raw_os_error(EADDRNOTAVAIL));
                    }
                    Err(Undialled::Target(error)) => {
                        last = Some(error);
                        break;
                    }
                }
            }
        }
        let nowhere = || io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
        Err(last.unwrap_or_else(nowhere))
    }

    fn note_no_port(&self, endpoint: &Endpoint, error: &io::Error, worker: usize) {
        if error.kind() == io::ErrorKind::AddrNotAvailable {
            self.tell_no_port(endpoint, None, worker);
        }
    }

    #[cold]
    fn tell_no_port(&self, endpoint: &Endpoint, source: Option<IpAddr>, worker: usize) {
        self.counters.at(worker).no_port.inc();
        if !self.departure.told_no_port.may_tell() {
            return;
        }
        let (upstream, endpoint) = (&*self.name, endpoint.label.as_str());
        match source {
            Some(source) => tracing::warn!(
                upstream, endpoint, %source,
                "no port is free to reach an endpoint from a source address: add another one to \
                 `source_addresses`, or widen net.ipv4.ip_local_port_range"
            ),
            None => tracing::warn!(
                upstream,
                endpoint,
                "no port is free to reach an endpoint: set \
                 `source_addresses`, or widen net.ipv4.ip_local_port_range"
            ),
        }
    }

    #[cold]
    fn tell_unfit(&self, endpoint: &Endpoint, source: IpAddr, error: &io::Error, worker: usize) {
        self.counters.at(worker).source_missing.inc();
        if self.departure.told_missing.may_tell() {
            tracing::warn!(
                upstream = &*self.name, endpoint = endpoint.label, %source, %error,
                "this machine cannot send from a source address: give it to an interface, or take it \
                 out of `source_addresses`"
            );
        }
    }
}

/// Says what is wanting where the kernel names one thing for two: EADDRNOTAVAIL is a want of ports, or there
/// is no address here from which `target` could be reached at all, IPv6 being off for example. A UDP socket
/// takes none of the ports of TCP.
#[cold]
fn why(error: io::Error, target: SocketAddr) -> io::Error {
    if error.kind() != io::ErrorKind::AddrNotAvailable {
        return error;
    }
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let way = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(target));
    match way {
        Ok(()) => error,
        Err(_) => io::Error::new(
            io::ErrorKind::NetworkUnreachable,
            "this machine has no address from which it could be reached",
        ),
    }
}

/// Why a source address leads to no connection.
enum Undialled {
    /// This machine does not have the address, or cannot send to this target from it.
    Unfit(io::Error),
    /// All its ports to this target are taken.
    NoPort,
    /// What the target or the way to it says, from whatever address, or a want of something else here.
    Target(io::Error),
}

async fn connect(source: IpAddr, target: SocketAddr) -> Result<TcpStream, Undialled> {
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(Undialled::Target)?;
    // Else the bind takes a port for itself, whatever the target, and all targets together get no more
    // than there are. Before Linux 4.2 that is so anyhow.
    setsockopt(&socket, IpBindAddressNoPort, &true).ok();
    socket.bind(SocketAddr::new(source, 0)).map_err(|error| match error.raw_os_error() {
        Some(EADDRINUSE) => Undialled::NoPort,
        _ => Undialled::Unfit(error),
    })?;
    socket.connect(target).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrNotAvailable => Undialled::NoPort,
        // From a loopback address to another machine.
        io::ErrorKind::InvalidInput => Undialled::Unfit(error),
        _ => Undialled::Target(error),
    })
}

/// What a want of source addresses or ports is called, whatever the kernel said of the last one: it is not
/// the endpoint's fault.
const EADDRNOTAVAIL: i32 = 99;

/// Without `IP_BIND_ADDRESS_NO_PORT` this is how a bind says that all ports are taken.
const EADDRINUSE: i32 = 98;

/// Where TCP asks again when a server has more to accept than it has room for, a Unix socket refuses at
/// once. So asking again is done here, until whoever waits has waited for long enough.
async fn to_path(path: &Path) -> io::Result<UnixStream> {
    const LONGEST: Duration = Duration::from_millis(50);
    let mut pause = Duration::from_millis(1);
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(pause).await,
            done => return done,
        }
        pause = pause.saturating_mul(2).min(LONGEST);
    }
}
