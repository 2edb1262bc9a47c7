//! A client of HTTP/2 for tests that go step by step: h2 on a thread of its own, asked with a bound.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(unreachable_pub, reason = "each test file includes this as a module of its own")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::support::BOUND;

/// One connection.
pub struct Http2 {
    handle: Handle,
    pub send: SendRequest<Bytes>,
    /// How it ended.
    ended: mpsc::Receiver<Result<(), h2::Error>>,
    _stop: oneshot::Sender<()>,
}

impl Http2 {
    /// By prior knowledge.
    pub fn connect(address: SocketAddr) -> Self {
        Self::with(address, &Builder::new())
    }

    pub fn with(address: SocketAddr, builder: &Builder) -> Self {
        let builder = builder.clone();
        Self::over(builder, async move { tokio::net::TcpStream::connect(address).await.unwrap() })
    }

    /// On whatever `open` opens.
    pub fn over<S>(builder: Builder, open: impl Future<Output = S> + Send + 'static) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (begun, beginning) = mpsc::channel();
        let (told, ended) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (send, mut connection) = builder.handshake(open.await).await.unwrap();
                // The server's settings have come when it answers a ping.
                let mut pings = connection.ping_pong().unwrap();
                tokio::spawn(async move { told.send(connection.await).ok() });
                pings.ping(h2::Ping::opaque()).await.ok();
                begun.send((Handle::current(), send)).unwrap();
                drop(stopped.await);
            });
        });
        let (handle, send) = beginning.recv_timeout(BOUND).expect("a connection of HTTP/2");
        Self { handle, send, ended, _stop: stop }
    }

    /// What `work` comes to, with a bound.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.handle.block_on(async { timeout(BOUND, work).await.expect("in time") })
    }

    /// Begins a request.
    pub fn begin(
        &mut self,
        request: Request<()>,
        ends: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut send = self.send.clone();
        self.wait(async { std::future::poll_fn(|cx| send.poll_ready(cx)).await }).unwrap();
        send.send_request(request, ends).unwrap()
    }

    /// A whole GET.
    pub fn get(&mut self, path: &str) -> Reply {
        self.ask(request("GET", path))
    }

    /// A whole request without a body.
    pub fn ask(&mut self, request: Request<()>) -> Reply {
        let (response, _) = self.begin(request, true);
        self.reply(response)
    }

    /// A whole answer.
    pub fn reply(&self, response: ResponseFuture) -> Reply {
        self.wait(async {
            let (head, mut body) = response.await.unwrap().into_parts();
            let mut whole = Vec::new();
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                whole.extend_from_slice(&data);
            }
            let trailers = body.trailers().await.unwrap();
            Reply { status: head.status.as_u16(), headers: head.headers, body: whole, trailers }
        })
    }

    /// An extended CONNECT that nobody has answered yet.
    pub fn connect_websocket(
        &mut self,
        request: Request<()>,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        self.begin(request, false)
    }

    /// The socket behind a request that was answered so.
    pub fn socket(&self, response: ResponseFuture, send: SendStream<Bytes>) -> Socket {
        let response = self.wait(response).unwrap();
        assert_eq!(response.status(), 200, "{response:?}");
        let (head, recv) = response.into_parts();
        Socket {
            handle: self.handle.clone(),
            head: Response::from_parts(head, ()),
            send,
            recv,
            ahead: Vec::new(),
        }
    }

    /// How the connection ended; that it did.
    pub fn end(&self) -> Result<(), h2::Error> {
        self.ended.recv_timeout(BOUND).expect("the end of a connection of HTTP/2")
    }

    /// Whether it goes on.
    pub fn lives(&self) -> bool {
        self.ended.try_recv().is_err()
    }
}

/// A request for a path of `test.example`.
pub fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://test.example{path}")).body(()).unwrap()
}

/// A request for a WebSocket.
pub fn websocket(path: &str) -> Request<()> {
    let mut request = request("CONNECT", path);
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    request
}

/// What a client got.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An open WebSocket.
pub struct Socket {
    handle: Handle,
    pub head: Response<()>,
    send: SendStream<Bytes>,
    recv: RecvStream,
    ahead: Vec<u8>,
}

impl Socket {
    fn wait<T>(handle: &Handle, work: impl Future<Output = T>) -> T {
        handle.block_on(async { timeout(BOUND, work).await.expect("in time") })
    }

    /// Sends as the windows allow.
    pub fn send(&mut self, bytes: &[u8]) {
        let mut data = Bytes::copy_from_slice(bytes);
        while !data.is_empty() {
            let room = Self::wait(&self.handle, room(&mut self.send, data.len())).unwrap();
            self.send.send_data(data.split_to(room.min(data.len())), false).unwrap();
        }
    }

    /// Sends without waiting: h2 keeps what the windows do not take.
    pub fn push(&mut self, bytes: &[u8]) {
        self.send.send_data(Bytes::copy_from_slice(bytes), false).unwrap();
    }

    /// The same with END_STREAM.
    pub fn push_last(&mut self, bytes: &[u8]) {
        self.send.send_data(Bytes::copy_from_slice(bytes), true).unwrap();
    }

    /// Says END_STREAM.
    pub fn finish(&mut self) {
        self.send.send_data(Bytes::new(), true).unwrap();
    }

    pub fn reset(&mut self, reason: Reason) {
        self.send.send_reset(reason);
    }

    /// The next piece; `None` at END_STREAM.
    pub fn piece(&mut self) -> Option<Result<Vec<u8>, h2::Error>> {
        let data = Self::wait(&self.handle, self.recv.data())?;
        Some(data.map(|data| {
            self.recv.flow_control().release_capacity(data.len()).unwrap();
            data.to_vec()
        }))
    }

    /// Exactly `count` bytes.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            let piece = self.piece().expect("more").unwrap();
            self.ahead.extend(piece);
        }
        self.ahead.drain(..count).collect()
    }

    /// All until END_STREAM, which comes in place of a reset.
    pub fn rest(&mut self) -> Vec<u8> {
        while let Some(piece) = self.piece() {
            self.ahead.extend(piece.expect("END_STREAM, not a reset"));
        }
        std::mem::take(&mut self.ahead)
    }

    /// The reason of the reset that ends it.
    pub fn reason(&mut self) -> Reason {
        loop {
            match self.piece().expect("a reset, not END_STREAM") {
                Ok(_) => {}
                Err(error) => return error.reason().unwrap(),
            }
        }
    }
}

async fn room(send: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, h2::Error> {
    send.reserve_capacity(wanted);
    while send.capacity() == 0 {
        match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
            Some(room) => drop(room?),
            None => return Err(Reason::CANCEL.into()),
        }
    }
    Ok(send.capacity())
}
