//! The admin plane over real sockets: bytes in, bytes out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Arc;

use bowline::admin::{self, AdminState};
use bowline::drain::Phase;
use bowline::telemetry::Metrics;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// A served admin plane; `stop` ends it.
struct Plane {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    phase: watch::Sender<Phase>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Plane {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, phase) = (Metrics::new(2), watch::Sender::new(Phase::Starting));
        // Nobody takes them.
        let (reloads, _) = tokio::sync::mpsc::channel(1);
        let of_it = Arc::clone(&metrics);
        let state = AdminState { metrics: of_it, phase: phase.subscribe(), reloads };
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(admin::serve(listener, Arc::new(state), async {
            let _stopped = stopped.await;
        }));
        Self { address, metrics, phase, stop, served }
    }

    /// Sends a request as it stands and reads until the connection ends.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn ask(&self, method: &str, path: &str, more: &str) -> String {
        let host = self.address;
        self.exchange(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"
        ))
        .await
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer:?}"))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}")).1
}

#[tokio::test]
async fn metrics_are_served_in_the_text_format() {
    let plane = Plane::start().await;
    plane.metrics.route("chat").at(1).count_status(StatusCode::OK);
    let answer = plane.ask("GET", "/metrics", "").await;
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
    let row = "\nbowline_requests_total{route=\"chat\",class=\"2xx\"} 1\n";
    assert!(body(&answer).contains(row), "{answer}");
}

#[tokio::test]
async fn ready_follows_the_phase_and_healthy_does_not() {
    let plane = Plane::start().await;
    assert_eq!(status(&plane.ask("GET", "/readyz", "").await), "503");
    plane.phase.send_replace(Phase::Serving);
    assert_eq!(status(&plane.ask("GET", "/readyz", "").await), "200");
    plane.phase.send_replace(Phase::Leaving);
    let answer = plane.ask("GET", "/readyz", "").await;
    assert_eq!((status(&answer), body(&answer)), ("503", "draining\n"));
    let answer = plane.ask("GET", "/healthz", "").await;
    assert_eq!((status(&answer), body(&answer)), ("200", "ok\n"));
}

#[tokio::test]
async fn a_head_has_the_length_and_no_body() {
    let plane = Plane::start().await;
    let answer = plane.ask("HEAD", "/healthz", "").await;
    assert_eq!((status(&answer), body(&answer)), ("200", ""));
    assert!(answer.contains("content-length: 3\r\n"), "{answer}");
}

#[tokio::test]
async fn other_paths_and_methods_are_told_so() {
    let plane = Plane::start().await;
    assert_eq!(status(&plane.ask("GET", "/", "").await), "200");
    assert_eq!(status(&plane.ask("GET", "/metrics?x=1", "").await), "200");
    assert_eq!(status(&plane.ask("GET", "/metrics/", "").await), "404");
    assert_eq!(status(&plane.ask("POST", "/nowhere", "").await), "404");
    let answer = plane.ask("POST", "/metrics", "Content-Length: 0\r\n").await;
    assert_eq!(status(&answer), "405");
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
}

#[tokio::test]
async fn a_browsers_page_cannot_read_it() {
    let plane = Plane::start().await;
    let rebound = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&plane.exchange(rebound).await), "421");
    let nameless = "GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&plane.exchange(nameless).await), "400");
    for header in ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        let answer = plane.ask("GET", "/metrics", &format!("{header}\r\n")).await;
        assert_eq!(status(&answer), "403", "{header}");
        assert!(!answer.contains("bowline_"), "{answer}");
        assert!(!answer.contains("access-control"), "{answer}");
    }
    let own = format!("Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n", plane.address);
    assert_eq!(status(&plane.ask("GET", "/metrics", &own).await), "200");
}

#[tokio::test]
async fn an_upgrade_is_refused() {
    let plane = Plane::start().await;
    let host = plane.address;
    let answer = plane
        .exchange(&format!(
            "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close, Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ))
        .await;
    assert_eq!(status(&answer), "403");
}

#[tokio::test]
async fn what_is_not_http_does_not_stop_it() {
    let plane = Plane::start().await;
    let answer = plane.exchange("\u{16}\u{3}\u{1} nonsense\r\n\r\n").await;
    assert_eq!(status(&answer), "400");
    assert_eq!(status(&plane.ask("GET", "/healthz", "").await), "200");
}

#[tokio::test]
async fn silent_peers_up_to_the_limit_do_not_lock_others_out_for_good() {
    let plane = Plane::start().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(plane.address).await.unwrap());
    }
    // The next one waits in the kernel's queue until one of the others goes.
    let asked = plane.ask("GET", "/healthz", "");
    let (answer, ()) = tokio::join!(asked, async { drop(silent) });
    assert_eq!(status(&answer), "200");
}

#[tokio::test]
async fn the_end_closes_idle_connections_and_the_listener() {
    let plane = Plane::start().await;
    let mut kept = TcpStream::connect(plane.address).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", plane.address);
    kept.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        assert_ne!(kept.read_buf(&mut answer).await.unwrap(), 0, "closed too soon");
    }
    plane.stop.send(()).unwrap();
    plane.served.await.unwrap();
    assert_eq!(kept.read(&mut [0; 16]).await.unwrap(), 0);
    assert!(TcpStream::connect(plane.address).await.is_err());
}
