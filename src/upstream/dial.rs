//! One TCP connection to an endpoint.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::plan::Target;

/// A peer that is gone is noticed within three minutes, without a byte of the application's: 60 s,
/// then Linux's nine probes. Every further option is one more system call a handshake.
pub const KEEP_ALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10));

/// Connects to `target`. TCP_NODELAY is set: small frames leave at once.
///
/// # Errors
/// `ConnectionRefused` when nothing listens there; any other when the name does not resolve, there
/// is no route, or a local resource ran out.
pub async fn dial(target: &Target) -> io::Result<TcpStream> {
    let stream = match target {
        Target::Address(address) => TcpStream::connect(address).await?,
        Target::Name { host, port } => TcpStream::connect((host.as_str(), *port)).await?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Has the kernel probe a quiet peer; for sockets that may live for days.
pub fn keep_alive(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&KEEP_ALIVE) {
        tracing::debug!(%error, "no TCP keep-alive on an upstream socket");
    }
}
