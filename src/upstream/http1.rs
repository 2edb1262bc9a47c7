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

use bytes::Bytes;
use tokio::time::Instant;

pub use self::body::AnswerBody;
pub use self::in_flight::InFlight;
pub use self::request::{Framing, request_head};
use super::socket::Socket;
use crate::plan::KeepAlive;

/// An idle connection.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    /// `None` when one request is all that may go out on it.
    tally: Option<Tally>,
    /// Goes out before the first request.
    preface: Bytes,
}

/// What tells whether a connection may be used again.
#[derive(Clone, Copy, Debug)]
struct Tally {
    /// When it is as old as it may get.
    retires: Option<Instant>,
    /// Requests that it has carried.
    requests: u32,
}

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
    /// A connection on which nothing was said yet, and that may be used again until it `retires`.
    pub fn lasting(socket: Socket, retires: Option<Instant>) -> Self {
        let tally = Some(Tally { retires, requests: 0 });
        Self { socket, tally, preface: Bytes::new() }
    }

    /// A connection for one request, before which `preface` goes out: it says who asks, and nobody
    /// else may ask on it.
    pub fn once(socket: Socket, preface: Bytes) -> Self {
        Self { socket, tally: None, preface }
    }

    /// Until when it may be kept for another request; `None` when none may go out on it.
    pub(super) fn until(&self, now: Instant, keep: KeepAlive) -> Option<Instant> {
        let tally = self.tally.as_ref()?;
        let spent = keep.max_requests.is_some_and(|most| tally.requests >= most.get());
        let until = now.checked_add(keep.idle).into_iter().chain(tally.retires).min();
        until.filter(|until| !spent && *until > now)
    }

    /// Whether a request can go out on it: nothing came unasked, and no FIN. Asks the kernel only
    /// when something may have come.
    pub fn is_quiet(&self) -> bool {
        let read = self.socket.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_until_it_was_idle_for_too_long_or_is_too_old_or_spent() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let keep = |max_requests| KeepAlive {
            idle: Duration::from_secs(60),
            max: 1,
            max_age: None,
            max_requests: NonZeroU32::new(max_requests),
        };
        let (socket, _peer) = UnixStream::pair().unwrap();
        let mut connection = Connection::lasting(socket.into(), Some(after(100)));
        assert_eq!(connection.until(now, keep(0)), Some(after(60)));
        assert_eq!(connection.until(after(50), keep(0)), Some(after(100)));
        assert_eq!(connection.until(after(100), keep(0)), None);
        for (requests, kept) in [(2, true), (3, false), (4, false)] {
            connection.tally = Some(Tally { retires: None, requests });
            assert_eq!(connection.until(now, keep(3)).is_some(), kept, "{requests}");
        }
        let (socket, _peer) = UnixStream::pair().unwrap();
        let once = Connection::once(socket.into(), Bytes::from_static(b"PROXY UNKNOWN\r\n"));
        assert_eq!(once.until(now, keep(0)), None);
    }
}
