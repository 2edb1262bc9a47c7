//! Open sockets move to an endpoint that joins: as many as have to, at the rate, told to come back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::process::Process;
use support::{SWITCHING, handshake, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};

const CLIENTS: usize = 60;

/// What clients were told, and when: the code of a Close, 0 for an end without one.
type Told = Arc<Mutex<Vec<(Instant, u16)>>>;

async fn head(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    assert!(!head.starts_with(b"HTTP/1.1 5"), "{}", String::from_utf8_lossy(&head));
    Ok(())
}

/// Runs in a thread of its own until the process ends.
fn background() -> Handle {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

/// One that grants every upgrade, and answers a Close and an end.
fn server(runtime: &Handle) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                head(&mut stream).await?;
                stream.write_all(SWITCHING.as_bytes()).await?;
                let mut first = [0; 2];
                if stream.read_exact(&mut first).await.is_ok() {
                    assert_eq!(first[0], 0x88);
                    stream.write_all(&[0x88, 2, 0x03, 0xf4]).await?;
                    stream.read_to_end(&mut Vec::new()).await?;
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    address
}

/// One that comes back whenever it is told to, a little later.
async fn client(bowline: SocketAddr, told: Told, open: Arc<AtomicUsize>) -> std::io::Result<()> {
    loop {
        let mut stream = TcpStream::connect(bowline).await?;
        stream.write_all(handshake("/ws", "").as_bytes()).await?;
        head(&mut stream).await?;
        open.fetch_add(1, Ordering::Relaxed);
        let mut frame = [0; 4];
        let code = match stream.read_exact(&mut frame).await {
            Ok(_) => u16::from_be_bytes([frame[2], frame[3]]),
            Err(_) => 0,
        };
        open.fetch_sub(1, Ordering::Relaxed);
        told.lock().unwrap().push((Instant::now(), code));
        if code > 0 {
            stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, frame[2], frame[3]]).await?;
            stream.read_to_end(&mut Vec::new()).await?;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// A port that is free and nobody else takes meanwhile: of an address of this process's own.
fn free() -> SocketAddr {
    let id = std::process::id();
    let own = std::net::Ipv4Addr::new(127, 1 + (id >> 8) as u8 % 254, id as u8, 1);
    std::net::TcpListener::bind((own, 0)).unwrap().local_addr().unwrap()
}

fn yaml(listener: SocketAddr, endpoints: &[SocketAddr], frames: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|one| format!("\"{one}\"")).collect();
    format!(
        "workers: 2\nlisteners: [ {{ address: \"{listener}\" }} ]\nadmin: {{ address: 127.0.0.1:0 }}\n\
         websocket: {{ frames: {frames}, heartbeat: {{ interval: off }} }}\n\
         routes: [ {{ name: r, upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ {} ], rebalance: {{ max_skew: 1.25, rate: 2/s }} }} }}\n",
        endpoints.join(", ")
    )
}

fn a_third_endpoint_joins(frames: &str, code: u16, label: &str) {
    let runtime = background();
    let mut servers: Vec<_> = (0..2).map(|_| server(&runtime)).collect();
    let listener = free();
    let yaml = |servers: &[SocketAddr]| yaml(listener, servers, frames);
    let process = Process::start(&format!("rebalance_{frames}"), &yaml(&servers), None);
    let (told, open) = (Told::default(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..CLIENTS {
        runtime.spawn(client(process.address, Arc::clone(&told), Arc::clone(&open)));
    }
    let loads = |servers: &[SocketAddr]| {
        let load = |server: &SocketAddr| {
            let labels = format!("{{upstream=\"up\",endpoint=\"{server}\"}}");
            process.metric(&format!("bowline_endpoint_tunnels{labels}")) as usize
        };
        servers.iter().map(load).collect::<Vec<_>>()
    };
    wait_for("all clients", || loads(&servers).iter().sum::<usize>() == CLIENTS);
    // Nobody is moved while all is even.
    fs::write(&process.file, yaml(&servers)).unwrap();
    process.signal("HUP");
    wait_for("a reload", || process.logged().contains("configuration reloaded"));
    assert_eq!(process.metric("bowline_rebalanced_total{upstream=\"up\"}"), 0.0);

    servers.push(server(&runtime));
    fs::write(&process.file, yaml(&servers)).unwrap();
    process.signal("HUP");
    let ended = "endpoints are even again";
    let began = Instant::now();
    while !process.logged().contains(ended) {
        // Five seconds, where the machine has time.
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{:?}\n{}",
            loads(&servers),
            process.logged()
        );
        thread::sleep(Duration::from_millis(100));
    }
    wait_for("all to be back", || {
        loads(&servers).iter().sum::<usize>() == CLIENTS && open.load(Ordering::Relaxed) == CLIENTS
    });
    let (loads, mut told) = (loads(&servers), told.lock().unwrap().clone());
    // Twenty each, and a quarter more.
    assert!(loads.iter().all(|load| *load <= 25), "{loads:?}");
    assert!((9..=14).contains(&told.len()), "{} moved: {loads:?}", told.len());
    assert!(told.iter().all(|(_, one)| *one == code), "{told:?}");
    told.sort();
    let took = told[told.len() - 1].0 - told[0].0;
    assert!(took > Duration::from_secs(2), "at two a second they came in {took:?}");
    let counted = process.metric("bowline_rebalanced_total{upstream=\"up\"}");
    let reason = "{route=\"r\",reason=\"rebalance\",closer=\"bowline\"}";
    let by_reason = process.metric(&format!("bowline_tunnels_ended_total{reason}"));
    assert_eq!((counted as usize, by_reason as usize), (told.len(), told.len()));
    assert_eq!(process.accessed().matches(label).count(), told.len(), "{}", process.accessed());
    assert_eq!(process.logged().matches("sockets are moved").count(), 1, "{}", process.logged());
}

#[test]
fn sockets_move_to_an_endpoint_that_joins_and_are_told_to_come_back() {
    a_third_endpoint_joins("metered", 1012, "rebalance");
}

#[test]
fn what_carries_bytes_moves_without_a_word() {
    a_third_endpoint_joins("opaque", 0, "rebalance");
}
