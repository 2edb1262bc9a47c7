//! Sockets that talk while the configuration changes again and again: none may notice, and nothing may
//! pile up. `ENDURANCE=5000x1000` is the whole of it: so many sockets, so many reloads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::process::Process;
use support::{SWITCHING, Wire, handshake, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// How often each socket speaks.
const EACH: Duration = Duration::from_secs(1);

/// A message of 8 bytes, a number; masked with zeros, so that it reads the same on both sides.
const ASKS: [u8; 6] = [0x82, 0x88, 0, 0, 0, 0];
const SAYS: [u8; 2] = [0x82, 0x08];

fn size() -> (usize, usize) {
    let written = std::env::var("ENDURANCE").unwrap_or_else(|_| "500x100".to_owned());
    let (sockets, reloads) = written.split_once('x').expect("ENDURANCE=SOCKETSxRELOADS");
    (sockets.parse().unwrap(), reloads.parse().unwrap())
}

async fn head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.unwrap();
        head.push(byte);
    }
    assert!(head.starts_with(b"GET ") || head.starts_with(b"HTTP/1.1 101 "));
}

/// A server that answers each message with itself.
fn echo() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    head(&mut stream).await;
                    stream.write_all(SWITCHING.as_bytes()).await.unwrap();
                    let mut message = [0; 14];
                    while stream.read_exact(&mut message).await.is_ok() {
                        let mut answer = [0; 10];
                        answer[..2].copy_from_slice(&SAYS);
                        answer[2..].copy_from_slice(&message[6..]);
                        if stream.write_all(&answer).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
    });
    address
}

/// Clients that talk until they are told to stop.
struct Crowd {
    sockets: usize,
    shared: Arc<Shared>,
    thread: thread::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    done: AtomicBool,
    open: AtomicUsize,
    /// How long answers took since the last look.
    took: Mutex<Vec<Duration>>,
}

impl Crowd {
    fn gather(address: SocketAddr, sockets: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                for number in 0..sockets {
                    let shared = Arc::clone(&theirs);
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    stream.write_all(handshake("/ws", "").as_bytes()).await.unwrap();
                    head(&mut stream).await;
                    shared.open.fetch_add(1, Ordering::Relaxed);
                    clients.spawn(async move {
                        // Not all at once.
                        tokio::time::sleep(EACH.mul_f64(number as f64 / sockets as f64)).await;
                        talk(&mut stream, &shared).await;
                    });
                }
                while let Some(ended) = clients.join_next().await {
                    ended.unwrap();
                }
            });
        });
        let began = Instant::now();
        while shared.open.load(Ordering::Relaxed) < sockets {
            assert!(began.elapsed() < Duration::from_secs(60) && !thread.is_finished());
            thread::sleep(Duration::from_millis(5));
        }
        Self { sockets, shared, thread }
    }

    /// Waits until each has had about so many more answers; the 99th percentile of what they took.
    fn p99_of(&self, rounds: usize) -> Duration {
        self.p99();
        wait_for("their answers", || {
            assert!(!self.thread.is_finished());
            self.shared.took.lock().unwrap().len() >= rounds * self.sockets
        });
        self.p99()
    }

    /// The 99th percentile of what answers took since the last time.
    fn p99(&self) -> Duration {
        let mut took = std::mem::take(&mut *self.shared.took.lock().unwrap());
        took.sort();
        took.get(took.len() * 99 / 100).copied().unwrap_or_default()
    }

    /// Every one of them has had every answer.
    fn leave(self) {
        self.shared.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

async fn talk(stream: &mut TcpStream, shared: &Shared) {
    let mut number = 0_u64;
    while !shared.done.load(Ordering::Relaxed) {
        let began = Instant::now();
        let message = [&ASKS[..], &number.to_be_bytes()].concat();
        stream.write_all(&message).await.unwrap();
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).await.expect("a socket was closed");
        assert_eq!((&answer[..2], &answer[2..]), (&SAYS[..], &number.to_be_bytes()[..]));
        shared.took.lock().unwrap().push(began.elapsed());
        number += 1;
        tokio::time::sleep(EACH).await;
    }
}

#[test]
fn reloads_without_end_close_nothing_and_leave_nothing_behind() {
    let (sockets, reloads) = size();
    let server = echo();
    let text = |number: usize| {
        format!(
            "workers: 2\nadmin: {{ address: 127.0.0.1:0 }}\nlog: {{ access: false }}\n\
             listeners: [ {{ address: 127.0.0.1:0 }} ]\n\
             routes: [ {{ name: ws, match: {{ path: /ws }}, upstream: live }},\n  \
             {{ name: other, match: {{ path: /n{number} }}, upstream: other }} ]\n\
             upstreams: {{ live: {{ endpoints: [ \"{server}\" ] }}, \
             other: {{ endpoints: [ \"127.0.0.1:9\" ] }} }}\n"
        )
    };
    let process = Process::start("endurance", &text(0), None);
    let crowd = Crowd::gather(process.address, sockets);
    let admin = process.admin();
    let reload = |number: usize| {
        fs::write(&process.file, text(number)).unwrap();
        let mut client = Wire::connect(admin);
        client.send(format!("POST /reload HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
        assert_eq!(client.answer().status, 200);
    };
    // What the first ones take to warm up is no leak.
    (1..=reloads / 10).for_each(reload);
    let quiet = crowd.p99_of(3);
    let before = process.memory("VmRSS");
    let began = Instant::now();
    (1..=reloads).for_each(reload);
    let lasted = began.elapsed();
    let busy = crowd.p99();
    wait_for("one plan in use", || process.metric("bowline_config_generations") == 1.0);
    let after = process.memory("VmRSS");
    assert_eq!(process.metric("bowline_tunnels{route=\"ws\"}"), sockets as f64);
    assert_eq!(process.metric("bowline_config_reloads_total{result=\"refused\"}"), 0.0);
    println!(
        "{sockets} sockets, {reloads} reloads in {lasted:?}: memory {before} -> {after} KiB, \
         answers (p99) {quiet:?} -> {busy:?}"
    );
    // A percent, or what the allocator takes at a time.
    let most = before + (before / 100).max(4096);
    assert!(after <= most, "{before} -> {after} KiB");
    crowd.leave();
}
