//! The end of a process, as the clients of its WebSockets see it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::time::{Duration, Instant};

use support::process::Process;
use support::{Bowline, SWITCHING, Upstream, config, handshake, tunnel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A Close of the code 1012 as an upstream or Bowline would send it, without what stands behind.
const RESTART: [u8; 2] = 1012_u16.to_be_bytes();

async fn head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
}

/// An upstream that grants every upgrade and answers the Close.
async fn serve(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            head(&mut stream).await;
            stream.write_all(SWITCHING.as_bytes()).await.unwrap();
            // A masked Close: two bytes, a key, the code and a reason.
            let mut close = [0; 2];
            stream.read_exact(&mut close).await.unwrap();
            assert_eq!(close[0], 0x88);
            stream.write_all(&[&[0x88, 2][..], &RESTART].concat()).await.unwrap();
            drop(stream.read_to_end(&mut Vec::new()).await);
        });
    }
}

/// A client that waits for its Close: when it came and what was in it, and that a FIN followed.
async fn wait(mut stream: TcpStream) -> (Instant, [u8; 2]) {
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).await.unwrap();
    let told = Instant::now();
    assert_eq!(frame[0], 0x88);
    let mut reason = vec![0; usize::from(frame[1]) - 2];
    stream.read_exact(&mut reason).await.unwrap();
    stream.write_all(&[&[0x88, 0x82, 0, 0, 0, 0][..], &RESTART].concat()).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    (told, [frame[2], frame[3]])
}

#[test]
fn five_thousand_clients_are_told_to_come_back_one_after_another() {
    const CLIENTS: usize = 5000;
    const SPREAD: f64 = 6.0;
    rlimit::increase_nofile_limit(2 * CLIENTS as u64 + 100).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut told = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // On a slow machine they wait for longer than an interval, and answer no ping.
        let quiet =
            "drain: { timeout: 20s, spread: 6s }\nwebsocket: { heartbeat: { interval: off } }";
        let yaml = config(&[listener.local_addr().unwrap()], quiet);
        let mut process = Process::start("drain", &yaml.replace("workers: 1", "workers: 2"), None);
        tokio::spawn(serve(listener));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let mut stream = TcpStream::connect(process.address).await.unwrap();
            stream.write_all(handshake("/", "").as_bytes()).await.unwrap();
            head(&mut stream).await;
            clients.spawn(wait(stream));
        }
        process.signal("TERM");
        let told = clients.join_all().await;
        assert_eq!(process.end().code(), Some(0));
        told
    });
    assert_eq!(told.len(), CLIENTS);
    assert!(told.iter().all(|(_, code)| *code == RESTART));
    told.sort();
    let took = told[CLIENTS - 1].0 - told[0].0;
    assert!(took > Duration::from_secs_f64(SPREAD * 0.9), "{took:?}");
    let most = CLIENTS as f64 / SPREAD * 1.3;
    for (first, (from, _)) in told.iter().enumerate() {
        let until = *from + Duration::from_secs(1);
        let within = told[first..].iter().take_while(|(at, _)| *at < until).count();
        assert!((within as f64) < most, "{within} within a second, {most} are allowed");
    }
}

#[test]
fn a_single_client_is_told_at_once() {
    let upstream = Upstream::new();
    let yaml = config(&[upstream.address], "websocket: { frames: metered }");
    let mut bowline = Bowline::with(&yaml);
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    let began = Instant::now();
    bowline.drain();
    let close = client.exactly(4);
    assert_eq!((close[0], [close[2], close[3]]), (0x88, RESTART));
    client.exactly(usize::from(close[1]) - 2);
    client.send([&[0x88, 0x82, 0, 0, 0, 0][..], &RESTART].concat());
    let close = server.exactly(2);
    assert_eq!(close[0], 0x88);
    server.exactly(usize::from(close[1] & 0x7f) + 4);
    server.send([&[0x88, 2][..], &RESTART].concat());
    assert_eq!((client.rest(), server.rest()), (vec![], vec![]));
    bowline.join();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
