//! What the socket-level tests share: Bowline in this process on a port of the kernel's choice, an
//! upstream that does byte for byte what a test says, and clients that read with a bound.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "real sockets, real clock, a pause between looks")]
#![allow(unreachable_pub, reason = "each test file includes this as a module of its own")]

pub mod dns;
pub mod network;
pub mod process;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bowline::config;
use bowline::plan::Plan;
use bowline::server::Server;
use bowline::telemetry::Metrics;
use tokio::sync::oneshot;

/// No state that a test waits for takes longer on the slowest machine.
pub const BOUND: Duration = Duration::from_secs(10);

/// The key of RFC 6455 section 1.3, and the accept that answers it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A 101 that is right for [`KEY`].
pub const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A handshake for `path` with `extra` header lines (each ending in CRLF).
pub fn handshake(path: &str, extra: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: test.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    )
}

/// A running Bowline; drained and joined when dropped.
pub struct Bowline {
    pub address: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub metrics: std::sync::Arc<Metrics>,
    stop: Option<oneshot::Sender<()>>,
    now: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Bowline {
    /// Everything to one upstream, one worker.
    pub fn in_front_of(upstream: SocketAddr) -> Self {
        Self::with(&format!(
            "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
             routes: [ {{ upstream: up }} ]\nupstreams: {{ up: {{ endpoints: [ \"{upstream}\" ] }} }}\n"
        ))
    }

    /// From a whole configuration; listen on port 0. Tunnels carry bytes, since most tests send what
    /// is no frame; one that is about frames says `websocket:` itself.
    pub fn with(yaml: &str) -> Self {
        let opaque = if yaml.contains("websocket:") { "" } else { OPAQUE };
        let (config, mut mistakes) =
            config::parse("test.yaml", &format!("{yaml}\n{opaque}"), &|_| None);
        let plan = Plan::build(&config, Path::new(""), &mut mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        let server = Server::bind(plan).unwrap();
        let address = server.addresses()[0];
        let (admin, metrics) = (server.admin_address(), server.metrics().clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let (now, at_once) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let stopped = async { drop(stopped.await) };
            let at_once = async {
                if at_once.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            runtime.block_on(server.run(stopped, at_once)).unwrap();
        });
        Self { address, admin, metrics, stop: Some(stop), now: Some(now), thread: Some(thread) }
    }

    /// Begins the drain, as SIGTERM does.
    pub fn drain(&mut self) {
        drop(self.stop.take());
    }

    /// Ends at once, as a second SIGTERM does.
    pub fn kill(&mut self) {
        self.drain();
        if let Some(now) = self.now.take() {
            now.send(()).ok();
        }
    }

    /// Waits for the end; returns how long it took.
    pub fn join(&mut self) -> Duration {
        let began = Instant::now();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        began.elapsed()
    }

    pub fn client(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// The value of a metric line that starts with `series`, 0 when there is none.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.encode();
        let line = text
            .lines()
            .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has a value.
    pub fn wait_metric(&self, series: &str, wanted: f64) {
        wait_for(&format!("{series} = {wanted}"), || self.metric(series) == wanted);
    }
}

impl Drop for Bowline {
    fn drop(&mut self) {
        self.kill();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("Bowline panicked");
        }
    }
}

/// Waits for a state, with a bound.
pub fn wait_for(what: &str, mut state: impl FnMut() -> bool) {
    let began = Instant::now();
    while !state() {
        assert!(began.elapsed() < BOUND, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A socket that reads with a bound and shows what it got when that is wrong.
pub struct Wire {
    pub stream: TcpStream,
    /// Read and not asked for yet.
    pub ahead: Vec<u8>,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.set_write_timeout(Some(BOUND)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, ahead: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends; a peer that is gone already is no failure.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Says FIN.
    pub fn finish(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn more(&mut self) -> usize {
        let mut block = [0; 65536];
        let read = match self.stream.read(&mut block) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("{error}; got so far: {:?}", self.shown()),
        };
        self.ahead.extend_from_slice(&block[..read]);
        read
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.ahead).chars().take(2000).collect()
    }

    /// Exactly `count` bytes.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            assert!(self.more() > 0, "the peer closed after {:?}", self.shown());
        }
        self.ahead.drain(..count).collect()
    }

    /// Up to and with `end`.
    pub fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.ahead.windows(end.len()).position(|part| part == end.as_bytes())
            {
                let bytes = self.exactly(at + end.len());
                return String::from_utf8_lossy(&bytes).into_owned();
            }
            assert!(self.more() > 0, "the peer closed before {end:?}, after {:?}", self.shown());
        }
    }

    /// A head, up to and with the empty line.
    pub fn head(&mut self) -> String {
        self.until("\r\n\r\n")
    }

    /// A whole answer framed by content-length, chunks or the connection's end.
    pub fn answer(&mut self) -> Answer {
        let head = self.head();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        let answer = Answer { status, head, body: Vec::new() };
        let body = if matches!(status, 100..=199 | 204 | 304) {
            Vec::new()
        } else if let Some(length) = answer.header("content-length") {
            self.exactly(length.parse().unwrap())
        } else if answer.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            loop {
                let size = self.until("\r\n");
                let size = usize::from_str_radix(size.trim(), 16).unwrap();
                if size == 0 {
                    let trailers = self.until("\r\n");
                    if trailers != "\r\n" {
                        self.head();
                    }
                    break body;
                }
                body.extend(self.exactly(size));
                self.exactly(2);
            }
        } else {
            self.rest()
        };
        Answer { body, ..answer }
    }

    /// Whether more comes before the peer closes.
    pub fn has_more(&mut self) -> bool {
        !self.ahead.is_empty() || self.more() > 0
    }

    /// Everything until the peer closes.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() > 0 {}
        std::mem::take(&mut self.ahead)
    }

    /// What has come, or comes next; empty when the peer has closed.
    pub fn some(&mut self) -> Vec<u8> {
        if self.ahead.is_empty() {
            self.more();
        }
        std::mem::take(&mut self.ahead)
    }

    /// Whether the peer has closed, with nothing more said.
    pub fn is_closed(&mut self) -> bool {
        self.rest().is_empty()
    }

    /// Asserts that nothing comes for a moment.
    pub fn is_silent(&mut self, moment: Duration) {
        self.stream.set_read_timeout(Some(moment)).unwrap();
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            other => panic!("expected silence, got {other:?} {:?}", byte),
        }
        self.stream.set_read_timeout(Some(BOUND)).unwrap();
    }
}

/// What a client got.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of a name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The first header of a name (lower case) in a head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    headers(head, name).into_iter().next()
}

/// Every header of a name (lower case) in a head.
pub fn headers<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

/// An upstream whose every connection is handed to the test.
pub struct Upstream {
    pub address: SocketAddr,
    accepted: mpsc::Receiver<TcpStream>,
}

impl Upstream {
    pub fn new() -> Self {
        Self::at(([127, 0, 0, 1], 0).into())
    }

    /// At an address that is free.
    pub fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, accepted) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if sender.send(stream).is_err() {
                    break;
                }
            }
        });
        Self { address, accepted }
    }

    /// The next connection.
    pub fn accept(&self) -> Wire {
        Wire::new(self.accepted.recv_timeout(BOUND).expect("nobody dialled the upstream"))
    }

    /// A connection that is there already.
    pub fn try_accept(&self) -> Option<Wire> {
        self.accepted.try_recv().ok().map(Wire::new)
    }

    /// Asserts that nobody has dialled.
    pub fn is_untouched(&self) -> bool {
        self.accepted.try_recv().is_err()
    }

    /// Serves every connection by `serve` on a thread of its own, for tests that only watch the client.
    pub fn serving(serve: impl Fn(Wire) + Send + Sync + Clone + 'static) -> SocketAddr {
        Self::serving_at(([127, 0, 0, 1], 0).into(), serve)
    }

    /// The same at an address that is free.
    pub fn serving_at(
        address: SocketAddr,
        serve: impl Fn(Wire) + Send + Sync + Clone + 'static,
    ) -> SocketAddr {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serve = serve.clone();
                thread::spawn(move || serve(Wire::new(stream)));
            }
        });
        address
    }
}

/// A server that answers everything with its name, upgrades with a 101 and then its name. What it
/// answers to `/socket.io/` without a `sid` is the open packet of a session that is named after it.
pub fn node(name: &'static str) -> SocketAddr {
    Upstream::serving(move |mut wire| {
        while wire.has_more() {
            let head = wire.head();
            let path = head.split(' ').nth(1).unwrap();
            if header(&head, "upgrade").is_some() {
                wire.send(SWITCHING);
                wire.send(name);
                wire.rest();
                return;
            }
            let body = match path.starts_with("/socket.io/") && !path.contains("sid=") {
                true => format!("0{{\"sid\":\"of-{name}\",\"upgrades\":[\"websocket\"]}}"),
                false => name.to_owned(),
            };
            let length = body.len();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"));
        }
    })
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One worker, one route `r` to one upstream `up` of `endpoints`; `extra` is further top-level YAML.
pub fn config(endpoints: &[SocketAddr], extra: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|one| format!("\"{one}\"")).collect();
    format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
         routes: [ {{ name: r, upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ {} ] }} }}\n{extra}\n",
        endpoints.join(", ")
    )
}

/// Tunnels of bytes.
pub const OPAQUE: &str = "websocket: { frames: opaque }\n";

/// Opens a tunnel: its client's end and its upstream's.
pub fn tunnel(bowline: &Bowline, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = bowline.client();
    client.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    server.send(SWITCHING);
    let answer = client.head();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    (client, server)
}
