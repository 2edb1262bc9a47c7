//! Each target over its corpus, and over 20,000 changes of it: the same ones in every run.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bowline::tunnel::fuzzing::Seen;
use bowline::upstream::check_fuzzing::Told;
use bowline_fuzz::{
    answer, certificate, check_frames, configuration, frames, open_packet, path, proxy_protocol,
    request_head, switching_answer,
};

const CHANGES: usize = 20_000;

/// No entry grows past this, or the run does.
const LARGEST: usize = 16 << 10;

type Corpus = Vec<(String, Vec<u8>)>;

fn corpus(name: &str) -> Corpus {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut corpus = Vec::new();
    for entry in fs::read_dir(&folder).expect("the corpus is there") {
        let path = entry.expect("a readable folder").path();
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        // A fuzzing run leaves its finds here too, by a hash; they are not part of this test.
        if file.len() != 40 {
            corpus.push((file, fs::read(path).expect("a readable file")));
        }
    }
    // The order of a folder is the file system's.
    corpus.sort();
    assert!(corpus.len() >= 20, "{name} has {} entries", corpus.len());
    corpus
}

/// SplitMix64: enough for this, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Below `bound`, which is at least 1.
    fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Bytes and words on which parsers of text decide.
const WORDS: [&[u8]; 33] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\"",
    b"=",
    b"\xff",
    b"\xc3\xa9",
    b"chunked",
    b"Host: b\r\n",
    b"Content-Length: 1\r\n",
    b"Connection: ",
    b"Upgrade",
    b"websocket",
    b"HTTP/1.0",
    b"HTTP/1.1 200 OK\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
    b"- ",
    b": ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"${A}",
    b"&a ",
    b"*a",
    b"#",
];

/// Frames and beginnings of frames.
const FRAMES: [&[u8]; 19] = [
    b"\x81\x02hi",
    b"\x81\x82\0\0\0\0hi",
    b"\x01\x01a",
    b"\x01\x81abcd ",
    b"\x00\x01b",
    b"\x00\x80abcd",
    b"\x80\x01c",
    b"\x80\x81abcd ",
    b"\x82\x00",
    b"\x82\x7e",
    b"\x82\xfe\x01\x00",
    b"\x82\x7f\0\0\0\0\0\0",
    b"\x82\xff\0\0\0\0\0\x01\0\0",
    b"\x89\x01p",
    b"\x89\x80abcd",
    b"\x8a\x02!t",
    b"\x8a\x82\0\0\0\0!t",
    b"\x88\x02\x03\xe8",
    b"\x88\x82\0\0\0\0\x03\xe8",
];

/// Pieces of headers of the PROXY protocol.
const PROXIES: [&[u8]; 14] = [
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN",
    b"192.0.2.7 ",
    b"::1 ",
    b" 4711",
    b"\r\n",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x21\x11\0\x0c",
    b"\x20\0\0\0",
    b"\x03\0\x04",
    b"\x20\0\x05\x01\0\0\0\0",
    b"\x04\0\0",
];

/// Pieces of paths.
const PATHS: [&[u8]; 16] = [
    b"/", b"//", b"/../", b"/./", b"..", b".", b"%2e", b"%2E%2e/", b"%2f", b"%5C", b"\\", b";a=b",
    b"%25", b"%61", b"admin", b"%c3%a4",
];

fn change(dice: &mut Dice, words: &[&[u8]], corpus: &Corpus) -> Vec<u8> {
    let mut data = dice.pick(corpus).1.clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(data.len() + 1);
        let end = (at + dice.below(16)).min(data.len());
        match dice.below(8) {
            0 if at < data.len() => data[at] = dice.roll() as u8,
            1 if at < data.len() => data[at] ^= 1 << dice.below(8),
            2 => drop(data.drain(at..end)),
            3 => data.insert(at, dice.roll() as u8),
            4 | 5 => {
                let word = *dice.pick(words);
                data.splice(at..at, word.iter().copied());
            }
            // A piece once more, somewhere else.
            6 => {
                let piece = data[at..end].to_vec();
                let to = dice.below(data.len() + 1);
                data.splice(to..to, piece);
            }
            // The rest of another entry.
            _ => {
                let other = &dice.pick(corpus).1;
                let from = dice.below(other.len() + 1);
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
        }
    }
    data.truncate(LARGEST);
    data
}

fn run(name: &str, seed: u64, words: &[&[u8]], check: fn(&[u8])) {
    let corpus = corpus(name);
    for (file, data) in &corpus {
        held(&format!("{name}/{file}"), data, check);
    }
    let mut dice = Dice(seed);
    for number in 0..CHANGES {
        let data = change(&mut dice, words, &corpus);
        held(&format!("{name}, change {number}"), &data, check);
    }
}

/// Runs a target; when it panics, shows for which bytes.
fn held(what: &str, data: &[u8], check: fn(&[u8])) {
    if catch_unwind(AssertUnwindSafe(|| check(data))).is_err() {
        panic!("{what}: b\"{}\"", data.escape_ascii());
    }
}

#[test]
fn any_request_head_is_refused_or_means_one_thing() {
    run("request_head", 1, &WORDS, request_head::check);
}

#[test]
fn any_answer_to_a_handshake_is_refused_or_answers_it() {
    run("switching_answer", 2, &WORDS, switching_answer::check);
}

#[test]
fn any_configuration_is_served_or_told_its_mistakes() {
    run("configuration", 3, &WORDS, configuration::check);
}

#[test]
fn any_answer_is_refused_or_read_in_one_way_however_it_is_cut() {
    run("answer", 4, &WORDS, answer::check);
}

#[test]
fn any_stream_of_frames_is_told_as_another_decoder_tells_it_however_it_is_cut() {
    run("frames", 5, &FRAMES, frames::check);
}

#[test]
fn any_frames_of_a_checked_server_are_refused_or_read_in_one_way_however_they_are_cut() {
    run("check_frames", 6, &FRAMES, check_frames::check);
}

#[test]
fn any_answer_gives_out_one_session_or_none_however_it_is_cut() {
    run("open_packet", 7, &WORDS, open_packet::check);
}

#[test]
fn any_proxy_header_is_refused_or_names_whom_it_names_however_it_is_cut() {
    run("proxy_protocol", 8, &PROXIES, proxy_protocol::check);
}

#[test]
fn any_path_is_refused_or_has_one_form() {
    run("path", 9, &PATHS, path::check);
}

#[test]
fn any_certificate_is_none_or_is_told_in_one_line() {
    run("certificate", 10, &WORDS, certificate::check);
}

#[test]
fn the_targets_see_what_they_are_meant_to() {
    let of = |corpus: &Corpus, name: &str| {
        corpus.iter().find(|(file, _)| file == name).expect("it is in the corpus").1.clone()
    };
    let paths = corpus("path");
    for (name, form) in [
        ("dots", Some("/admin")),
        ("escaped", Some("/admin")),
        ("slashes", Some("/admin")),
        ("above", None),
        ("nul", None),
        ("no-escape", None),
    ] {
        assert_eq!(path::read(&of(&paths, name)).as_deref(), form, "{name}");
    }
    let heads = corpus("request_head");
    for (name, accepted) in [
        ("get", 1),
        ("pipelined", 3),
        ("post-length", 1),
        ("post-chunked", 1),
        ("websocket", 1),
        ("absolute-form", 1),
        ("http10", 1),
        ("same-lengths", 1),
        // hyper lets the length go and closes behind the chunks: one meaning.
        ("length-and-chunked", 1),
        ("two-hosts", 0),
        ("no-host", 0),
        ("two-lengths", 0),
        ("length-plus", 0),
        ("websocket-with-length", 0),
        ("websocket-two-keys", 0),
        ("authority-form", 0),
        ("obs-fold", 0),
        ("nul", 0),
        ("host-bad-port", 0),
        ("connection-names-host", 0),
    ] {
        assert_eq!(request_head::served(&of(&heads, name)), accepted, "{name}");
    }
    for (file, data) in corpus("open_packet") {
        assert_eq!(open_packet::heard(&data), file.starts_with("right"), "{file}");
    }
    for (file, data) in corpus("switching_answer") {
        // Legal for hyper and harmless: the head that the client gets is Bowline's own.
        let taken = ["with-length", "with-chunks", "http10", "empty-reason", "bare-lf"];
        let after_another = ["continue-first", "early-hints-first"];
        let right = file.starts_with("right")
            || taken.contains(&file.as_str())
            || after_another.contains(&file.as_str());
        assert_eq!(switching_answer::passed(&data), right, "{file}");
    }
    for (file, data) in corpus("answer") {
        let content = match file.as_str() {
            "length" => Some("hello"),
            "length-then-next" | "length-said-often" => Some("hi"),
            "chunked" => Some("abc0123456789"),
            "chunked-in-capitals" => Some("a"),
            "chunked-extensions" | "chunked-then-next" | "chunked-then-cr" => Some("hi"),
            "chunked-trailers" | "chunked-trailers-bare-lf" | "chunked-trailers-framing" => {
                Some("hi")
            }
            "until-close" => Some("to the end\r\n\r\n"),
            "until-close-http10" => Some("old"),
            "length-zero" | "chunked-empty" | "until-close-empty" => Some(""),
            "head-length" | "head-length-and-content" | "head-chunked" => Some(""),
            "no-content" | "not-modified" | "switching" => Some(""),
            "continue-first" | "hints-first" | "interim-with-length" => Some("hi"),
            "bare-lf" | "empty-lines-first" | "values" | "hundred-fields" | "long-head" => {
                Some("hi")
            }
            "no-reason" | "reason-of-its-own" | "reason-not-ascii" => Some("hi"),
            _ => None,
        };
        let content = content.map(|content| content.as_bytes().to_vec());
        assert_eq!(answer::content(&data), content, "{file}");
    }
    for (file, data) in corpus("frames") {
        let code = match file.as_str() {
            "frame-at-limit" | "frame-over-limit-tolerated" => Some(1009),
            "message-at-limit" | "message-over-limit-with-ping" | "two-largest-in-a-message" => {
                Some(1009)
            }
            "length-two-bytes-too-long" | "length-eight-bytes-too-long" | "length-top-bit" => {
                Some(1002)
            }
            "rsv1" | "rsv2" | "rsv3" | "deflate-rsv1-continued" | "deflate-rsv1-ping" => Some(1002),
            "deflate-rsv2" | "opcode-3" | "opcode-7" | "opcode-11" | "opcode-15" => Some(1002),
            "unmasked-client" | "masked-upstream" | "two-faults" | "text-of-http" => Some(1002),
            "continuation-of-nothing" | "message-within-another" => Some(1002),
            "ping-126" | "ping-in-fragments" => Some(1002),
            "close-one-byte" | "close-0" | "close-999" | "close-1005" | "close-1006" => Some(1002),
            "close-1015" | "close-5000" | "close-65535" => Some(1002),
            _ => None,
        };
        let (_, offence) = frames::told(&data).expect("its terms are whole");
        assert_eq!(offence.map(|(code, _)| code), code, "{file}");
    }
    for (file, data) in corpus("certificate") {
        assert_eq!(certificate::told(&data).is_some(), file.starts_with("right"), "{file}");
    }
    for (file, data) in corpus("proxy_protocol") {
        let told = proxy_protocol::told(&data);
        assert_eq!(told.is_some(), file.starts_with("right"), "{file}: {told:?}");
        let named = told.is_some_and(|told| told.source.is_some());
        assert_eq!(named, file.starts_with("right-client"), "{file}: {told:?}");
    }
    let seen = |name| frames::told(&of(&corpus("frames"), name)).expect("terms").0;
    let pong = |payload: &str| Seen::Pong(payload.as_bytes().to_vec());
    assert_eq!(
        seen("control-between-fragments"),
        [Seen::Ping, pong("here"), pong("!ours"), Seen::Message(13), Seen::Message(4)]
    );
    let last = [Seen::Ping, pong("pong"), Seen::Message(3), Seen::Close(Some(1000))];
    let every = [&[Seen::Message(4), Seen::Message(3)], &last[..]].concat();
    assert_eq!((seen("client-every-kind"), seen("upstream-every-kind")), (every.clone(), every));
    for (file, data) in corpus("check_frames") {
        let (told, right) = check_frames::said(&data);
        let wrong = ["too-large", "masked", "in-parts", "reserved", "opcode", "http"];
        assert_eq!(right, !wrong.iter().any(|wrong| file.contains(wrong)), "{file}");
        let pongs = told.iter().filter(|told| matches!(told, Told::Pong(_))).count();
        let expected = match file.as_str() {
            "pong-twice" => 2,
            "close" | "close-empty" | "binary-endless" => 0,
            _ if !right || file.contains("cut") || file == "half-a-header" => 0,
            "nothing" => 0,
            _ => 1,
        };
        assert_eq!(pongs, expected, "{file}");
    }
    for (file, data) in corpus("configuration") {
        if ["small", "shortest", "first-config", "crlf"].contains(&file.as_str()) {
            assert_eq!(configuration::mistakes(&data), 0, "{file}");
        }
    }
}
