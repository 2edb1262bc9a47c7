//! Counts of endpoints against what their servers see: across reloads, while servers come and go, and
//! after every way in which a request can end.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use support::process::Process;
use support::{Bowline, SWITCHING, Wire, handshake, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;

/// Runs in a thread of its own until the process ends.
fn background() -> Handle {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

/// A head, or nothing when the other side left.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// A server that grants every upgrade, and how many sockets it has.
fn counting(runtime: &Handle) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, open) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    listener.set_nonblocking(true).unwrap();
    let count = Arc::clone(&open);
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                head(&mut stream).await?;
                count.fetch_add(1, Ordering::SeqCst);
                stream.write_all(SWITCHING.as_bytes()).await.ok();
                stream.read_to_end(&mut Vec::new()).await.ok();
                count.fetch_sub(1, Ordering::SeqCst);
                Some(())
            });
        }
    });
    (address, open)
}

/// A port that is free and nobody else takes meanwhile: of an address of this process's own.
fn free() -> SocketAddr {
    let id = std::process::id();
    let own = std::net::Ipv4Addr::new(127, 1 + (id >> 8) as u8 % 254, id as u8, 1);
    std::net::TcpListener::bind((own, 0)).unwrap().local_addr().unwrap()
}

fn carried(address: SocketAddr, kind: &str) -> String {
    format!("bowline_endpoint_{kind}{{upstream=\"up\",endpoint=\"{address}\"}}")
}

/// The same numbers every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        // Xorshift (Marsaglia, 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Of four servers, which are listed in a round: the fourth one comes and goes, and the others change
/// places.
fn listed(round: usize) -> Vec<usize> {
    let mut listed = vec![0, 1, 2];
    listed.rotate_left(round % 3);
    if round % 4 < 2 {
        listed.insert(round % 3, 3);
    }
    listed
}

#[test]
fn least_connections_stays_exact_across_a_hundred_reloads_with_live_sockets() {
    let (listener, runtime) = (free(), background());
    let servers: Vec<_> = (0..4).map(|_| counting(&runtime)).collect();
    let text = |round: usize| {
        let endpoints = listed(round).into_iter().map(|at| format!("\"{}\"", servers[at].0));
        format!(
            "workers: 2\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners: [ {{ address: \"{listener}\" }} ]\n\
             websocket: {{ frames: opaque }}\ndrain: {{ on_removed: keep }}\n\
             routes: [ {{ name: r, upstream: up }} ]\n\
             upstreams: {{ up: {{ endpoints: [ {} ] }} }}\n",
            endpoints.collect::<Vec<_>>().join(", ")
        )
    };
    let process = Process::start("counts", &text(0), None);
    let admin = process.admin();
    let seen = |at: usize| servers[at].1.load(Ordering::SeqCst);
    let (mut sockets, mut dice) = (Vec::<(Wire, usize)>::new(), Dice(0x9e37_79b9_7f4a_7c15));
    let open = |round: usize, sockets: &mut Vec<(Wire, usize)>| {
        let before: Vec<_> = (0..4).map(seen).collect();
        let mut client = Wire::connect(listener);
        client.send(handshake("/ws", ""));
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        let met = (0..4).find(|at| seen(*at) > before[*at]).unwrap();
        let least = listed(round).into_iter().map(|at| before[at]).min();
        assert_eq!(Some(before[met]), least, "round {round}: {met} of {before:?}");
        sockets.push((client, met));
    };
    for _ in 0..30 {
        open(0, &mut sockets);
    }
    for round in 1..=100 {
        fs::write(&process.file, text(round)).unwrap();
        let mut order = Wire::connect(admin);
        order.send(format!("POST /reload HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
        let answer = order.answer();
        assert_eq!(answer.status, 200, "{}", answer.text());
        for _ in 0..dice.below(3) {
            drop(sockets.swap_remove(dice.below(sockets.len())));
        }
        let held = |at: usize| sockets.iter().filter(|(_, met)| *met == at).count();
        wait_for("all counts to agree", || {
            (0..4).all(|at| {
                let metric = process.metric(&carried(servers[at].0, "tunnels"));
                seen(at) == held(at) && metric as usize == held(at)
            })
        });
        for _ in 0..dice.below(4) {
            open(round, &mut sockets);
        }
    }
    drop(sockets);
    wait_for("all to be gone", || (0..4).all(|at| seen(at) == 0));
    for (address, _) in &servers {
        let series = carried(*address, "tunnels");
        wait_for("no count to be left", || process.metric(&series) == 0.0);
    }
}

/// A server at `address` that is there and not there by turns of a few hundred milliseconds, until
/// `done`, and in the end is not. What it had when it went is cut.
fn flapping(runtime: &Handle, address: SocketAddr, mut dice: Dice, done: Arc<AtomicBool>) {
    runtime.spawn(async move {
        while !done.load(Ordering::Relaxed) {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(address).unwrap();
            let listener = socket.listen(1024).unwrap();
            let mut served = JoinSet::new();
            let serve = async {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    served.spawn(answers(stream));
                }
            };
            let up = Duration::from_millis(100 + dice.below(300) as u64);
            tokio::time::timeout(up, serve).await.unwrap_err();
            drop((served, listener));
            tokio::time::sleep(Duration::from_millis(100 + dice.below(300) as u64)).await;
        }
    });
}

/// Answers plain requests, and upgrades whoever wants it.
async fn answers(mut stream: TcpStream) -> Option<()> {
    loop {
        let head = head(&mut stream).await?.to_ascii_lowercase();
        if head.contains("\r\nupgrade: ") {
            stream.write_all(SWITCHING.as_bytes()).await.ok()?;
            stream.read_to_end(&mut Vec::new()).await.ok()?;
            return Some(());
        }
        // Long enough that some are under way when it goes.
        tokio::time::sleep(Duration::from_millis(5)).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.ok()?;
    }
}

#[test]
fn endpoints_that_flap_lose_no_count_and_every_request_gets_an_answer() {
    let (runtime, done) = (background(), Arc::new(AtomicBool::new(false)));
    let addresses: Vec<_> = (0..3).map(|_| free()).collect();
    for (seed, address) in (1..).zip(&addresses) {
        flapping(&runtime, *address, Dice(seed * 0x2545_f491), Arc::clone(&done));
    }
    let endpoints: Vec<_> = addresses.iter().map(|one| format!("\"{one}\"")).collect();
    let bowline = Bowline::with(&format!(
        "workers: 2\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
         routes: [ {{ name: r, upstream: up }} ]\nupstreams:\n  up:\n    endpoints: [ {} ]\n    \
         max_connections: {{ endpoint: 20 }}\n    queue: {{ size: 20, wait: 200ms }}\n    health:\n      \
         active: {{ type: tcp, interval: 50ms, rise: 1, fall: 2 }}\n      \
         passive: {{ failures: 2, eject: 100ms, max_eject: 300ms, max_ejected: 100% }}\n      panic: 0%\n",
        endpoints.join(", ")
    ));
    // Every server has come and gone a few times by then.
    let began = std::time::Instant::now();
    let statuses = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let bowline = &bowline;
                scope.spawn(move || {
                    let mut dice = Dice(7 + number);
                    let mut statuses = Vec::new();
                    while began.elapsed() < Duration::from_secs(3) {
                        let mut client = bowline.client();
                        let status = if dice.below(3) == 0 {
                            client.send(handshake("/ws", ""));
                            client.answer().status
                        } else {
                            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                            client.answer().status
                        };
                        if status == 101 && dice.below(2) == 0 {
                            client.reset();
                        }
                        statuses.push(status);
                    }
                    statuses
                })
            })
            .collect();
        clients.into_iter().flat_map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    done.store(true, Ordering::Relaxed);
    let of = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    println!("200: {}, 101: {}, 502: {}, 503: {}", of(200), of(101), of(502), of(503));
    assert!(statuses.iter().all(|status| matches!(status, 101 | 200 | 502 | 503)), "{statuses:?}");
    assert!(of(200) > 100 && of(101) > 50, "200: {}, 101: {}", of(200), of(101));
    for address in addresses {
        for kind in ["requests", "tunnels"] {
            bowline.wait_metric(&carried(address, kind), 0.0);
        }
    }
    bowline.wait_metric("bowline_connections", 0.0);
    let opened = bowline.metric("bowline_tunnels_opened_total{route=\"r\"}");
    assert_eq!((bowline.metric("bowline_tunnels{route=\"r\"}"), opened as usize), (0.0, of(101)));
}

/// What becomes of a request is in its path.
async fn outcome(mut stream: TcpStream) -> Option<()> {
    loop {
        let head = head(&mut stream).await?;
        let answer: &[u8] = match head.split(' ').nth(1)? {
            "/upgrade" => SWITCHING.as_bytes(),
            "/refuse" => b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            "/wrong" => b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "/garbled" => b"what?\r\n\r\n",
            "/cut" => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
            "/silent" => {
                // Until Bowline gives up, as its client does.
                stream.read_to_end(&mut Vec::new()).await.ok()?;
                return None;
            }
            "/gone" => return None,
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        };
        stream.write_all(answer).await.ok()?;
        if head.contains("/cut") || head.contains("/ends") {
            return None;
        }
        if head.starts_with("GET /upgrade ") {
            stream.read_to_end(&mut Vec::new()).await.ok()?;
            return None;
        }
    }
}

/// One client's request; the status that it got, 0 for none.
async fn request(bowline: SocketAddr, path: &str, upgrade: bool, leaves: bool) -> u16 {
    let mut stream = TcpStream::connect(bowline).await.unwrap();
    let head = match upgrade {
        true => handshake(path, ""),
        false => format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    };
    stream.write_all(head.as_bytes()).await.unwrap();
    if leaves {
        // Anywhere between the accept and the answer.
        tokio::task::yield_now().await;
        return 0;
    }
    let head = self::head(&mut stream).await.unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    // An upgrade that was declined leaves the connection open.
    if !upgrade {
        stream.read_to_end(&mut Vec::new()).await.ok();
    }
    status
}

/// Two workers before two servers whose requests end as their paths say, with everything bounded.
fn mixed() -> (Bowline, Vec<SocketAddr>) {
    let runtime = background();
    let listeners: Vec<_> =
        (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<_> = listeners.iter().map(|one| one.local_addr().unwrap()).collect();
    for listener in listeners {
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                tokio::spawn(outcome(listener.accept().await.unwrap().0));
            }
        });
    }
    let bowline = Bowline::with(&format!(
        "workers: 2\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
         routes: [ {{ name: r, upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\", \"{}\" ], health: {{ passive: {{ failures: 0 }} }}, \
         max_connections: {{ endpoint: 12, upstream: 20 }}, queue: {{ size: 6, wait: 10ms }}, \
         upgrades: {{ in_progress: 10, wait: 10ms }}, retries: {{ attempts: 2, budget: 20% }} }} }}\n",
        addresses[0], addresses[1]
    ));
    (bowline, addresses)
}

#[test]
fn counts_are_zero_again_after_ten_thousand_mixed_outcomes_over_two_workers() {
    const REQUESTS: usize = 10_000;
    let (bowline, addresses) = mixed();
    let address = bowline.address;
    let statuses = Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let next = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for seed in 0..48 {
            let next = Arc::clone(&next);
            clients.spawn(async move {
                let (mut dice, mut statuses) = (Dice(0x5851_f42d + seed), Vec::new());
                while next.fetch_add(1, Ordering::Relaxed) < REQUESTS {
                    let paths = [
                        "/upgrade", "/refuse", "/wrong", "/garbled", "/cut", "/silent", "/gone",
                        "/plain", "/ends",
                    ];
                    let path = paths[dice.below(paths.len())];
                    let upgrade = path == "/upgrade" || dice.below(2) == 0;
                    let leaves = path == "/silent" || dice.below(5) == 0;
                    statuses.push(request(address, path, upgrade, leaves).await);
                }
                statuses
            });
        }
        clients.join_all().await.concat()
    });
    let of = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    let told = [0, 101, 200, 403, 502, 503].map(|status| (status, of(status)));
    println!("{told:?}");
    assert_eq!(statuses.len(), REQUESTS);
    assert_eq!(told.iter().map(|(_, count)| count).sum::<usize>(), REQUESTS, "{told:?}");
    assert!(told.iter().all(|(_, count)| *count > 50), "each of them happened: {told:?}");
    bowline.wait_metric("bowline_connections", 0.0);
    for one in addresses {
        for kind in ["requests", "tunnels"] {
            bowline.wait_metric(&carried(one, kind), 0.0);
        }
    }
    // And the seats under the bounds are free, every one of them.
    let all: Vec<_> = (0..20)
        .map(|_| {
            let mut client = bowline.client();
            client.send(handshake("/upgrade", ""));
            assert!(client.head().starts_with("HTTP/1.1 101 "));
            client
        })
        .collect();
    let mut late = bowline.client();
    late.send(handshake("/upgrade", ""));
    assert_eq!(late.answer().status, 503);
    drop(all);
}
