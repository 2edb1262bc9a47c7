//! The TLS handshake with one client: from a bare socket to an encrypted stream and who is at its
//! other end, or to why not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{Error, HandshakeKind, ProtocolVersion};
use tokio_rustls::server::TlsStream;

use super::clients::Clients;
use crate::exchange::Identity;
use crate::plan::Tls;
use crate::telemetry::{TlsFailure, TlsHandshake};

/// The content type of a handshake's record (RFC 8446 section 5.1), its first byte.
const HANDSHAKE: u8 = 22;

/// What a listener's handshakes are made with.
pub(in crate::accept) struct Termination {
    acceptor: TlsAcceptor,
    clients: Option<Arc<Clients>>,
    within: Duration,
    refuse_host_mismatch: bool,
}

/// A client behind its handshake.
#[derive(Debug)]
pub(in crate::accept) struct Secured {
    pub(in crate::accept) stream: TlsStream<TcpStream>,
    /// The name it asked for in lower case, where a Host that differs from it is refused.
    pub(in crate::accept) server_name: Option<String>,
    /// Who it has proved to be, where clients are asked.
    pub(in crate::accept) identity: Option<Box<Identity>>,
    /// How it went.
    pub(in crate::accept) handshake: TlsHandshake,
}

/// A handshake that came to nothing.
#[derive(Debug)]
pub(in crate::accept) struct Failed {
    pub(in crate::accept) cause: TlsFailure,
    pub(in crate::accept) why: io::Error,
    /// The socket, where the client speaks HTTP on it and can be told.
    pub(in crate::accept) plain: Option<TcpStream>,
}

impl Termination {
    pub(super) fn new(acceptor: TlsAcceptor, clients: Option<Arc<Clients>>, plan: &Tls) -> Self {
        let (within, refuse_host_mismatch) = (plan.handshake_timeout, plan.refuse_host_mismatch);
        Self { acceptor, clients, within, refuse_host_mismatch }
    }

    /// Takes a client through its handshake, in the time that it has for that.
    ///
    /// # Errors
    /// [`Failed`], which is yet to be counted and told.
    pub(in crate::accept) async fn handshake<S>(
        &self,
        turn: impl Future<Output = S>,
        stream: TcpStream,
    ) -> Result<Secured, Failed> {
        let secured = async {
            let _seat = turn.await;
            self.secure(stream).await
        };
        let secured = timeout(self.within, secured).await;
        secured.unwrap_or_else(|late| Err(Failed::from(io::Error::from(late))))
    }

    async fn secure(&self, stream: TcpStream) -> Result<Secured, Failed> {
        let mut first = [0];
        if stream.peek(&mut first).await? > 0 && speaks_http(first) {
            return Err(Failed {
                cause: TlsFailure::Plaintext,
                why: io::Error::other("plain HTTP on a port of TLS"),
                plain: Some(stream),
            });
        }
        let stream = self.acceptor.accept(stream).await?;
        let connection = stream.get_ref().1;
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let identify = |clients: &Arc<Clients>| {
            clients.identify(connection.peer_certificates(), resumed, UnixTime::now())
        };
        let identity = self.clients.as_ref().map(identify).transpose().map_err(io::Error::other)?;
        let name = connection.server_name().map(str::to_ascii_lowercase);
        Ok(Secured {
            server_name: name.filter(|_| self.refuse_host_mismatch),
            identity: identity.map(Box::new),
            handshake: TlsHandshake {
                tls13: connection.protocol_version() == Some(ProtocolVersion::TLSv1_3),
                resumed,
            },
            stream,
        })
    }
}

impl std::fmt::Debug for Termination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Termination").field("clients", &self.clients).finish_non_exhaustive()
    }
}

impl From<io::Error> for Failed {
    fn from(why: io::Error) -> Self {
        Self { cause: cause(&why), why, plain: None }
    }
}

/// Whether a first byte begins a method. All that are forwarded begin with a capital; a record of TLS
/// does not.
fn speaks_http([first]: [u8; 1]) -> bool {
    first != HANDSHAKE && first.is_ascii_uppercase()
}

/// Whose fault it is, and which one.
fn cause(why: &io::Error) -> TlsFailure {
    let Some(error) = why.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match why.kind() {
            io::ErrorKind::TimedOut => TlsFailure::Timeout,
            _ => TlsFailure::Closed,
        };
    };
    match error {
        Error::NoCertificatesPresented
        | Error::InvalidCertificate(_)
        | Error::InvalidCertRevocationList(_) => TlsFailure::ClientCertificate,
        Error::AlertReceived(_) => TlsFailure::Alert,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => TlsFailure::NothingInCommon,
        // What rustls says when the name chose no certificate; there is no variant for it.
        Error::General(what) if what.contains("no server certificate chain resolved") => {
            TlsFailure::UnknownName
        }
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => TlsFailure::Malformed,
        _ => TlsFailure::Other,
    }
}
