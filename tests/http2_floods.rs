//! Clients of HTTP/2 that want to keep Bowline busy or its memory full: each is told why its connection ends,
//! is counted, and costs nobody else anything. The frames are made by hand: no library sends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/http2.rs"]
mod client;
mod support;

use std::io::Read;

use client::Http2;
use support::process::Process;
use support::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What one connection may make the process hold, with room for what allocators keep: KiB.
const GROWTH: u64 = 32 << 10;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The fields of a GET of `/`, or with `scheme` and `path` of anything.
fn get() -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84];
    block.extend(literal(0x01, None, "test.example"));
    block
}

/// A field that is indexed nowhere: by the number of its name, or with it.
fn literal(index: u8, name: Option<&str>, value: &str) -> Vec<u8> {
    let mut field = vec![index];
    for text in name.into_iter().chain([value]) {
        field.push(u8::try_from(text.len()).unwrap());
        field.extend(text.as_bytes());
    }
    field
}

/// A stream with a request that goes on.
fn open(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, block)
}

fn begin(bowline: &Process) -> Wire {
    let mut wire = bowline.client();
    wire.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
    wire
}

fn h2c(yaml: &str) -> String {
    yaml.replacen("address: 127.0.0.1:0", "address: 127.0.0.1:0, http2: prior_knowledge", 1)
}

/// The next frame: its kind, its stream, its payload.
fn next(wire: &mut Wire) -> Option<(u8, u32, Vec<u8>)> {
    let whole = |wire: &mut Wire, count| {
        while wire.ahead.len() < count {
            let mut block = [0; 4096];
            match wire.stream.read(&mut block) {
                Ok(0) | Err(_) => return false,
                Ok(read) => wire.ahead.extend_from_slice(&block[..read]),
            }
        }
        true
    };
    if !whole(wire, 9) {
        return None;
    }
    let length = u32::from_be_bytes([0, wire.ahead[0], wire.ahead[1], wire.ahead[2]]) as usize;
    if !whole(wire, 9 + length) {
        return None;
    }
    let bytes = wire.exactly(9 + length);
    let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap());
    Some((bytes[3], stream, bytes[9..].to_vec()))
}

/// Why the connection ends; everything before that is read.
fn farewell(wire: &mut Wire) -> u32 {
    while let Some((kind, _, payload)) = next(wire) {
        if kind == GOAWAY {
            return u32::from_be_bytes(payload[4..8].try_into().unwrap());
        }
    }
    panic!("the connection ended without a GOAWAY")
}

/// Sends the same over and over until nobody takes it any more, or `most` times; what comes meanwhile is read
/// at the end.
fn pour(wire: &mut Wire, most: usize, mut frame: impl FnMut(u32) -> Vec<u8>) {
    let mut number = 0;
    for _ in 0..most {
        // Many at once, as who wants to flood would.
        let mut bytes = Vec::new();
        while bytes.len() < 8 << 10 {
            number += 1;
            bytes.extend(frame(number));
        }
        if !wire.try_send(bytes) {
            return;
        }
    }
}

/// Every connection that floods in a way of its own is ended with that fault, while another one goes on.
fn is_ended(name: &str, fault: &str, flood: impl FnOnce(&mut Wire)) {
    let yaml = h2c(&config(&[node("one")], "admin: { address: 127.0.0.1:0 }"));
    let bowline = Process::start(&format!("http2_flood_{name}"), &yaml, None);
    let mut other = Http2::connect(bowline.address);
    assert_eq!(other.get("/").text(), "one");
    bowline.forget_peak();
    let before = bowline.memory("VmRSS");
    let mut wire = begin(&bowline);
    flood(&mut wire);
    assert_eq!(farewell(&mut wire), ENHANCE_YOUR_CALM, "{name}");
    let series = format!("bowline_http2_faults_total{{fault=\"{fault}\"}}");
    wait_for(&series, || bowline.metric(&series) == 1.0);
    let peak = bowline.memory("VmHWM");
    println!("{name}: {before} KiB before, {peak} at most");
    assert!(peak < before + GROWTH, "{before} KiB before, {peak} at most");
    assert_eq!(other.get("/").text(), "one");
    assert!(other.lives());
}

#[test]
fn a_head_in_continuations_without_end() {
    is_ended("continuations", "continuations", |wire| {
        wire.send(frame(HEADERS, END_STREAM, 1, &get()));
        let more = literal(0, Some("x-more"), "more");
        pour(wire, 1000, |_| frame(CONTINUATION, 0, 1, &more));
    });
    is_ended("empty_continuations", "continuations", |wire| {
        wire.send(frame(HEADERS, END_STREAM, 1, &get()));
        pour(wire, 1000, |_| frame(CONTINUATION, 0, 1, &[]));
    });
}

#[test]
fn streams_that_are_opened_and_reset() {
    is_ended("resets", "resets", |wire| {
        let block = get();
        pour(wire, 1000, |number| {
            let stream = number * 2 - 1;
            let cancel = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
            [open(stream, &block), cancel].concat()
        });
    });
}

#[test]
fn settings_and_pings_that_have_to_be_answered() {
    is_ended("settings", "settings", |wire| pour(wire, 1000, |_| frame(SETTINGS, 0, 0, &[])));
    is_ended("pings", "pings", |wire| pour(wire, 1000, |_| frame(PING, 0, 0, &[7; 8])));
}

#[test]
fn data_with_nothing_in_it() {
    is_ended("empty_data", "empty_data", |wire| {
        wire.send(open(1, &get()));
        pour(wire, 1000, |_| frame(DATA, 0, 1, &[]));
    });
}

#[test]
fn windows_that_open_a_byte_at_a_time_and_priorities_of_nothing() {
    is_ended("windows", "window_updates", |wire| {
        pour(wire, 1000, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    });
    is_ended("priorities", "others", |wire| {
        pour(wire, 1000, |number| frame(PRIORITY, 0, number * 2 + 1, &[0, 0, 0, 0, 1]));
    });
    is_ended("unknown", "others", |wire| pour(wire, 1000, |_| frame(0x5e, 0, 0, &[])));
}

#[test]
fn a_client_that_reads_nothing_of_what_it_asks_for_over_and_over() {
    let answers = Upstream::serving(|mut wire| {
        wire.head();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        while wire.try_send([0; 65536]) {}
    });
    let extra = "admin: { address: 127.0.0.1:0 }\ntimeouts: { body: 2s }";
    let bowline = Process::start("http2_flood_stalls", &h2c(&config(&[answers], extra)), None);
    bowline.forget_peak();
    let before = bowline.memory("VmRSS");
    let mut wire = bowline.client();
    // Windows of nothing: no byte of any answer may go out.
    let none = [0, 4, 0, 0, 0, 0];
    wire.send([PREFACE, &frame(SETTINGS, 0, 0, &none)].concat());
    for stream in 0..200 {
        wire.send(frame(HEADERS, END_HEADERS | END_STREAM, stream * 2 + 1, &get()));
    }
    // Each is reset, and the connection lives.
    let mut resets = 0;
    while resets < 200 {
        let (kind, ..) = next(&mut wire).expect("a reset");
        assert_ne!(kind, GOAWAY);
        resets += u32::from(kind == RST_STREAM);
    }
    let peak = bowline.memory("VmHWM");
    println!("stalls: {before} KiB before, {peak} at most");
    // A piece of each answer is held, 200 times.
    assert!(peak < before + 2 * GROWTH, "{before} KiB before, {peak} at most");
    let series = "bowline_http2_faults_total{fault=\"stalled\"}";
    wait_for(series, || bowline.metric(series) == 200.0);
    wire.send(frame(PING, 0, 0, &[1; 8]));
    while next(&mut wire).expect("the pong").0 != PING {}
}

#[test]
fn a_message_that_is_none_is_refused_on_its_stream() {
    let bowline = Process::start("http2_malformed", &h2c(&config(&[node("one")], "")), None);
    let mut wire = begin(&bowline);
    let field = |name, value| [get(), literal(0, Some(name), value)].concat();
    let blocks = [
        field("connection", "close"),
        field("transfer-encoding", "chunked"),
        field("upgrade", "websocket"),
        field("keep-alive", "1"),
        field("te", "gzip"),
        // A field's name is in lower case (RFC 9113 section 8.2.1), and pseudo-fields come first.
        [get(), vec![0x82]].concat(),
        // No `:path`.
        [vec![0x82, 0x86], literal(0x01, None, "test.example")].concat(),
    ];
    for (number, block) in (0_u32..).zip(&blocks) {
        let stream = number * 2 + 1;
        wire.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block));
        loop {
            let (kind, of, payload) = next(&mut wire).expect("a reset");
            assert_ne!(kind, GOAWAY, "{block:?}");
            if kind == RST_STREAM {
                assert_eq!((of, payload), (stream, PROTOCOL_ERROR.to_be_bytes().to_vec()));
                break;
            }
        }
    }
    // Content that is not as long as it says.
    let stream = 2 * blocks.len() as u32 + 1;
    let long = [get(), literal(0, Some("content-length"), "5")].concat();
    wire.send([open(stream, &long), frame(DATA, END_STREAM, stream, b"four")].concat());
    while next(&mut wire).expect("a reset").0 != RST_STREAM {}
    // The connection goes on.
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM, stream + 2, &get()));
    loop {
        let (kind, of, payload) = next(&mut wire).expect("an answer");
        if kind == DATA && of == stream + 2 && !payload.is_empty() {
            assert_eq!(payload, b"one");
            break;
        }
    }
}

#[test]
fn frames_that_break_the_protocol_end_the_connection_with_a_reason() {
    let extra = "admin: { address: 127.0.0.1:0 }";
    let bowline = Process::start("http2_broken", &h2c(&config(&[node("one")], extra)), None);
    for broken in [
        frame(DATA, 0, 1, b"of no stream"),
        frame(HEADERS, END_HEADERS, 2, &get()),
        frame(PING, 0, 0, b"short"),
    ] {
        let mut wire = begin(&bowline);
        wire.send(&broken);
        assert_ne!(farewell(&mut wire), 0, "{broken:?}");
    }
    let series = "bowline_http2_faults_total{fault=\"protocol\"}";
    wait_for(series, || bowline.metric(series) == 3.0);
}

#[test]
fn a_client_may_have_so_many_streams_and_no_more() {
    let upstream = Upstream::new();
    let yaml =
        h2c(&config(&[upstream.address], "")).replace("http2:", "limits: { streams: 3 }, http2:");
    let bowline = Bowline::with(&yaml);
    let mut wire = bowline.client();
    wire.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
    for stream in [1, 3, 5, 7] {
        wire.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &get()));
    }
    // RFC 9113 section 8.7: such a request may be sent again.
    loop {
        let (kind, stream, payload) = next(&mut wire).unwrap();
        if kind == RST_STREAM {
            assert_eq!((stream, payload), (7, vec![0, 0, 0, 7]));
            break;
        }
    }
    for _ in 0..3 {
        upstream.accept();
    }
    assert!(upstream.is_untouched());
}
