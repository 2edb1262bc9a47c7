//! A reader that stalls costs its sender the wait, and Bowline nothing: a gibibyte of messages behind it
//! adds nothing to Bowline's memory, and arrives whole once it is read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use support::process::Process;
use support::{BOUND, SWITCHING, Upstream, Wire, config, handshake};

/// Payload of one message.
const PAYLOAD: usize = 64 * 1024;
/// A gibibyte of them.
const MESSAGES: u64 = (1 << 30) / PAYLOAD as u64;
/// More than the kernel keeps for the sockets of one tunnel, and little beside a gibibyte.
const FEW: u64 = MESSAGES / 8;
/// Nothing is taken for so long: the sender is held up, and not only slowed down.
const HELD_UP: Duration = Duration::from_secs(1);
/// What Bowline may grow by, in KiB, with what its allocator keeps: a sixty-fourth of the stream. Of that
/// it takes a third, most of it with the first messages.
const GROWTH: u64 = 16 * 1024;

/// One message, whose payload is not that of another.
struct Message {
    bytes: Vec<u8>,
    /// Where its number is.
    number: usize,
}

impl Message {
    /// A client's, masked: what Bowline carries is compared as it travels.
    fn of_client() -> Self {
        Self::new(&[0x82, 0xff], &[0x5a, 0xc3, 0x17, 0x88])
    }

    fn of_upstream() -> Self {
        Self::new(&[0x82, 0x7f], &[])
    }

    fn new(first: &[u8], key: &[u8]) -> Self {
        let mut bytes = [first, &(PAYLOAD as u64).to_be_bytes(), key].concat();
        let number = bytes.len();
        // No piece of it repeats, so that bytes which were lost or moved do not go unseen.
        let mut state: u32 = 1;
        bytes.extend((0..PAYLOAD).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }));
        Self { bytes, number }
    }

    /// The message of a number.
    fn numbered(&mut self, number: u64) -> &[u8] {
        self.bytes[self.number..self.number + 8].copy_from_slice(&number.to_be_bytes());
        &self.bytes
    }
}

/// Sends all messages; says how many had gone when it was first held up, then goes on.
fn send(mut stream: TcpStream, mut message: Message, held_up: Sender<u64>) -> JoinHandle<()> {
    stream.set_write_timeout(Some(HELD_UP)).unwrap();
    thread::spawn(move || {
        for number in 0..MESSAGES {
            let mut rest = message.numbered(number);
            while !rest.is_empty() {
                match stream.write(rest) {
                    Ok(taken) => rest = &rest[taken..],
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        held_up.send(number).unwrap();
                        stream.set_write_timeout(Some(BOUND)).unwrap();
                    }
                    Err(error) => panic!("{error} in message {number}"),
                }
            }
        }
    })
}

/// Reads all messages; each must be the one that is due, byte for byte.
fn receive(wire: &mut Wire, mut message: Message) {
    assert!(wire.ahead.is_empty(), "nothing is sent before it is time");
    let mut came = vec![0; message.bytes.len()];
    for number in 0..MESSAGES {
        wire.stream.read_exact(&mut came).unwrap_or_else(|error| panic!("{error} in {number}"));
        assert!(came == message.numbered(number), "message {number} is not what was sent");
    }
}

fn open(name: &str) -> (Process, Wire, Wire) {
    let upstream = Upstream::new();
    // How long a reader may stall, and whether it is still there, are not asked here.
    let patient = "websocket: { write_timeout: off, heartbeat: { interval: off } }";
    let bowline = Process::start(name, &config(&[upstream.address], patient), None);
    let mut client = bowline.client();
    client.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    server.send(SWITCHING);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    (bowline, client, server)
}

/// Streams from one end into the other, which reads only once the sender has been held up.
fn stream_into_a_stalled_reader(
    name: &str,
    pick: fn(Wire, Wire) -> (Wire, Wire),
    of: fn() -> Message,
) {
    let (bowline, client, server) = open(name);
    let (sender, mut reader) = pick(client, server);
    bowline.forget_peak();
    let before = bowline.memory("VmRSS");
    let (held_up, stalled): (_, Receiver<u64>) = mpsc::channel();
    let sending = send(sender.stream.try_clone().unwrap(), of(), held_up);
    let gone = stalled.recv_timeout(BOUND).expect("the sender was never held up");
    assert!(gone < FEW, "{gone} messages of {MESSAGES} were taken for a reader that is stalled");
    let meanwhile = bowline.memory("VmRSS");
    receive(&mut reader, of());
    sending.join().unwrap();
    let peak = bowline.memory("VmHWM");
    println!(
        "KiB: {before} before, {meanwhile} while stalled after {gone} messages, {peak} at most"
    );
    assert!(peak < before + GROWTH, "{before} KiB before, {peak} at most");
}

#[test]
fn a_gibibyte_into_a_stalled_client_leaves_memory_flat_and_arrives_whole() {
    let pick = |client, server| (server, client);
    stream_into_a_stalled_reader("stalled_client", pick, Message::of_upstream);
}

#[test]
fn a_gibibyte_into_a_stalled_upstream_leaves_memory_flat_and_arrives_whole() {
    let pick = |client, server| (client, server);
    stream_into_a_stalled_reader("stalled_upstream", pick, Message::of_client);
}
