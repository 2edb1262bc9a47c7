//! Streams of frames, whole and in pieces, right and wrong; tungstenite is the second opinion.

use proptest::collection::vec;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

use super::super::frame::LONGEST_HEADER;
use super::*;

/// What a meter is given.
#[derive(Clone, Copy)]
struct Terms {
    strict: bool,
    extensions: Extensions,
    max_frame: u64,
    max_message: u64,
}

impl Terms {
    fn rules(self) -> Rules {
        let Self { strict, max_frame, max_message, .. } = self;
        Rules { strict, max_frame, max_message }
    }
}

const STRICT: Terms = Terms {
    strict: true,
    extensions: Extensions::None,
    max_frame: u64::MAX,
    max_message: u64::MAX,
};

/// What was seen, without borrowing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Saw {
    Message(u64),
    Ping,
    Pong(Vec<u8>),
    Close(Option<u16>),
}

/// A direction's story: what went on, what was seen, what stopped it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Story {
    passed: Vec<u8>,
    saw: Vec<Saw>,
    offence: Option<Offence>,
    /// After each piece: how much had passed, and whether it ended with a whole frame.
    boundaries: Vec<(usize, bool)>,
}

impl Story {
    /// All but the marks that only pieces leave.
    fn whole(self) -> Self {
        Self { boundaries: Vec::new(), ..self }
    }
}

/// Feeds `pieces`; pongs whose payload begins with `!` are swallowed.
fn fed<'a>(terms: &Terms, heading: Heading, pieces: impl Iterator<Item = &'a [u8]>) -> Story {
    let mut meter = Meter::new(heading, terms.extensions);
    let mut story = Story::default();
    for piece in pieces {
        assert!(meter.carry().len() < LONGEST_HEADER + LONGEST_CONTROL as usize);
        let mut input = [meter.carry(), piece].concat();
        let scan = meter.scan(&terms.rules(), &mut input, |event| {
            let (saw, fate) = match event {
                Event::Message(bytes) => (Saw::Message(bytes), Fate::Pass),
                Event::Ping => (Saw::Ping, Fate::Pass),
                Event::Pong(payload) if payload.starts_with(b"!") => {
                    (Saw::Pong(payload.to_vec()), Fate::Swallow)
                }
                Event::Pong(payload) => (Saw::Pong(payload.to_vec()), Fate::Pass),
                Event::Close(code) => (Saw::Close(code), Fate::Pass),
            };
            story.saw.push(saw);
            fate
        });
        assert!(scan.boundary.is_none_or(|boundary| boundary <= scan.passed), "{scan:?}");
        story.passed.extend_from_slice(&input[..scan.passed]);
        story.boundaries.push((story.passed.len(), meter.at_boundary()));
        story.offence = scan.offence;
        if scan.offence.is_some() {
            break;
        }
    }
    story
}

fn whole(terms: &Terms, heading: Heading, stream: &[u8]) -> Story {
    fed(terms, heading, std::iter::once(stream)).whole()
}

/// A frame as a client sends it: with a key.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    framed(first, payload, Some([7, 0, 255, 1]))
}

fn framed(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let bit = if key.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(bit | short as u8),
        middle @ 126..65_536 => {
            frame.push(bit | 126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(bit | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let mut payload = payload.to_vec();
    if let Some(key) = key {
        frame.extend_from_slice(&key);
        mask(&mut payload, key);
    }
    frame.extend_from_slice(&payload);
    frame
}

#[test]
fn frames_messages_and_control_frames_are_told_in_order() {
    let stream = [
        frame(0x81, b"hello"),
        frame(0x01, b"one "),
        frame(0x89, b"are you there?"),
        frame(0x00, b"two "),
        frame(0x8a, b"here"),
        frame(0x80, b"three"),
        frame(0x82, &[0; 70_000]),
        frame(0x82, b""),
        frame(0x88, b"\x03\xe8bye"),
    ]
    .concat();
    let story = whole(&STRICT, Heading::ToUpstream, &stream);
    assert_eq!(story.passed, stream);
    assert_eq!(
        story.saw,
        [
            Saw::Message(5),
            Saw::Ping,
            Saw::Pong(b"here".to_vec()),
            Saw::Message(13),
            Saw::Message(70_000),
            Saw::Message(0),
            Saw::Close(Some(1000)),
        ]
    );
}

#[test]
fn a_swallowed_pong_leaves_no_trace_wherever_it_stands() {
    let (a, b, ours) = (frame(0x81, b"aaa"), frame(0x82, b"bb"), frame(0x8a, b"!tag"));
    for stream in [[&ours[..], &a, &b], [&a[..], &ours, &b], [&a[..], &b, &ours]] {
        let stream = stream.concat();
        for cut in 1..=stream.len() {
            let story = fed(&STRICT, Heading::ToUpstream, stream.chunks(cut));
            assert_eq!(story.passed, [&a[..], &b].concat(), "{cut}");
            assert_eq!(story.saw.len(), 3);
        }
    }
}

#[test]
fn what_has_passed_ends_at_a_frame_or_within_a_payload_never_within_a_header() {
    let stream = [frame(0x01, b"abc"), frame(0x89, b"ping"), frame(0x80, &[1; 300])].concat();
    let (first, second) = (frame(0x01, b"abc").len(), frame(0x89, b"ping").len());
    let story = fed(&STRICT, Heading::ToUpstream, stream.chunks(1));
    let at = |length| story.boundaries.iter().filter(move |(passed, _)| *passed == length);
    for (length, boundary) in [(0, true), (first, true), (first + second, true)] {
        assert!(at(length).all(|(_, at)| *at == boundary), "{length}");
    }
    // 6 bytes of header appear at once, control frames as a whole.
    assert_eq!(at(3).count() + at(first + 3).count() + at(first + second + 5).count(), 0);
    assert_eq!(story.boundaries.last(), Some(&(stream.len(), true)));
    assert!(at(7).all(|(_, boundary)| !boundary));
}

#[test]
fn the_first_boundary_is_where_another_frame_may_be_put() {
    let mut meter = Meter::new(Heading::ToUpstream, Extensions::None);
    let (a, b) = (frame(0x82, &[9; 50]), frame(0x82, &[8; 50]));
    let mut none = |_: Event<'_>| Fate::Pass;
    let scan = meter.scan(&STRICT.rules(), &mut a[..20].to_vec(), &mut none);
    assert_eq!((scan.passed, scan.boundary), (20, Some(0)));
    let scan = meter.scan(&STRICT.rules(), &mut a[20..30].to_vec(), &mut none);
    assert_eq!((scan.passed, scan.boundary, meter.at_boundary()), (10, None, false));
    let scan = meter.scan(&STRICT.rules(), &mut [&a[30..], &b[..10]].concat(), &mut none);
    assert_eq!((scan.passed, scan.boundary), (a.len() - 30 + 10, Some(a.len() - 30)));
}

#[test]
fn every_offence_stops_before_its_frame() {
    use Offence as O;
    let deflate = Terms { extensions: Extensions::Deflate, ..STRICT };
    let small = Terms { max_frame: 10, max_message: 15, ..STRICT };
    let before = frame(0x82, b"fine");
    for (rules, bad, offence) in [
        (STRICT, framed(0x81, b"x", None), O::Mask),
        (STRICT, vec![0x81, 0xfe, 0, 5, 1, 2, 3, 4], O::Length),
        (STRICT, vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3, 4], O::Length),
        (STRICT, vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], O::Length),
        (STRICT, frame(0xc1, b"x"), O::ReservedBits),
        (deflate, frame(0xa1, b"x"), O::ReservedBits),
        (deflate, frame(0xc9, b"x"), O::ReservedBits),
        (deflate, [frame(0x41, b"x"), frame(0xc0, b"x")].concat(), O::ReservedBits),
        (STRICT, frame(0x83, b"x"), O::Opcode),
        (STRICT, frame(0x8b, b"x"), O::Opcode),
        (STRICT, frame(0x89, &[0; 126]), O::LongControl),
        (STRICT, frame(0x09, b"x"), O::FragmentedControl),
        (STRICT, frame(0x80, b"x"), O::Continuation),
        (STRICT, [frame(0x01, b"x"), frame(0x81, b"x")].concat(), O::Unfinished),
        (STRICT, frame(0x88, b"x"), O::CloseBody),
        (STRICT, frame(0x88, &999_u16.to_be_bytes()), O::CloseCode),
        (STRICT, frame(0x88, &1005_u16.to_be_bytes()), O::CloseCode),
        (STRICT, frame(0x88, &1006_u16.to_be_bytes()), O::CloseCode),
        (STRICT, frame(0x88, &1015_u16.to_be_bytes()), O::CloseCode),
        (STRICT, frame(0x88, &5000_u16.to_be_bytes()), O::CloseCode),
        (small, frame(0x82, &[0; 11]), O::FrameTooBig),
        (small, [frame(0x02, &[0; 8]), frame(0x80, &[0; 8])].concat(), O::MessageTooBig),
    ] {
        let stream = [&before[..], &bad].concat();
        let story = whole(&rules, Heading::ToUpstream, &stream);
        assert_eq!(story.offence, Some(offence), "{bad:x?}");
        assert!(story.passed.starts_with(&before) && story.passed.len() < stream.len());
        let tolerant = Terms { strict: false, ..rules };
        let story = whole(&tolerant, Heading::ToUpstream, &stream);
        let limit = matches!(offence, O::FrameTooBig | O::MessageTooBig);
        assert_eq!(story.offence.is_some(), limit, "{bad:x?}");
    }
    let masked = frame(0x81, b"x");
    assert_eq!(whole(&STRICT, Heading::ToClient, &masked).offence, Some(O::Mask));
}

#[test]
fn what_extensions_and_registries_may_define_passes() {
    let deflate = Terms { extensions: Extensions::Deflate, ..STRICT };
    let unknown = Terms { extensions: Extensions::Unknown, ..STRICT };
    for (rules, stream) in [
        (deflate, [frame(0x41, b"x"), frame(0x89, b""), frame(0x80, b"y")].concat()),
        (unknown, [frame(0xb1, b"x"), frame(0xf3, b"y"), frame(0xdb, b"z")].concat()),
        (STRICT, frame(0x88, b"")),
        (STRICT, frame(0x88, &1012_u16.to_be_bytes())),
        (STRICT, frame(0x88, &2999_u16.to_be_bytes())),
        (STRICT, frame(0x88, &4999_u16.to_be_bytes())),
    ] {
        let story = whole(&rules, Heading::ToUpstream, &stream);
        assert_eq!((story.offence, story.passed), (None, stream));
    }
}

#[test]
fn a_size_beyond_all_memory_is_no_overflow() {
    let rules = Terms { strict: false, ..STRICT };
    let huge = [0x02, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, b'x'];
    let story = whole(&rules, Heading::ToClient, &huge);
    assert_eq!((story.passed.len(), story.offence), (huge.len(), None));
}

#[test]
fn the_state_of_a_direction_is_small() {
    assert!(size_of::<Meter>() <= 64, "{}", size_of::<Meter>());
}

/// A frame of a valid stream, control frames and fragments among them.
fn valid_stream() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let message = (any::<bool>(), vec(vec(any::<u8>(), 0..200), 1..4));
    let control = (0..2_u8, vec(any::<u8>(), 0..20));
    vec((message, vec(control, 0..3)), 0..6).prop_map(|parts| {
        let mut frames = Vec::new();
        for ((binary, fragments), mut controls) in parts {
            let last = fragments.len() - 1;
            for (number, payload) in fragments.into_iter().enumerate() {
                let opcode = if number > 0 { 0 } else { 1 + u8::from(binary) };
                let fin = if number == last { 0x80 } else { 0 };
                frames.push((fin | opcode, payload));
                if let Some((pong, payload)) = controls.pop() {
                    frames.push((0x89 + pong, payload));
                }
            }
        }
        frames
    })
}

/// The pieces of `stream` between sorted cuts.
fn pieces<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

/// What another decoder makes of the frames of a stream: opcode, length, whole or not.
fn second_opinion(mut stream: &[u8]) -> Vec<(OpCode, u64)> {
    let mut frames = Vec::new();
    loop {
        let mut cursor = std::io::Cursor::new(stream);
        match FrameHeader::parse(&mut cursor) {
            Ok(Some((header, length))) => {
                let end = cursor.position() as usize + length as usize;
                frames.push((header.opcode, length));
                stream = &stream[end..];
            }
            _ => return frames,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_valid_stream_passes_byte_for_byte_however_it_is_cut(
        frames in valid_stream(),
        cuts in vec(any::<usize>(), 0..40),
        upstream in any::<bool>(),
    ) {
        let (heading, key) = if upstream {
            (Heading::ToClient, None)
        } else {
            (Heading::ToUpstream, Some([1, 2, 3, 4]))
        };
        let stream: Vec<u8> =
            frames.iter().flat_map(|(first, payload)| framed(*first, payload, key)).collect();
        let ours: Vec<&(u8, Vec<u8>)> = frames
            .iter()
            .filter(|(first, payload)| *first == 0x8a && payload.starts_with(b"!"))
            .collect();
        let story = fed(&STRICT, heading, pieces(&stream, &cuts).into_iter());
        prop_assert_eq!(story.offence, None);
        if ours.is_empty() {
            prop_assert_eq!(&story.passed, &stream);
        }
        let messages = frames.iter().filter(|(first, _)| first & 0x88 == 0x80).count();
        let told = story.saw.iter().filter(|saw| matches!(saw, Saw::Message(_))).count();
        prop_assert_eq!(messages, told);
        let opinion = second_opinion(&stream);
        prop_assert_eq!(opinion.len(), frames.len());
        let weight = |saw: &Saw| match saw { Saw::Message(bytes) => *bytes, _ => 0 };
        let data = opinion.iter().filter(|(opcode, _)| matches!(opcode, OpCode::Data(_)));
        prop_assert_eq!(story.saw.iter().map(weight).sum::<u64>(), data.map(|(_, length)| length).sum::<u64>());
        prop_assert_eq!(story.whole(), whole(&STRICT, heading, &stream));
    }

    #[test]
    fn any_stream_means_the_same_however_it_is_cut(
        stream in vec(prop_oneof![any::<u8>(), Just(0x81), Just(0x82), Just(0x8a), Just(0x01), Just(0x02)], 0..300),
        cuts in vec(any::<usize>(), 0..40),
        strict in any::<bool>(),
        deflate in any::<bool>(),
        max in prop_oneof![Just(u64::MAX), 0..200_u64],
        upstream in any::<bool>(),
    ) {
        let rules = Terms {
            strict,
            extensions: if deflate { Extensions::Deflate } else { Extensions::None },
            max_frame: max,
            max_message: max.saturating_mul(2),
        };
        let heading = if upstream { Heading::ToClient } else { Heading::ToUpstream };
        let story = fed(&rules, heading, pieces(&stream, &cuts).into_iter());
        prop_assert_eq!(story.whole(), whole(&rules, heading, &stream));
    }
}
