//! HTTP/1.1 towards an upstream: one connection, one request at a time, in the task of whoever
//! asks. No task and no channel stand between a request and its socket, and an idle connection is
//! a socket and nothing else. httparse parses; ARCHITECTURE.md says why this is not hyper's client.

mod answer;
mod body;
mod chunked;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod in_flight;
mod request;
mod upload;

use std::io;

use tokio::net::TcpStream;

pub use self::body::AnswerBody;
pub use self::in_flight::InFlight;
pub use self::request::{Framing, request_head};

/// An idle connection.
#[derive(Debug)]
pub struct Connection(TcpStream);

/// Why there is no answer, or only a part of one.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// What came is not an answer of HTTP/1.1.
    #[error("{0}")]
    Malformed(&'static str),
    /// The connection ended before the answer did.
    #[error("the connection ended before the answer did")]
    Ended,
    /// The request's body broke off, for which the upstream is not to blame.
    #[error("the request broke off")]
    RequestBroken,
    /// The connection failed.
    #[error("{0}")]
    Failed(#[from] io::Error),
}

impl Connection {
    /// A connection on which nothing was said yet.
    pub fn new(stream: TcpStream) -> Self {
        Self(stream)
    }

    /// Whether a request can go out on it: nothing came unasked, and no FIN. Asks the kernel only
    /// when something may have come.
    pub fn is_quiet(&self) -> bool {
        let read = self.0.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
