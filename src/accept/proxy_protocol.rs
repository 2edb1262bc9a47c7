//! The PROXY protocol of a listener: reads the header that a load balancer sends before everything
//! else, and no byte more. What its bytes mean is `crate::proxy_protocol`'s; who may send one is the plan's.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::plan::Networks;
use crate::proxy_protocol::{Fault, Header, LARGEST, parse};

/// Why a connection is closed before anything was read of it but its header.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It is none of those that speak the protocol, and would be believed without a reason.
    #[error("this listener is for load balancers that send a PROXY header (proxy_protocol.from)")]
    Stranger,
    /// Its bytes are no header.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// The header did not come in time.
    #[error("no whole PROXY header in time")]
    Late,
    /// It ended within the header.
    #[error("the connection ended within its PROXY header")]
    Cut,
    /// It ended without a byte, as health checks that only connect do.
    #[error("the connection ended before its PROXY header")]
    Silent,
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Takes the header off a connection from `peer`.
///
/// # Errors
/// [`Refused`]; the connection is of no use then.
pub(super) async fn take(
    stream: &mut TcpStream,
    peer: SocketAddr,
    from: &Networks,
    within: Duration,
) -> Result<Header, Refused> {
    if !from.contains(peer.ip()) {
        return Err(Refused::Stranger);
    }
    timeout(within, read(stream)).await.unwrap_or(Err(Refused::Late))
}

/// Looks before it takes: what stands behind the header is TLS's or HTTP's.
async fn read(stream: &mut TcpStream) -> Result<Header, Refused> {
    let mut bytes = Vec::new();
    let mut block = [0; 512];
    loop {
        let seen = stream.peek(&mut block).await?;
        if seen == 0 {
            return Err(if bytes.is_empty() { Refused::Silent } else { Refused::Cut });
        }
        let taken = bytes.len();
        bytes.extend(block.iter().take(seen));
        let parsed = parse(&bytes)?;
        let own = match parsed {
            Some((_, length)) => length.saturating_sub(taken),
            None => seen,
        };
        if let Some(own) = block.get_mut(..own) {
            stream.read_exact(own).await?;
        }
        match parsed {
            Some((header, _)) => return Ok(header),
            // The parser refuses longer ones; this only says so once more.
            None if bytes.len() > LARGEST => return Err(Fault::TooLarge.into()),
            None => {}
        }
    }
}
