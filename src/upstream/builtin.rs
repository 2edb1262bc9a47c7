//! Upstreams that live inside the process: a WebSocket echo server and the demonstration page.
//! Each is a real server on a loopback port of its own, reached by the same path as any upstream.

mod echo;
mod page;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use bytes::Bytes;
use http_body_util::Full;

use crate::config::Builtin;

/// A built-in server that is bound and not yet serving.
#[derive(Debug)]
pub struct BuiltinServer {
    kind: Builtin,
    listener: std::net::TcpListener,
}

impl BuiltinServer {
    /// Binds a loopback port of the kernel's choice.
    ///
    /// # Errors
    /// When no loopback socket can be had.
    pub fn bind(kind: Builtin) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self { kind, listener })
    }

    /// Where it is reached.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// When the socket cannot be registered with the runtime.
    pub async fn serve(self) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors, most likely: give others a moment to let some go.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            drop(stream.set_nodelay(true));
            let kind = self.kind;
            tokio::spawn(async move {
                let service = service_fn(move |request| async move { answer(kind, request) });
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "built-in upstream: a connection ended early");
                }
            });
        }
    }
}

fn answer(kind: Builtin, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, http::Error> {
    match kind {
        Builtin::Echo => echo::answer(request),
        Builtin::Page => page::answer(&request),
    }
}
