//! How tunnels that look at frames end, and why: closes, heartbeats, limits, the drain.

use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::super::tests::{Ends, LIMITS, open, run};
use super::super::{
    Extensions, Labels, Leg, Limits, Pace, Pulse, Pulses, Rate, Roster, Rules, Tunnel,
};
use super::*;

const FRAMES: Limits = Limits {
    frames: Some(Rules { strict: true, max_frame: 50_000, max_message: 60_000 }),
    ..LIMITS
};

/// A frame of a client (masked with zeros, which shows its payload) or of an upstream.
fn frame(heading: Heading, first: u8, payload: &[u8]) -> Vec<u8> {
    let (bit, key) = match heading {
        Heading::ToUpstream => (0x80, &[0; 4][..]),
        Heading::ToClient => (0, &[][..]),
    };
    let length = match u8::try_from(payload.len()) {
        Ok(short @ ..126) => vec![bit | short],
        _ => [&[bit | 126][..], &u16::try_from(payload.len()).unwrap().to_be_bytes()].concat(),
    };
    [&[first][..], &length, key, payload].concat()
}

fn close(heading: Heading, code: u16) -> Vec<u8> {
    frame(heading, 0x88, &code.to_be_bytes())
}

/// Everything until the FIN: what stands before the last frame, and that one's code when it is a
/// Close.
async fn last_words(stream: &mut DuplexStream) -> (Vec<u8>, Option<u16>) {
    let mut bytes = Vec::new();
    // A reset ends it too.
    stream.read_to_end(&mut bytes).await.ok();
    let mut at = 0;
    while let Some(header) = frame::Header::read(&bytes[at..]) {
        let start = at + header.length;
        let end = start + header.payload as usize;
        if header.opcode == frame::CLOSE && end == bytes.len() {
            let mut payload = bytes[start..end].to_vec();
            frame::mask(&mut payload, header.key.unwrap_or_default());
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            return (bytes[..at].to_vec(), Some(code));
        }
        at = end.min(bytes.len());
    }
    (bytes, None)
}

use Heading::{ToClient, ToUpstream};

#[test]
fn a_close_and_its_answer_pass_and_are_what_the_end_is_called_by() {
    run(async {
        let ahead = frame(ToUpstream, 0x81, b"early");
        let mut ends = open(4096, FRAMES, (&ahead, b""));
        let words = [frame(ToUpstream, 0x82, &[7; 300]), close(ToUpstream, 4001)].concat();
        ends.client.write_all(&words).await.unwrap();
        let mut got = vec![0; ahead.len() + words.len()];
        ends.upstream.read_exact(&mut got).await.unwrap();
        assert_eq!(got, [ahead, words].concat());
        let answer = close(ToClient, 4001);
        ends.upstream.write_all(&answer).await.unwrap();
        ends.upstream.shutdown().await.unwrap();
        assert_eq!(last_words(&mut ends.client).await, (vec![], Some(4001)));
        ends.client.shutdown().await.unwrap();
        let ended = ends.tunnel.await.unwrap();
        assert_eq!((ended.reason, ended.closer), (Reason::Closed, Closer::Client));
        assert_eq!((ended.code, ended.messages_to_upstream), (Some(4001), 2));
    });
}

#[test]
fn a_close_with_a_fin_right_behind_it_is_over_with_its_answer() {
    run(async {
        let mut ends = open(4096, FRAMES, (b"", b""));
        // Both are there when the tunnel looks for the first time, as from a browser on HTTP/2.
        ends.client.write_all(&close(ToUpstream, 1000)).await.unwrap();
        ends.client.shutdown().await.unwrap();
        assert_eq!(last_words(&mut ends.upstream).await, (vec![], Some(1000)));
        let asked = tokio::time::Instant::now();
        ends.upstream.write_all(&close(ToClient, 1000)).await.unwrap();
        assert_eq!(last_words(&mut ends.client).await, (vec![], Some(1000)));
        let ended = ends.tunnel.await.unwrap();
        assert_eq!(
            (ended.reason, ended.closer, ended.code),
            (Reason::Closed, Closer::Client, Some(1000))
        );
        assert_eq!(asked.elapsed(), Duration::ZERO);
    });
}

#[test]
fn a_side_hears_that_the_other_one_is_gone() {
    run(async {
        for (gone, code) in [(Closer::Upstream, BAD_GATEWAY), (Closer::Client, GOING_AWAY)] {
            let Ends { mut client, mut upstream, tunnel, .. } = open(4096, FRAMES, (b"", b""));
            match gone {
                Closer::Upstream => {
                    upstream.write_all(&frame(ToClient, 0x81, b"last")).await.unwrap();
                    drop(upstream);
                    let (before, told) = last_words(&mut client).await;
                    assert_eq!((before, told), (frame(ToClient, 0x81, b"last"), Some(code)));
                    client.write_all(&close(ToUpstream, code)).await.unwrap();
                    drop(client);
                }
                _ => {
                    drop(client);
                    assert_eq!(last_words(&mut upstream).await, (vec![], Some(code)));
                    drop(upstream);
                }
            }
            let ended = tunnel.await.unwrap();
            assert_eq!((ended.reason, ended.closer), (Reason::Lost, gone));
            assert_eq!(ended.code, Some(code));
        }
    });
}

#[test]
fn a_loss_that_is_not_to_be_told_is_a_bare_fin() {
    run(async {
        let Ends { mut client, upstream, tunnel, .. } =
            open(4096, Limits { tell_loss: false, ..FRAMES }, (b"", b""));
        drop(upstream);
        assert_eq!(last_words(&mut client).await, (vec![], None));
        drop(client);
        assert_eq!(tunnel.await.unwrap().code, None);
    });
}

#[test]
fn an_offender_hears_1002_or_1009_and_the_other_side_a_close_of_its_own() {
    run(async {
        let long = frame(ToUpstream, 0x02, &[1; 50_000]);
        let more = frame(ToUpstream, 0x80, &[1; 20_000]);
        for (bad, passes, code, reason) in [
            (frame(ToClient, 0x81, b"unmasked"), 0, 1002, Reason::Protocol),
            (frame(ToUpstream, 0x83, b"reserved"), 0, 1002, Reason::Protocol),
            (frame(ToUpstream, 0x82, &[1; 50_001]), 0, 1009, Reason::TooBig),
            ([long.clone(), more].concat(), long.len(), 1009, Reason::TooBig),
        ] {
            let mut ends = open(1 << 20, FRAMES, (b"", b""));
            let fine = frame(ToUpstream, 0x81, b"fine");
            ends.client.write_all(&[&fine[..], &bad].concat()).await.unwrap();
            let upstream = tokio::task::spawn_local(async move {
                let mut got = vec![0; fine.len() + passes];
                ends.upstream.read_exact(&mut got).await.unwrap();
                let mut close_of_ours = [0; 8];
                ends.upstream.read_exact(&mut close_of_ours).await.unwrap();
                let header = frame::Header::read(&close_of_ours).unwrap();
                assert!(header.opcode == frame::CLOSE && header.key.is_some());
                ends.upstream.write_all(&close(ToClient, GOING_AWAY)).await.unwrap();
                ends.upstream
            });
            assert_eq!(last_words(&mut ends.client).await, (vec![], Some(code)));
            drop(ends.client);
            let ended = ends.tunnel.await.unwrap();
            assert_eq!((ended.reason, ended.closer), (reason, Closer::Bowline));
            assert_eq!((ended.code, ended.messages_to_upstream), (Some(code), 1));
            drop(upstream.await.unwrap());
        }
    });
}

#[test]
fn a_close_of_ours_waits_for_the_end_of_the_frame_under_way() {
    run(async {
        let mut ends = open(4096, FRAMES, (b"", b""));
        let under_way = frame(ToClient, 0x82, &[5; 100]);
        ends.upstream.write_all(&under_way[..40]).await.unwrap();
        let mut got = vec![0; 40];
        ends.client.read_exact(&mut got).await.unwrap();
        for ticket in ends.roster.begin_closing(1012) {
            ends.roster.close(ticket, 1012);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let rest = [&under_way[40..], &frame(ToClient, 0x82, b"too late")].concat();
        ends.upstream.write_all(&rest).await.unwrap();
        ends.upstream.write_all(&close(ToClient, GOING_AWAY)).await.unwrap();
        let mut got = vec![0; under_way.len() - 40];
        ends.client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, under_way[40..]);
        ends.client.write_all(&close(ToUpstream, 1012)).await.unwrap();
        assert_eq!(last_words(&mut ends.client).await, (vec![], Some(1012)));
        drop(ends.client);
        assert_eq!(ends.tunnel.await.unwrap().reason, Reason::Drain);
    });
}

#[test]
fn a_close_of_ours_that_nobody_answers_ends_in_time() {
    run(async {
        let limits = Limits { idle: Some(Duration::from_secs(60)), ..FRAMES };
        let mut ends = open(4096, limits, (b"", b""));
        let began = Instant::now();
        let ended = (&mut ends.tunnel).await.unwrap();
        assert_eq!((ended.reason, ended.closer), (Reason::Idle, Closer::Bowline));
        assert_eq!((ended.code, began.elapsed().as_secs()), (Some(GOING_AWAY), 65));
        assert_eq!(last_words(&mut ends.client).await, (vec![], Some(GOING_AWAY)));
        assert_eq!(last_words(&mut ends.upstream).await, (vec![], Some(GOING_AWAY)));
    });
}

#[test]
fn a_close_of_ours_never_stands_behind_a_peers() {
    run(async {
        let limits = Limits { idle: Some(Duration::from_secs(60)), ..FRAMES };
        let mut ends = open(4096, limits, (b"", b""));
        ends.client.write_all(&close(ToUpstream, 1000)).await.unwrap();
        let ended = (&mut ends.tunnel).await.unwrap();
        assert_eq!((ended.reason, ended.code), (Reason::HalfClose, Some(1000)));
        assert_eq!(last_words(&mut ends.upstream).await, (vec![], Some(1000)));
        assert_eq!(last_words(&mut ends.client).await, (vec![], Some(GOING_AWAY)));
    });
}

const PULSE: Pulse = Pulse { interval: Duration::from_secs(30), timeout: Duration::from_secs(10) };

/// Answers pings until the other side is silent for an hour; returns how many there were.
async fn answers_pings(mut stream: DuplexStream, heading: Heading) -> (usize, DuplexStream) {
    let mut pings = 0;
    let mut header = [0; 2];
    while stream.read_exact(&mut header).await.is_ok() && header[0] == 0x89 {
        pings += 1;
        let mut rest = vec![0; if header[1] & 0x80 == 0 { 8 } else { 12 }];
        stream.read_exact(&mut rest).await.unwrap();
        let keyed = rest.len() - 8;
        let (key, payload) = rest.split_at_mut(keyed);
        frame::mask(payload, (&*key).try_into().unwrap_or_default());
        stream.write_all(&frame(heading, 0x8a, payload)).await.unwrap();
        if pings == 100 {
            break;
        }
    }
    (pings, stream)
}

#[test]
fn quiet_sides_that_answer_live_for_ever_and_see_no_pong_of_the_other() {
    run(async {
        let pulses = Pulses { client: Some(PULSE), upstream: Some(PULSE) };
        let ends = open(4096, Limits { pulses, ..FRAMES }, (b"", b""));
        let began = Instant::now();
        let client = tokio::task::spawn_local(answers_pings(ends.client, ToUpstream));
        let upstream = tokio::task::spawn_local(answers_pings(ends.upstream, ToClient));
        let (asked_client, client) = client.await.unwrap();
        let (asked_upstream, upstream) = upstream.await.unwrap();
        assert_eq!((asked_client, asked_upstream), (100, 100));
        assert_eq!(began.elapsed().as_secs(), 3000);
        assert!(!ends.tunnel.is_finished());
        drop((client, upstream));
    });
}

#[test]
fn a_side_that_does_not_answer_is_given_up_and_the_other_one_hears_of_it() {
    run(async {
        for (gone, code) in [(Closer::Client, GOING_AWAY), (Closer::Upstream, BAD_GATEWAY)] {
            let silent = Pulses {
                client: Some(PULSE).filter(|_| gone == Closer::Client),
                upstream: Some(PULSE).filter(|_| gone == Closer::Upstream),
            };
            let mut ends = open(4096, Limits { pulses: silent, ..FRAMES }, (b"", b""));
            let began = Instant::now();
            let (live, heading) = match gone {
                Closer::Client => (&mut ends.upstream, ToClient),
                _ => (&mut ends.client, ToUpstream),
            };
            let mut told = [0; 4];
            live.read_exact(&mut told).await.unwrap();
            assert_eq!(told[0], 0x88);
            assert_eq!(began.elapsed().as_secs(), 40);
            live.write_all(&close(heading, code)).await.unwrap();
            let ended = ends.tunnel.await.unwrap();
            assert_eq!((ended.reason, ended.closer), (Reason::Heartbeat, Closer::Bowline));
            assert_eq!(ended.code, Some(code));
            assert_eq!(began.elapsed().as_secs(), 40);
        }
    });
}

#[test]
fn pings_stand_between_frames_and_foreign_pongs_pass() {
    run(async {
        let pulses = Pulses { client: Some(PULSE), upstream: None };
        let mut ends = open(4096, Limits { pulses, ..FRAMES }, (b"", b""));
        let long = frame(ToClient, 0x82, &[5; 200]);
        ends.upstream.write_all(&long[..100]).await.unwrap();
        // The client is quiet while a frame to it is under way.
        tokio::time::sleep(Duration::from_secs(35)).await;
        ends.upstream.write_all(&long[100..]).await.unwrap();
        let foreign = frame(ToUpstream, 0x8a, b"8 bytes!");
        ends.client.write_all(&foreign).await.unwrap();
        let mut got = vec![0; long.len() + 10];
        ends.client.read_exact(&mut got).await.unwrap();
        assert_eq!(got[..long.len()], long);
        assert_eq!(got[long.len()..][..2], [0x89, 8]);
        let mut got = vec![0; foreign.len()];
        ends.upstream.read_exact(&mut got).await.unwrap();
        assert_eq!(got, foreign);
    });
}

/// Found by simulation.rs: when all that waited was taken at last, the second ping seemed to be out,
/// and was not even placed.
#[test]
fn a_ping_that_waits_is_not_taken_for_one_that_went_before() {
    run(async {
        let pulses = Pulses { client: Some(PULSE), upstream: None };
        let mut ends = open(64, Limits { pulses, ..FRAMES }, (b"", b""));
        let first = frame(ToClient, 0x82, &[1; 90]);
        let second = frame(ToClient, 0x82, &[2; 400]);
        ends.upstream.write_all(&first).await.unwrap();
        // The first ping waits behind the first frame; then the second frame takes its place.
        tokio::time::sleep(Duration::from_secs(31)).await;
        let (half, rest) = second.split_at(300);
        let half = half.to_vec();
        let mut upstream = ends.upstream;
        let writer = tokio::task::spawn_local(async move {
            upstream.write_all(&half).await.unwrap();
            upstream
        });
        let mut got = vec![0; first.len() + 10];
        ends.client.read_exact(&mut got).await.unwrap();
        let tag = &got[first.len() + 2..];
        ends.client.write_all(&frame(ToUpstream, 0x8a, tag)).await.unwrap();
        // The second ping waits for the end of the second frame, and nobody is to be gone for that.
        tokio::time::sleep(Duration::from_secs(31)).await;
        ends.client.read_exact(&mut [0; 300]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(300)).await;
        let mut upstream = writer.await.unwrap();
        upstream.write_all(rest).await.unwrap();
        let mut got = vec![0; rest.len() + 10];
        ends.client.read_exact(&mut got).await.unwrap();
        assert_eq!(got[rest.len()..][..2], [0x89, 8]);
        assert!(!ends.tunnel.is_finished());
    });
}

/// Found by simulation.rs: the heartbeat was forgotten once the other side had said Close.
#[test]
fn a_late_pong_ends_at_bowline_though_the_other_side_has_said_close() {
    run(async {
        let pulse = Pulse { interval: Duration::from_secs(2), timeout: Duration::from_secs(20) };
        let pulses = Pulses { client: Some(pulse), upstream: None };
        let mut ends = open(4096, Limits { pulses, ..FRAMES }, (b"", b""));
        let mut ping = [0; 10];
        ends.client.read_exact(&mut ping).await.unwrap();
        // Three seconds later the next ping would be due, and none may stand behind the Close.
        tokio::time::sleep(Duration::from_secs(1)).await;
        ends.client.write_all(&frame(ToUpstream, 0x81, b"here")).await.unwrap();
        ends.upstream.write_all(&close(ToClient, 1000)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let late = [frame(ToUpstream, 0x8a, &ping[2..]), close(ToUpstream, 1000)].concat();
        ends.client.write_all(&late).await.unwrap();
        ends.client.shutdown().await.unwrap();
        let said = (frame(ToUpstream, 0x81, b"here"), Some(1000));
        assert_eq!(last_words(&mut ends.upstream).await, said);
        drop((ends.upstream, ends.client));
        assert_eq!(ends.tunnel.await.unwrap().reason, Reason::Closed);
    });
}

#[test]
fn a_side_that_takes_nothing_is_not_waited_for_and_one_that_takes_a_little_is() {
    run(async {
        let mut ends = open(64, FRAMES, (b"", b""));
        let began = Instant::now();
        ends.upstream.write_all(&frame(ToClient, 0x82, &[1; 90])).await.unwrap();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            ends.client.read_exact(&mut [0; 1]).await.unwrap();
        }
        let mut told = [0; 8];
        ends.upstream.read_exact(&mut told).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 310);
        let header = frame::Header::read(&told).unwrap();
        frame::mask(&mut told[6..], header.key.unwrap());
        assert_eq!(told[6..], GOING_AWAY.to_be_bytes());
        let ended = ends.tunnel.await.unwrap();
        assert_eq!((ended.reason, ended.closer), (Reason::SlowConsumer, Closer::Bowline));
        assert_eq!((ended.code, began.elapsed().as_secs()), (Some(1008), 315));
    });
}

#[test]
fn an_old_tunnel_ends_with_1012_however_busy_it_is() {
    run(async {
        let (client, client_far) = duplex(4096);
        let (upstream, upstream_far) = duplex(4096);
        let roster = Rc::new(Roster::default());
        let tunnel = Tunnel::new(
            Leg { stream: client_far, read_ahead: Vec::new() },
            Leg { stream: upstream_far, read_ahead: Vec::new() },
            Arc::new(FRAMES),
            Extensions::None,
            roster.enter(Labels::default()),
            (),
        );
        let began = Instant::now();
        let tunnel = tokio::task::spawn_local(tunnel.retiring(Some(Duration::from_secs(3600))));
        let (mut client, mut upstream) = (client, upstream);
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(59)).await;
            client.write_all(&frame(ToUpstream, 0x81, b"busy")).await.unwrap();
            upstream.read_exact(&mut [0; 10]).await.unwrap();
        }
        assert_eq!(last_words(&mut client).await, (vec![], Some(1012)));
        assert_eq!(last_words(&mut upstream).await, (vec![], Some(1012)));
        assert_eq!(tunnel.await.unwrap().reason, Reason::MaxAge);
        assert_eq!(began.elapsed().as_secs(), 3605);
    });
}

#[test]
fn a_drain_reaches_who_is_here_and_who_still_comes() {
    run(async {
        let mut ends = open(4096, FRAMES, (b"", b""));
        let pace = Pace { spread: Duration::from_secs(20), code: 1012 };
        pace.close_all(&ends.roster).await;
        assert_eq!(last_words(&mut ends.client).await, (vec![], Some(1012)));
        let late = Tunnel::new(
            Leg { stream: duplex(64).0, read_ahead: Vec::new() },
            Leg { stream: duplex(64).0, read_ahead: Vec::new() },
            Arc::new(FRAMES),
            Extensions::None,
            ends.roster.enter(Labels::default()),
            (),
        );
        assert_eq!(late.await.reason, Reason::Drain);
        assert_eq!(ends.tunnel.await.unwrap().code, Some(1012));
        assert!(ends.roster.is_empty());
    });
}

#[test]
fn an_offender_still_gets_what_the_other_side_has_for_it() {
    run(async {
        let mut ends = open(4096, FRAMES, (b"", b""));
        let (question, answer) = (frame(ToUpstream, 0x81, b"?"), frame(ToClient, 0x81, b"!"));
        ends.client.write_all(&[&question[..], b"\x83\x80\0\0\0\0"].concat()).await.unwrap();
        let mut got = vec![0; question.len()];
        ends.upstream.read_exact(&mut got).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let last = [&answer[..], &close(ToClient, GOING_AWAY)].concat();
        ends.upstream.write_all(&last).await.unwrap();
        assert_eq!(last_words(&mut ends.client).await, (answer, Some(1002)));
        drop(ends.client);
        assert_eq!(ends.tunnel.await.unwrap().code, Some(1002));
    });
}

#[test]
fn an_offender_hears_its_close_even_when_the_other_side_never_answers() {
    run(async {
        let mut ends = open(4096, FRAMES, (b"", b""));
        let began = Instant::now();
        ends.client.write_all(b"\x83\x80\0\0\0\0").await.unwrap();
        assert_eq!(last_words(&mut ends.client).await, (vec![], Some(1002)));
        drop(ends.client);
        assert_eq!(ends.tunnel.await.unwrap().reason, Reason::Protocol);
        assert_eq!(began.elapsed().as_secs(), 10);
    });
}

#[test]
fn a_side_that_is_not_read_is_not_taken_for_dead() {
    run(async {
        let pulses = Pulses { client: None, upstream: Some(PULSE) };
        let mut ends = open(64, Limits { pulses, ..FRAMES }, (b"", b""));
        let began = Instant::now();
        // More than the client takes: the upstream's pongs wait behind it, unread.
        ends.upstream.write_all(&frame(ToClient, 0x82, &[1; 90])).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(ends.upstream);
        let pongs = tokio::task::spawn_local(async move {
            let mut ping = [0; 14];
            while reader.read_exact(&mut ping).await.is_ok() && ping[0] == 0x89 {
                let (head, tag) = ping.split_at_mut(6);
                frame::mask(tag, head[2..].try_into().unwrap());
                writer.write_all(&frame(ToClient, 0x8a, tag)).await.unwrap();
            }
        });
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            ends.client.read_exact(&mut [0; 1]).await.unwrap();
        }
        assert!(!ends.tunnel.is_finished(), "{:?}", began.elapsed());
        ends.client.read_exact(&mut [0; 82]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert!(!ends.tunnel.is_finished(), "{:?}", began.elapsed());
        pongs.abort();
    });
}

#[test]
fn pings_and_pongs_are_no_life_of_an_idle_tunnel() {
    run(async {
        let limits = Limits { idle: Some(Duration::from_secs(100)), ..FRAMES };
        let pulses = Pulses { client: Some(PULSE), upstream: Some(PULSE) };
        let ends = open(4096, Limits { pulses, ..limits }, (b"", b""));
        let began = Instant::now();
        let client = tokio::task::spawn_local(answers_pings(ends.client, ToUpstream));
        let upstream = tokio::task::spawn_local(answers_pings(ends.upstream, ToClient));
        let ended = ends.tunnel.await.unwrap();
        assert_eq!(ended.reason, Reason::Idle);
        assert_eq!(began.elapsed().as_secs(), 105);
        drop((client, upstream));
    });
}

/// Found by simulation.rs: a fragment that came whole in one read was no life of a tunnel, one that
/// came in two was.
#[test]
fn a_message_in_many_fragments_is_life_of_a_tunnel_before_it_ends() {
    run(async {
        let limits = Limits { idle: Some(Duration::from_secs(60)), ..FRAMES };
        let mut ends = open(4096, limits, (b"", b""));
        let began = Instant::now();
        for first in [0x02, 0x00, 0x00, 0x00] {
            let fragment = frame(ToUpstream, first, b"part");
            ends.client.write_all(&fragment).await.unwrap();
            ends.upstream.read_exact(&mut vec![0; fragment.len()]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(50)).await;
        }
        assert_eq!(ends.tunnel.await.unwrap().reason, Reason::Idle);
        assert_eq!(began.elapsed().as_secs(), 150 + 60 + 5);
    });
}

#[test]
fn a_stall_that_is_over_is_forgotten() {
    run(async {
        let mut ends = open(64, LIMITS, (b"", b""));
        ends.upstream.write_all(&[1; 100]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        ends.client.read_exact(&mut [0; 100]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(!ends.tunnel.is_finished());
    });
}

#[test]
fn a_close_that_nobody_answers_has_its_time_and_so_has_a_fin_behind_two() {
    run(async {
        let pulses = Pulses { client: Some(PULSE), upstream: Some(PULSE) };
        for both in [false, true] {
            let mut ends = open(4096, Limits { pulses, ..FRAMES }, (b"", b""));
            let began = Instant::now();
            ends.client.write_all(&close(ToUpstream, 1000)).await.unwrap();
            if both {
                ends.upstream.write_all(&close(ToClient, 1000)).await.unwrap();
            }
            let ended = ends.tunnel.await.unwrap();
            assert_eq!((ended.code, ended.closer), (Some(1000), Closer::Client));
            let (reason, after) = if both { (Reason::Closed, 30) } else { (Reason::HalfClose, 35) };
            assert_eq!((ended.reason, began.elapsed().as_secs()), (reason, after));
        }
    });
}

/// Twenty messages at once, ten a second after them.
fn rate(closes: bool) -> Option<Rate> {
    let messages = NonZeroU64::new(10);
    Some(Rate { messages, bytes: None, burst: Duration::from_secs(2), closes })
}

#[test]
fn a_client_over_its_rate_is_read_later_and_loses_nothing() {
    run(async {
        let limits = Limits { client_rate: rate(false), ..FRAMES };
        let mut ends = open(1 << 20, limits, (b"", b""));
        let said: Vec<u8> = (0..120).flat_map(|n| frame(ToUpstream, 0x81, &[n])).collect();
        let began = Instant::now();
        ends.client.write_all(&said).await.unwrap();
        let mut heard = vec![0; said.len()];
        ends.upstream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, said);
        // 20 at once, and a few more in the last read that was still allowed.
        let took = began.elapsed().as_millis();
        assert!((8_200..=10_000).contains(&took), "{took}");
        // The other way is as fast as ever.
        ends.upstream.write_all(&frame(ToClient, 0x81, b"so")).await.unwrap();
        ends.client.read_exact(&mut [0; 4]).await.unwrap();
        // 20 at once, and a few more in the last read that was still allowed.
        let took = began.elapsed().as_millis();
        assert!((8_200..=10_000).contains(&took), "{took}");
        drop(ends.client);
        drop(ends.upstream);
        assert_eq!(ends.tunnel.await.unwrap().messages_to_upstream, 120);
    });
}

#[test]
fn a_client_over_its_rate_is_ended_with_1008_where_that_is_asked_for() {
    run(async {
        let limits = Limits { client_rate: rate(true), ..FRAMES };
        let mut ends = open(1 << 20, limits, (b"", b""));
        for n in 0..20 {
            ends.client.write_all(&frame(ToUpstream, 0x81, &[n])).await.unwrap();
        }
        ends.upstream.read_exact(&mut [0; 20 * 7]).await.unwrap();
        ends.client.write_all(&frame(ToUpstream, 0x81, b"!")).await.unwrap();
        // The 21st has passed: it was over the rate only when it was there.
        assert_eq!(last_words(&mut ends.upstream).await.1, Some(1001));
        assert_eq!(last_words(&mut ends.client).await, (vec![], Some(1008)));
        let ended = ends.tunnel.await.unwrap();
        assert_eq!(
            (ended.reason, ended.closer, ended.code),
            (Reason::Rate, Closer::Bowline, Some(1008))
        );
    });
}

#[test]
fn bytes_have_a_rate_where_frames_have_no_meaning() {
    run(async {
        let bytes = NonZeroU64::new(10_000);
        let rate = Rate { messages: None, bytes, burst: Duration::from_secs(1), closes: false };
        let limits = Limits { upstream_rate: Some(rate), ..LIMITS };
        let mut ends = open(1 << 20, limits, (b"", b""));
        let began = Instant::now();
        ends.upstream.write_all(&vec![7; 110_000]).await.unwrap();
        ends.client.read_exact(&mut vec![0; 110_000]).await.unwrap();
        let took = began.elapsed().as_secs_f64();
        assert!((9.0..=10.1).contains(&took), "{took}");
        let limits = Limits { upstream_rate: Some(Rate { closes: true, ..rate }), ..LIMITS };
        let mut ends = open(1 << 20, limits, (b"", b""));
        ends.upstream.write_all(&vec![7; 10_001]).await.unwrap();
        assert_eq!(ends.tunnel.await.unwrap().reason, Reason::Rate);
    });
}

#[test]
fn the_kernel_gives_up_who_is_asked_no_sooner_than_bowline_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut legs = Vec::new();
        for _ in 0..2 {
            let far = TcpStream::connect(address).await.unwrap();
            legs.push((listener.accept().await.unwrap().0, far));
        }
        let [(client, mut client_far), (upstream, _upstream_far)] = legs.try_into().unwrap();
        let patience = |stream: &TcpStream| SockRef::from(stream).tcp_user_timeout().unwrap();
        let duplicate = |stream: &TcpStream| {
            let copy = SockRef::from(stream).try_clone().unwrap();
            move || copy.tcp_user_timeout().unwrap()
        };
        let (asked, quiet) = (duplicate(&client), duplicate(&upstream));
        assert_eq!(patience(&client), None);
        let short = Pulse { interval: Duration::from_millis(5), timeout: Duration::from_secs(9) };
        let pulses = Pulses { client: Some(short), upstream: None };
        let tunnel = Tunnel::new(
            Leg { stream: client, read_ahead: Vec::new() },
            Leg { stream: upstream, read_ahead: Vec::new() },
            Arc::new(Limits { pulses, ..FRAMES }),
            Extensions::None,
            Rc::new(Roster::default()).enter(Labels::default()),
            (),
        );
        tokio::task::spawn_local(tunnel);
        client_far.read_exact(&mut [0; 10]).await.unwrap();
        // The write bound is the longer one here.
        assert_eq!((asked(), quiet()), (Some(Duration::from_secs(60)), None));
    }));
}

fn bytes_rate(bytes: u64, closes: bool) -> Option<Rate> {
    let bytes = NonZeroU64::new(bytes);
    Some(Rate { messages: None, bytes, burst: Duration::from_secs(1), closes })
}

#[test]
fn a_feed_into_a_client_that_is_gone_ends() {
    run(async {
        let Ends { client, mut upstream, tunnel, .. } = open(4096, FRAMES, (b"", b""));
        drop(client);
        let began = Instant::now();
        while upstream.write_all(&frame(ToClient, 0x81, b"tick")).await.is_ok() {
            assert!(began.elapsed() < Duration::from_secs(60), "it lives for ever");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(tunnel.await.unwrap().closer, Closer::Client);
    });
}

#[test]
fn a_side_over_its_rate_finishes_its_frame_and_both_hear_why() {
    run(async {
        let limits = Limits { client_rate: bytes_rate(10_000, true), ..FRAMES };
        let mut ends = open(1 << 20, limits, (b"", b""));
        let mut client = ends.client;
        let began = Instant::now();
        let client = tokio::task::spawn_local(async move {
            for part in frame(ToUpstream, 0x82, &[1; 40_000]).chunks(5_000) {
                client.write_all(part).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let heard = frame(ToClient, 0x88, &[0; 2]).len();
            let mut close_of_ours = vec![0; heard];
            client.read_exact(&mut close_of_ours).await.unwrap();
            client.write_all(&close(ToUpstream, 1008)).await.unwrap();
            close_of_ours
        });
        let mut whole = vec![0; frame(ToUpstream, 0x82, &[1; 40_000]).len()];
        ends.upstream.read_exact(&mut whole).await.unwrap();
        ends.upstream.write_all(&close(ToClient, 1001)).await.unwrap();
        assert_eq!(last_words(&mut ends.upstream).await.1, Some(1001));
        assert_eq!(client.await.unwrap()[2..], 1008_u16.to_be_bytes());
        assert_eq!(ends.tunnel.await.unwrap().reason, Reason::Rate);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    });
}

#[test]
fn a_drain_waits_for_no_rate() {
    run(async {
        let limits = Limits { client_rate: bytes_rate(2000, false), ..FRAMES };
        let mut ends = open(1 << 20, limits, (b"", b""));
        ends.client.write_all(&frame(ToUpstream, 0x82, &[1; 12_400])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = Instant::now();
        for ticket in ends.roster.begin_closing(1012) {
            ends.roster.close(ticket, 1012);
        }
        ends.upstream.read_exact(&mut vec![0; 12_408]).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    });
}

#[test]
fn what_was_read_ahead_has_a_rate_too_and_nobody_is_unheard_for_minutes() {
    run(async {
        let ahead: Vec<u8> = (0..1300).flat_map(|_| frame(ToUpstream, 0x81, b"")).collect();
        let limits = Limits { client_rate: rate(false), ..FRAMES };
        let mut ends = open(1 << 20, limits, (&ahead, b""));
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut passed = vec![0; ahead.len()];
        let count = ends.upstream.read(&mut passed).await.unwrap() / 6;
        assert!((20..=43).contains(&count), "{count}");
    });
}

#[test]
fn a_client_that_kept_its_rate_is_not_ended_for_a_slow_upstream() {
    run(async {
        let (mut client, client_far) = duplex(1 << 20);
        let (mut upstream, upstream_far) = duplex(64);
        let roster = Rc::new(Roster::default());
        let tunnel = Tunnel::new(
            Leg { stream: client_far, read_ahead: Vec::new() },
            Leg { stream: upstream_far, read_ahead: Vec::new() },
            Arc::new(Limits { client_rate: rate(true), ..FRAMES }),
            Extensions::None,
            roster.enter(Labels::default()),
            (),
        );
        let tunnel = tokio::task::spawn_local(tunnel);
        for number in 0..100 {
            client.write_all(&frame(ToUpstream, 0x81, &[number])).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let mut all = vec![0; 100 * 7];
        upstream.read_exact(&mut all).await.unwrap();
        client.write_all(&close(ToUpstream, 1000)).await.unwrap();
        upstream.write_all(&close(ToClient, 1000)).await.unwrap();
        drop(upstream);
        assert_eq!(tunnel.await.unwrap().reason, Reason::Closed);
    });
}

#[test]
fn a_drain_behind_both_closes_changes_nobodys_last_word() {
    run(async {
        let mut ends = open(4096, FRAMES, (b"", b""));
        ends.client.write_all(&close(ToUpstream, 1000)).await.unwrap();
        ends.upstream.write_all(&close(ToClient, 1000)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        for ticket in ends.roster.begin_closing(1012) {
            ends.roster.close(ticket, 1012);
        }
        let ended = ends.tunnel.await.unwrap();
        assert_eq!((ended.reason, ended.closer), (Reason::Closed, Closer::Client));
        assert_eq!(ended.code, Some(1000));
    });
}
