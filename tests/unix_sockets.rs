//! Upstreams behind Unix domain sockets: requests, WebSockets, checks, and what is told when nobody listens
//! there or more come than the server has room for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use socket2::{Domain, SockAddr, Socket, Type};
use support::{BOUND, Bowline, SWITCHING, Upstream, handshake, node};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A path of this test's own where nothing is. Short, whatever the folder of the build is called.
fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("bowline-{}-{name}.sock", std::process::id()));
    fs::remove_file(&path).ok();
    path
}

/// A listening socket; its file goes with it.
struct Server {
    path: PathBuf,
    connections: Arc<AtomicUsize>,
}

impl Drop for Server {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}

impl Server {
    /// Serves every connection by `serve`, on a thread of its own.
    fn new(name: &str, serve: impl Fn(Peer) + Send + Clone + 'static) -> Self {
        let path = path(name);
        let listener = UnixListener::bind(&path).unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(BOUND)).unwrap();
                let serve = serve.clone();
                thread::spawn(move || serve(Peer(stream)));
            }
        });
        Self { path, connections }
    }

    fn endpoint(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// The server's end of a connection.
struct Peer(UnixStream);

impl Peer {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// The next head; `None` when the connection has ended.
    fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(0) | Err(_) => return None,
                Ok(_) => head.push(byte[0]),
            }
        }
        Some(String::from_utf8(head).unwrap())
    }

    fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }
}

/// Answers GETs for as long as they come, and upgrades with a 101 and whatever it gets.
fn serve(mut peer: Peer) {
    while let Some(head) = peer.head() {
        if !head.to_ascii_lowercase().contains("upgrade: websocket") {
            peer.send(OK);
            continue;
        }
        peer.send(SWITCHING);
        let mut block = [0; 4096];
        while let Ok(read @ 1..) = peer.0.read(&mut block) {
            peer.send(&block[..read]);
        }
        return;
    }
}

fn bowline(endpoints: &[&str], settings: &str) -> Bowline {
    Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: {endpoints:?}, {settings} }} }}\n"
    ))
}

#[test]
fn requests_go_to_a_path_and_its_connection_is_kept() {
    let server = Server::new("kept", serve);
    let bowline = bowline(&[&server.endpoint()], "");
    let mut client = bowline.client();
    for _ in 0..10 {
        client.send(GET);
        assert_eq!(client.answer().text(), "ok");
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(bowline.metric("bowline_upstream_reused_total{upstream=\"up\"}"), 9.0);
}

#[test]
fn a_websocket_goes_to_a_path_and_both_ends_are_heard() {
    let server = Server::new("websocket", serve);
    let bowline = bowline(&[&server.endpoint()], "");
    let mut client = bowline.client();
    client.send(handshake("/ws", ""));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    let endpoint = server.endpoint();
    let tunnels = format!("bowline_endpoint_tunnels{{upstream=\"up\",endpoint=\"{endpoint}\"}}");
    bowline.wait_metric(&tunnels, 1.0);
    let long: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let mut writing = client.stream.try_clone().unwrap();
    let sent = long.clone();
    let writer = thread::spawn(move || {
        writing.write_all(&sent).unwrap();
        writing.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert!(client.rest() == long, "what comes back is what was sent, behind a half-close too");
    writer.join().unwrap();
    bowline.wait_metric(&tunnels, 0.0);
}

#[test]
fn a_body_still_goes_out_behind_an_answer_that_came_early() {
    let server = Server::new("early", |mut peer| {
        peer.head().unwrap();
        peer.exactly(3);
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        // The rest of the request is heard before the rest of the answer is said.
        let rest = peer.exactly(2);
        peer.send([b"abc", &rest[..]].concat());
    });
    let bowline = bowline(&[&server.endpoint()], "");
    let mut client = bowline.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    client.send("de");
    assert_eq!(client.exactly(5), b"abcde");
}

#[test]
fn where_nobody_listens_the_next_endpoint_is_asked() {
    let missing = path("missing");
    let left = path("left");
    // Its file outlives it, as after a crash.
    drop(UnixListener::bind(&left).unwrap());
    for dead in [&missing, &left] {
        let dead = format!("unix:{}", dead.display());
        let one = bowline(&[&dead], "");
        let mut client = one.client();
        client.send(GET);
        let answer = client.answer();
        assert_eq!(answer.status, 502);
        assert!(
            answer.header("proxy-status").unwrap().contains("connection_refused"),
            "{answer:?}"
        );
        let alive = node("alive").to_string();
        let settings = "balance: round_robin, health: { passive: { failures: 1 } }";
        let two = bowline(&[&dead, &alive], settings);
        let mut client = two.client();
        for _ in 0..4 {
            client.send(GET);
            assert_eq!(client.answer().text(), "alive");
        }
        let ejections =
            format!("bowline_endpoint_ejections_total{{upstream=\"up\",endpoint=\"{dead}\"}}");
        assert_eq!(two.metric(&ejections), 1.0, "the server's fault, not Bowline's");
    }
    fs::remove_file(left).unwrap();
}

#[test]
fn a_server_with_more_to_accept_than_it_has_room_for_is_asked_again() {
    let path = path("busy");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    // As many as it has room for.
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
        match socket.connect(&SockAddr::unix(&path).unwrap()) {
            Ok(()) => waiting.push(socket),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    let bowline = bowline(&[&format!("unix:{}", path.display())], "");
    let mut client = bowline.client();
    client.send(GET);
    client.is_silent(std::time::Duration::from_millis(100));
    let failures = "bowline_upstream_connect_failures_total{upstream=\"up\"}";
    assert_eq!(bowline.metric(failures), 0.0);
    let listener = UnixListener::from(std::os::fd::OwnedFd::from(listener));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(Peer(stream)));
        }
    });
    assert_eq!(client.answer().text(), "ok");
    assert_eq!(bowline.metric(failures), 0.0);
    fs::remove_file(path).unwrap();
}

#[test]
fn a_server_that_never_has_room_is_waited_for_as_long_as_the_route_says() {
    let path = path("full");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    while let Ok(socket) = {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
        socket.connect(&SockAddr::unix(&path).unwrap()).map(|()| socket)
    } {
        waiting.push(socket);
    }
    let bowline = Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
         routes: [ {{ upstream: up, timeouts: {{ connect: 200ms }} }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"unix:{}\" ] }} }}\n",
        path.display()
    ));
    let mut client = bowline.client();
    client.send(GET);
    assert_eq!(client.answer().status, 504);
    fs::remove_file(path).unwrap();
}

#[test]
fn checks_of_every_kind_reach_a_path() {
    let pongs = |mut peer: Peer| {
        let head = peer.head().unwrap();
        let key = support::header(&head, "sec-websocket-key").unwrap();
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        peer.send(SWITCHING.replace(support::ACCEPT, &accept));
        let ping = peer.exactly(14);
        let payload: Vec<u8> = (0..8).map(|at| ping[6 + at] ^ ping[2 + at % 4]).collect();
        peer.send([&[0x8a, 8][..], &payload].concat());
        peer.exactly(8);
    };
    let host = |mut peer: Peer| {
        let head = peer.head().unwrap();
        assert_eq!(support::headers(&head, "host"), ["localhost"], "a path is no Host");
        peer.send(OK);
    };
    let servers = [
        ("http", Server::new("check-http", host)),
        ("tcp", Server::new("check-tcp", |_| {})),
        ("websocket", Server::new("check-websocket", pongs)),
    ];
    for (kind, server) in servers {
        let missing = format!("unix:{}", path("check-missing").display());
        let health = format!(
            "health: {{ active: {{ type: {kind}, interval: 300ms, rise: 1, fall: 2 }}, panic: 0% }}"
        );
        let bowline = bowline(&[&server.endpoint(), &missing], &health);
        let up = |endpoint: &str| {
            format!("bowline_endpoint_up{{upstream=\"up\",endpoint=\"{endpoint}\"}}")
        };
        bowline.wait_metric(&up(&missing), 0.0);
        support::wait_for("passed checks", || {
            bowline.metric("bowline_health_checks_total{upstream=\"up\",result=\"passed\"}") >= 2.0
        });
        bowline.wait_metric(&up(&server.endpoint()), 1.0);
    }
}

#[test]
fn a_path_and_a_port_share_the_work_by_their_weights() {
    let server = Server::new("weighed", serve);
    let other = Upstream::serving(|mut wire| {
        while wire.has_more() {
            wire.head();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother");
        }
    });
    let yaml = format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ balance: round_robin, source_addresses: [ 127.0.0.9 ], endpoints: \
         [ {{ address: \"{}\", weight: 3 }}, \"{other}\" ] }} }}\n",
        server.endpoint()
    );
    let bowline = Bowline::with(&yaml);
    let mut client = bowline.client();
    let answers: Vec<String> = (0..8)
        .map(|_| {
            client.send(GET);
            client.answer().text()
        })
        .collect();
    assert_eq!(answers.iter().filter(|one| *one == "ok").count(), 6, "{answers:?}");
}
