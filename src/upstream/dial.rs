//! One TCP connection to an endpoint, within a deadline.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::plan::Target;

/// A peer that is gone is noticed within three minutes, without a byte of the application's: 60 s,
/// then Linux's nine probes. Every further option is one more system call a handshake.
pub const KEEP_ALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10));

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The endpoint answered with a reset: nothing listens there.
    #[error("connection refused")]
    Refused,
    /// No answer in time: the endpoint is down, or packets to it are dropped.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// The name does not resolve, there is no route, or a local resource ran out.
    #[error("{0}")]
    Failed(io::Error),
}

/// Connects to `target`. TCP_NODELAY is set: small frames leave at once.
///
/// # Errors
/// [`DialError`], each kind with a status of its own.
pub async fn dial(target: &Target, within: Duration) -> Result<TcpStream, DialError> {
    let connect = async {
        match target {
            Target::Address(address) => TcpStream::connect(address).await,
            Target::Name { host, port } => TcpStream::connect((host.as_str(), *port)).await,
        }
    };
    let stream = match timeout(within, connect).await {
        Err(_) => return Err(DialError::Timeout(within)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(DialError::Refused);
        }
        Ok(Err(error)) => return Err(DialError::Failed(error)),
        Ok(Ok(stream)) => stream,
    };
    stream.set_nodelay(true).map_err(DialError::Failed)?;
    Ok(stream)
}

/// Has the kernel probe a quiet peer; for sockets that may live for days.
pub fn keep_alive(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&KEEP_ALIVE) {
        tracing::debug!(%error, "no TCP keep-alive on an upstream socket");
    }
}
