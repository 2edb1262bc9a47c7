//! Tunnels over in-memory streams and a paused clock.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::LocalSet;

use super::*;

/// Bytes, not frames.
pub(super) const LIMITS: Limits = Limits {
    frames: None,
    idle: None,
    half_close: Duration::from_secs(30),
    write: Some(Duration::from_secs(60)),
    close: Duration::from_secs(5),
    tell_loss: true,
    pulses: Pulses { client: None, upstream: None },
    client_rate: None,
    upstream_rate: None,
};

impl Stream for DuplexStream {
    const DROP_IS_FIN: bool = true;

    fn give_up_after(&self, _: Duration) {}
}

pub(super) struct Ends {
    pub(super) client: DuplexStream,
    pub(super) upstream: DuplexStream,
    pub(super) tunnel: tokio::task::JoinHandle<Ended>,
    pub(super) roster: Rc<Roster>,
}

pub(super) fn open(buffer: usize, limits: Limits, ahead: (&[u8], &[u8])) -> Ends {
    let (client, client_far) = duplex(buffer);
    let (upstream, upstream_far) = duplex(buffer);
    let roster = Rc::new(Roster::default());
    let tunnel = Tunnel::new(
        Leg { stream: client_far, read_ahead: ahead.0.to_vec() },
        Leg { stream: upstream_far, read_ahead: ahead.1.to_vec() },
        Arc::new(limits),
        Extensions::None,
        roster.enter(Labels::default()),
        (),
    );
    Ends { client, upstream, tunnel: tokio::task::spawn_local(tunnel), roster }
}

pub(super) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(LocalSet::new().run_until(test));
}

#[test]
fn bytes_read_ahead_come_first_and_once_on_both_sides() {
    run(async {
        let mut ends = open(64, LIMITS, (b"early-up ", b"early-down "));
        ends.client.write_all(b"up").await.unwrap();
        ends.upstream.write_all(b"down").await.unwrap();
        ends.client.shutdown().await.unwrap();
        ends.upstream.shutdown().await.unwrap();
        let (mut up, mut down) = (String::new(), String::new());
        ends.upstream.read_to_string(&mut up).await.unwrap();
        ends.client.read_to_string(&mut down).await.unwrap();
        assert_eq!((up.as_str(), down.as_str()), ("early-up up", "early-down down"));
        let ended = ends.tunnel.await.unwrap();
        assert_eq!((ended.reason, ended.closer), (Reason::Closed, Closer::Client));
        assert_eq!((ended.to_upstream, ended.to_client), (11, 15));
        assert!(ends.roster.is_empty());
    });
}

#[test]
fn a_slow_reader_gets_every_byte_in_order() {
    run(async {
        let mut ends = open(1000, LIMITS, (b"", b""));
        let sent: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        let (mut client, expected) = (ends.client, sent.clone());
        let writer = tokio::task::spawn_local(async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            client
        });
        let mut got = Vec::new();
        ends.upstream.read_to_end(&mut got).await.unwrap();
        assert!(got == expected, "{} bytes arrived", got.len());
        drop(ends.upstream);
        writer.await.unwrap();
        assert_eq!(ends.tunnel.await.unwrap().to_upstream, 300_000);
    });
}

#[test]
fn a_late_reply_after_the_clients_fin_arrives_whole() {
    run(async {
        let mut ends = open(4096, LIMITS, (b"", b""));
        ends.client.shutdown().await.unwrap();
        for _ in 0..20 {
            // Each pause is shorter than half_close; together they are far longer.
            tokio::time::sleep(Duration::from_secs(20)).await;
            ends.upstream.write_all(b"part").await.unwrap();
        }
        ends.upstream.shutdown().await.unwrap();
        let mut got = String::new();
        ends.client.read_to_string(&mut got).await.unwrap();
        assert_eq!(got.len(), 80);
        assert_eq!(ends.tunnel.await.unwrap().reason, Reason::Closed);
    });
}

#[test]
fn a_fin_that_is_not_answered_ends_by_the_half_close_timer() {
    run(async {
        for closer in [Closer::Client, Closer::Upstream] {
            let mut ends = open(64, LIMITS, (b"", b""));
            let began = Instant::now();
            match closer {
                Closer::Client => ends.client.shutdown().await.unwrap(),
                _ => ends.upstream.shutdown().await.unwrap(),
            }
            let ended = (&mut ends.tunnel).await.unwrap();
            assert_eq!((ended.reason, ended.closer), (Reason::HalfClose, closer));
            assert_eq!(began.elapsed().as_secs(), 30);
        }
    });
}

#[test]
fn idle_counts_from_the_last_byte_in_either_direction() {
    run(async {
        let limits = Limits { idle: Some(Duration::from_secs(60)), ..LIMITS };
        let mut ends = open(64, limits, (b"", b""));
        let began = Instant::now();
        let mut byte = [0];
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            ends.client.write_all(b"x").await.unwrap();
            ends.upstream.read_exact(&mut byte).await.unwrap();
        }
        let ended = ends.tunnel.await.unwrap();
        assert_eq!((ended.reason, ended.closer), (Reason::Idle, Closer::Bowline));
        assert_eq!(began.elapsed().as_secs(), 310);
    });
}

#[test]
fn without_an_idle_limit_a_quiet_tunnel_lives_for_days() {
    run(async {
        let mut ends = open(64, LIMITS, (b"", b""));
        tokio::time::sleep(Duration::from_secs(7 * 24 * 3600)).await;
        ends.upstream.write_all(b"x").await.unwrap();
        let mut byte = [0];
        ends.client.read_exact(&mut byte).await.unwrap();
        assert!(!ends.tunnel.is_finished());
    });
}

#[test]
fn a_cut_ends_a_stalled_tunnel_at_once() {
    run(async {
        let mut ends = open(16, LIMITS, (b"", b""));
        ends.client.write_all(&[1; 40]).await.unwrap();
        assert_eq!(ends.roster.len(), 1);
        ends.roster.cut_all();
        let ended = (&mut ends.tunnel).await.unwrap();
        assert_eq!((ended.reason, ended.closer), (Reason::Drain, Closer::Bowline));
        assert!(ends.roster.is_empty());
    });
}

#[test]
fn a_vanished_peer_is_named() {
    run(async {
        let ends = open(64, LIMITS, (b"", b""));
        let Ends { client, upstream, tunnel, .. } = ends;
        drop(upstream);
        let mut client = client;
        // The FIN is passed on; the write behind it meets a broken pipe.
        client.write_all(b"into the void").await.unwrap();
        let ended = tunnel.await.unwrap();
        assert_eq!(ended.closer, Closer::Upstream);
        assert_eq!(ended.to_upstream, 0);
    });
}

#[test]
fn an_idle_tunnel_is_small() {
    // Memory per idle socket is a promise; this number may only fall.
    let size = size_of::<Tunnel<tokio::net::TcpStream, tokio::net::TcpStream, ()>>();
    assert!(size <= 432, "{size} bytes");
}
