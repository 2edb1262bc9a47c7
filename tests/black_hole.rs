//! A client whose network swallows everything, as behind a closed lid: no FIN, no reset, no error. Both
//! ends of the line are network namespaces of this test's own, which have no name and end with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::process;
use std::thread;
use std::time::{Duration, Instant};

use support::network::Network;
use support::process::Process;
use support::{SWITCHING, Upstream, Wire, handshake, wait_for};

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(1);
/// For a busy machine: what is due is done, and read here.
const SLACK: Duration = Duration::from_millis(500);

/// Two networks with one line between them.
fn line() -> (Network, Network) {
    let (near, far) = (Network::new(), Network::new());
    let there = format!("/proc/{}/fd/{}", process::id(), far.descriptor());
    near.ip(&format!("link add line type veth peer name line netns {there}"));
    for (network, address) in [(&near, "192.0.2.1/30"), (&far, "192.0.2.2/30")] {
        network.ip(&format!("address add {address} dev line"));
        network.ip("link set line up");
    }
    (near, far)
}

/// Bowline and its upstream at one end of the line.
fn serve(near: &Network) -> (Process, Upstream) {
    near.within(|| {
        let upstream = Upstream::new();
        let yaml = format!(
            "workers: 1\nlisteners: [ {{ address: \"192.0.2.1:0\" }} ]\n\
             routes: [ {{ upstream: up }} ]\n\
             upstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n\
             websocket: {{ heartbeat: {{ interval: {INTERVAL:?}, timeout: {TIMEOUT:?} }} }}\n",
            upstream.address
        );
        (Process::start("black_hole", &yaml, None), upstream)
    })
}

/// A Close or a ping of Bowline's: its first byte and its payload, still masked for an upstream.
fn control(wire: &mut Wire) -> (u8, Vec<u8>) {
    let header = wire.exactly(2);
    let key = if header[1] & 0x80 == 0 { vec![0; 4] } else { wire.exactly(4) };
    let payload = wire.exactly(usize::from(header[1] & 0x7f));
    (header[0], payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect())
}

/// An upstream that answers pings and the Close: when each end came, and the Close's code.
fn answer_all(mut wire: Wire) -> (Instant, Instant, u16) {
    loop {
        match control(&mut wire) {
            (0x89, tag) => wire.send([&[0x8a, 8][..], &tag].concat()),
            (0x88, told) => {
                let at = Instant::now();
                wire.send([&[0x88, 2][..], &told[..2]].concat());
                assert_eq!(wire.rest(), b"");
                return (at, Instant::now(), u16::from_be_bytes([told[0], told[1]]));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
#[ignore = "makes network namespaces: takes root and iproute2; ./test runs it where it can"]
fn an_upstream_is_told_in_time_that_its_client_was_swallowed() {
    let (near, far) = line();
    let (bowline, upstream) = serve(&near);
    let mut client = far.within(|| bowline.client());
    client.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    server.send(SWITCHING);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    let serving = thread::spawn(move || answer_all(server));

    // As long as it answers it may be quiet for longer than a silent one would live.
    let began = Instant::now();
    while began.elapsed() < INTERVAL + TIMEOUT + SLACK {
        let (first, tag) = control(&mut client);
        assert_eq!(first, 0x89, "{tag:?}");
        client.send([&[0x8a, 0x88, 0, 0, 0, 0][..], &tag].concat());
    }
    let cut = Instant::now();
    far.ip("link set line down");

    let (told, ended, code) = serving.join().unwrap();
    assert_eq!(code, 1001);
    println!("told {:?} and ended {:?} after the cut", told - cut, ended - cut);
    assert!(ended - cut < INTERVAL + TIMEOUT + SLACK, "{:?}", ended - cut);
    let mut accessed = String::new();
    wait_for("the line of the end", || {
        accessed = bowline.accessed();
        accessed.contains("tunnel closed") && accessed.ends_with('\n')
    });
    let line = accessed.lines().find(|line| line.contains("tunnel closed")).unwrap();
    for said in ["reason=\"heartbeat\"", "closer=\"bowline\"", "code=1001"] {
        assert!(line.contains(said), "{said} is not in {line}");
    }
}
