//! How many handshakes are under way at once: upgrades before an upstream, TLS at a listener.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use support::{Bowline, SWITCHING, Upstream, Wire, handshake, wait_for};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Two workers before one server, with `settings` of the upstream.
fn bowline(server: SocketAddr, settings: &str) -> Bowline {
    Bowline::with(&format!(
        "workers: 2\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
         routes: [ {{ name: r, upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{server}\" ], {settings} }} }}\n"
    ))
}

fn asks(bowline: &Bowline, path: &str) -> Wire {
    let mut client = bowline.client();
    client.send(handshake(path, ""));
    client
}

fn waits(bowline: &Bowline, many: u32) {
    bowline.wait_metric("bowline_upstream_upgrades_queued_total{upstream=\"up\"}", many.into());
}

/// The server's end of the next upgrade, and its path.
fn comes(upstream: &Upstream) -> (Wire, String) {
    let mut server = upstream.accept();
    let path = server.head().split(' ').nth(1).unwrap().to_owned();
    (server, path)
}

fn is_refused(client: &mut Wire) {
    let answer = client.answer();
    assert_eq!(answer.status, 503, "{}", answer.head);
    let after: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    let status = answer.header("proxy-status").unwrap();
    assert!(status.contains("upgrades.in_progress"), "{status}");
    assert!(answer.text().contains("upgrades.in_progress: 1 "), "{}", answer.text());
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    head
}

/// A server in a thread of its own that takes `pause` for each upgrade, and then echoes bytes; `peak`
/// is how many it ever had at once.
fn echo(pause: Duration, peak: Arc<AtomicUsize>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let serve = async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let now = Arc::new(AtomicUsize::new(0));
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
            tokio::spawn(async move {
                head(&mut stream).await;
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(pause).await;
                now.fetch_sub(1, Ordering::SeqCst);
                stream.write_all(SWITCHING.as_bytes()).await.unwrap();
                let mut block = [0; 64];
                while let Ok(read @ 1..) = stream.read(&mut block).await {
                    stream.write_all(&block[..read]).await.unwrap();
                }
            });
        }
    };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve);
    });
    address
}

async fn upgrades<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> S {
    stream.write_all(handshake("/ws", "").as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

/// Echoes until `done`; how long the slowest one took.
async fn live(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    done: impl Fn() -> bool,
) -> Duration {
    let mut slowest = Duration::ZERO;
    while !done() {
        let began = Instant::now();
        stream.write_all(b"still here").await.unwrap();
        stream.read_exact(&mut [0; 10]).await.unwrap();
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    slowest
}

#[tokio::test]
async fn a_storm_is_never_more_at_once_than_may_be_in_progress() {
    const CLIENTS: usize = 400;
    let peak = Arc::default();
    let server = echo(Duration::from_millis(10), Arc::clone(&peak));
    let bowline = bowline(server, "upgrades: { in_progress: 7, wait: 1m }");
    let address = bowline.address;
    let client = move || async move { upgrades(TcpStream::connect(address).await.unwrap()).await };
    let first = client().await;
    let storm: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(client())).collect();
    let done = || storm.iter().all(tokio::task::JoinHandle::is_finished);
    println!("slowest echo {:?}", live(first, done).await);
    for one in storm {
        one.await.unwrap();
    }
    assert_eq!(peak.load(Ordering::SeqCst), 7);
    assert_eq!(bowline.metric("bowline_upgrades_total{route=\"r\",outcome=\"accepted\"}"), 401.0);
    // Those who came with less before them did not wait.
    let queued = bowline.metric("bowline_upstream_upgrades_queued_total{upstream=\"up\"}");
    assert!((1.0..=394.0).contains(&queued), "{queued}");
}

#[test]
fn upgrades_wait_in_order_and_one_that_leaves_gives_its_place_up() {
    let upstream = Upstream::new();
    let bowline = bowline(upstream.address, "upgrades: { in_progress: 1, wait: 1m }");
    let mut first = asks(&bowline, "/first");
    let (mut server, path) = comes(&upstream);
    assert_eq!(path, "/first");
    let mut waiting: Vec<_> = (1..=4)
        .map(|number| {
            let client = asks(&bowline, &format!("/{number}"));
            waits(&bowline, number);
            client
        })
        .collect();
    // The second of those who wait has had enough.
    drop(waiting.remove(1));
    bowline.wait_metric("bowline_connections", 4.0);
    assert!(upstream.is_untouched());
    server.send(SWITCHING);
    assert!(first.head().starts_with("HTTP/1.1 101 "));
    for (client, expected) in waiting.iter_mut().zip(["/1", "/3", "/4"]) {
        let (mut server, path) = comes(&upstream);
        assert_eq!(path, expected);
        assert!(upstream.is_untouched());
        // An upgrade that is declined or lost is no more under way either.
        server.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.answer().status, 403);
    }
    // Plain requests do not ask.
    let _under_way = asks(&bowline, "/last");
    let _server = comes(&upstream);
    let mut plain = bowline.client();
    plain.send("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n");
    comes(&upstream).0.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(plain.answer().status, 204);
}

#[test]
fn an_upgrade_that_waited_in_vain_is_told_by_which_limit() {
    let upstream = Upstream::new();
    let bowline = bowline(upstream.address, "upgrades: { in_progress: 1, wait: 50ms }");
    let under_way = asks(&bowline, "/");
    let (mut server, _) = comes(&upstream);
    let mut late = asks(&bowline, "/");
    is_refused(&mut late);
    let cause = "bowline_failures_total{route=\"r\",cause=\"upgrades_in_progress\"}";
    assert_eq!(bowline.metric(cause), 1.0);
    assert_eq!(bowline.metric("bowline_upgrades_total{route=\"r\",outcome=\"refused\"}"), 1.0);
    // A client that leaves during its handshake frees the place.
    drop(under_way);
    assert!(server.is_closed());
    late.send(handshake("/", ""));
    drop(comes(&upstream));
}

/// A listener with TLS in front of `server`, and what its clients connect with.
fn over_tls(name: &str, server: SocketAddr, tls: &str) -> (Bowline, TlsConnector) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("handshakes_{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    let issued = rcgen::generate_simple_self_signed(vec!["test.example".to_owned()]).unwrap();
    let (cert, key) = (folder.join("a.pem"), folder.join("a.key"));
    std::fs::write(&cert, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let bowline = Bowline::with(&format!(
        "workers: 2\nlisteners:\n  - address: 127.0.0.1:0\n    tls:\n      \
         certificates: [ {{ cert: \"{}\", key: \"{}\" }} ]\n      {tls}\n\
         routes: [ {{ name: r, upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{server}\" ] }} }}\n",
        cert.display(),
        key.display()
    ));
    (bowline, TlsConnector::from(Arc::new(config)))
}

async fn tls_client(
    address: SocketAddr,
    connector: TlsConnector,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("test.example").unwrap();
    upgrades(connector.connect(name, stream).await.unwrap()).await
}

#[tokio::test]
async fn tls_handshakes_above_the_bound_wait_and_go_on_when_others_leave() {
    let server = echo(Duration::ZERO, Arc::default());
    let (bowline, connector) =
        over_tls("bound", server, "max_handshakes: 5\n      handshake_timeout: 5m");
    let address = bowline.address;
    let queued = |many: f64| bowline.wait_metric("bowline_tls_queued_total", many);
    let mut silent: Vec<_> = (0..5).map(|_| Wire::connect(address)).collect();
    bowline.wait_metric("bowline_accepted_total", 5.0);
    assert_eq!(bowline.metric("bowline_tls_queued_total"), 0.0);
    // Whichever workers they are with.
    silent.extend((0..7).map(|_| Wire::connect(address)));
    queued(7.0);
    let client = tokio::spawn(tls_client(address, connector));
    // The connecting happens on this thread, as does the waiting.
    while bowline.metric("bowline_tls_queued_total") < 8.0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(!client.is_finished());
    // The five that hold places, and six of those before it.
    silent.drain(..11);
    let mut client = client.await.unwrap();
    client.write_all(b"hello").await.unwrap();
    client.read_exact(&mut [0; 5]).await.unwrap();
    assert_eq!(bowline.metric("bowline_tls_refused_total"), 0.0);
}

#[test]
fn who_waited_for_a_tls_handshake_in_vain_is_counted() {
    let server = echo(Duration::ZERO, Arc::default());
    let (bowline, _) =
        over_tls("vain", server, "max_handshakes: 1\n      handshake_timeout: 500ms");
    let mut silent: Vec<_> = (0..4).map(|_| Wire::connect(bowline.address)).collect();
    for one in &mut silent {
        assert!(one.is_closed());
    }
    wait_for("all to be gone", || bowline.metric("bowline_connections") == 0.0);
    // Four, but for those who came when the first was gone already.
    let refused = bowline.metric("bowline_tls_refused_total");
    let failed = bowline.metric("bowline_tls_failures_total{cause=\"timeout\"}");
    assert!(refused >= 1.0 && refused + failed == 4.0, "{refused} and {failed}");
}

#[tokio::test]
async fn a_storm_of_tls_clients_leaves_live_sockets_alone() {
    const CLIENTS: usize = 2000;
    rlimit::increase_nofile_limit(6 * CLIENTS as u64 + 200).unwrap();
    let server = echo(Duration::ZERO, Arc::default());
    let (bowline, connector) =
        over_tls("storm", server, "max_handshakes: 64\n      handshake_timeout: 2m");
    let address = bowline.address;
    let first = tls_client(address, connector.clone()).await;
    let began = Instant::now();
    let storm: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(tls_client(address, connector.clone()))).collect();
    let done = || storm.iter().all(tokio::task::JoinHandle::is_finished);
    let slowest = live(first, done).await;
    println!("all in after {:?}, slowest echo {slowest:?}", began.elapsed());
    for one in storm {
        one.await.unwrap();
    }
    assert!(bowline.metric("bowline_tls_queued_total") > 0.0);
    assert_eq!(bowline.metric("bowline_tls_failures_total"), 0.0);
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}
