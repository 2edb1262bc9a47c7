//! A connection with TLS on it. What the socket has and what there is to read are two things here: a
//! record may be no one's data (a ticket, a new key), and data may wait with nothing in the socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Tls;

/// A connection with TLS. Its drop says `close_notify` as far as the socket takes it at once, and FIN.
#[derive(Debug)]
pub struct TlsSocket {
    stream: TlsStream<TcpStream>,
    /// What its server was judged by.
    by: Arc<Tls>,
}

impl TlsSocket {
    pub(super) fn new(stream: TlsStream<TcpStream>, by: Arc<Tls>) -> Self {
        Self { stream, by }
    }

    /// The socket below.
    pub(in crate::upstream) fn bare(&self) -> &TcpStream {
        self.stream.get_ref().0
    }

    /// Whether its server was judged by what is in force `now`.
    pub(in crate::upstream) fn is_by(&self, now: Option<&Arc<Tls>>) -> bool {
        now.is_some_and(|now| Arc::ptr_eq(now, &self.by))
    }

    /// Ready when something may be there to read.
    pub(in crate::upstream) fn poll_read_ready(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let (bare, session) = self.stream.get_ref();
        // It wants nothing while it has data, and nothing more behind a close_notify.
        if session.wants_read() { bare.poll_read_ready(cx) } else { Poll::Ready(Ok(())) }
    }

    /// Whether the server has said nothing that is for whoever asks here: no data, no alert, no end.
    /// Tickets and the like are taken in. Not by a poll: one without budget would find all quiet.
    pub(in crate::upstream) fn is_quiet(&mut self) -> bool {
        let (bare, session) = self.stream.get_mut();
        let mut bare = AtOnce(bare);
        while session.wants_read() {
            match session.read_tls(&mut bare) {
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
                Ok(0) => return false,
                Ok(_) => match session.process_new_packets() {
                    Ok(state) if state.plaintext_bytes_to_read() == 0 => {}
                    _ => return false,
                },
            }
        }
        false
    }
}

impl Drop for TlsSocket {
    fn drop(&mut self) {
        let (bare, session) = self.stream.get_mut();
        session.send_close_notify();
        let mut bare = AtOnce(bare);
        while session.wants_write() && session.write_tls(&mut bare).is_ok_and(|wrote| wrote > 0) {}
    }
}

/// A socket that is read and written without waiting.
struct AtOnce<'a>(&'a TcpStream);

impl io::Read for AtOnce<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl io::Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, into)
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
