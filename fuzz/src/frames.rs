//! The frames of one direction of a tunnel, by Bowline's meter. What it makes of them is compared
//! with a plain reading of the whole by the letter of RFC 6455, the headers of which tungstenite
//! reads once more, and must be the same however the bytes are cut.

use std::io::Cursor;

use bowline::tunnel::fuzzing::{Frames, Seen};
use bowline::tunnel::{Extensions, Rules};
use tungstenite::protocol::frame::FrameHeader;

use crate::pieces::pieces;

/// The first three bytes: who sends, what is looked at, what was agreed on, the largest frame and
/// the largest message. What follows is the peer's.
#[derive(Clone, Copy, Debug)]
struct Terms {
    from_client: bool,
    strict: bool,
    extensions: Extensions,
    max_frame: Option<u64>,
    max_message: Option<u64>,
}

/// The code of the Close that answers what stopped a direction, and the words; `None` when nothing did.
pub type Offence = Option<(u16, &'static str)>;

/// The longest payload of a control frame (RFC 6455 section 5.5).
const LONGEST_CONTROL: u64 = 125;

/// A header of 14 bytes and the longest payload that is waited for, but for one byte.
const LONGEST_WAIT: usize = 14 + LONGEST_CONTROL as usize - 1;

/// Reads `data` as a direction of a tunnel.
pub fn check(data: &[u8]) {
    told(data);
}

/// What was seen of the frames in `data`, and what stopped them.
pub fn told(data: &[u8]) -> Option<(Vec<Seen>, Offence)> {
    let (terms, stream) = data.split_first_chunk()?;
    let terms = Terms::new(*terms);
    let plain = Plain::read(&terms, stream);
    let whole = plain.compared(&terms, std::iter::once(stream));
    // Byte by byte, or the cost of a long one grows too far.
    let equal = plain.compared(&terms, stream.chunks(1 + stream.len() / 1024));
    assert_eq!(whole, equal, "in equal pieces");
    assert_eq!(whole, plain.compared(&terms, pieces(stream)), "in unequal pieces");
    Some((plain.seen, whole))
}

/// Pongs that a tunnel would keep for itself.
fn is_ours(payload: &[u8]) -> bool {
    payload.starts_with(b"!")
}

impl Terms {
    fn new([flags, frame, message]: [u8; 3]) -> Self {
        let limit = |byte: u8, unit: u64| (byte > 0).then_some(u64::from(byte) * unit);
        Self {
            from_client: flags & 1 != 0,
            strict: flags & 2 != 0,
            extensions: match flags & 12 {
                4 => Extensions::Deflate,
                8 => Extensions::Unknown,
                _ => Extensions::None,
            },
            max_frame: limit(frame, 1),
            max_message: limit(message, 2),
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            strict: self.strict,
            max_frame: self.max_frame.unwrap_or(u64::MAX),
            max_message: self.max_message.unwrap_or(u64::MAX),
        }
    }
}

/// A frame by its header.
#[derive(Debug)]
struct Frame {
    fin: bool,
    reserved: u8,
    opcode: u8,
    key: Option<[u8; 4]>,
    length: u64,
    /// In how many bytes the length stands behind the first two.
    wide: usize,
    header: usize,
}

impl Frame {
    /// The frame at the beginning of `bytes`, once its header is whole.
    fn read(bytes: &[u8]) -> Option<Self> {
        let short = bytes.get(1)? & 0x7f;
        let masked = bytes[1] >= 0x80;
        let wide = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let header = 2 + wide + if masked { 4 } else { 0 };
        let head = bytes.get(..header)?;
        let length = match wide {
            0 => u64::from(short),
            _ => head[2..2 + wide].iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
        };
        let frame = Self {
            fin: head[0] >= 0x80,
            reserved: (head[0] >> 4) & 7,
            opcode: head[0] & 15,
            key: masked.then(|| head[header - 4..].try_into().expect("four bytes")),
            length,
            wide,
            header,
        };
        frame.is_seconded(bytes);
        Some(frame)
    }

    /// Compares it with what tungstenite reads there, which has no word for unknown opcodes.
    fn is_seconded(&self, bytes: &[u8]) {
        if !matches!(self.opcode, 0..=2 | 8..=10) {
            return;
        }
        let mut cursor = Cursor::new(bytes);
        let (header, length) =
            FrameHeader::parse(&mut cursor).expect("a known opcode").expect("a whole header");
        assert_eq!((length, cursor.position()), (self.length, self.header as u64));
        assert_eq!((header.is_final, header.mask), (self.fin, self.key));
        let reserved =
            u8::from(header.rsv1) * 4 + u8::from(header.rsv2) * 2 + u8::from(header.rsv3);
        assert_eq!((reserved, u8::from(header.opcode)), (self.reserved, self.opcode));
    }

    fn is_control(&self) -> bool {
        self.opcode >= 8
    }

    /// A control frame that is waited for as a whole.
    fn is_short_control(&self) -> bool {
        self.is_control() && self.length <= LONGEST_CONTROL
    }

    /// As much of the payload as there is, without its mask.
    fn payload(&self, bytes: &[u8]) -> Vec<u8> {
        let behind = &bytes[self.header..];
        let length = usize::try_from(self.length).unwrap_or(usize::MAX).min(behind.len());
        let key = self.key.unwrap_or_default();
        behind[..length].iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect()
    }

    /// All that the header does wrong: a message of so many bytes may be open.
    fn faults(&self, terms: &Terms, open: Option<u64>) -> Vec<&'static str> {
        let data = !self.is_control();
        let begins = data && self.opcode != 0;
        let agreed = match terms.extensions {
            Extensions::None => 0,
            Extensions::Deflate => 4 * u8::from(begins),
            Extensions::Unknown => 7,
        };
        let shortest = match self.wide {
            0 => true,
            2 => self.length >= 126,
            _ => (1 << 16..1 << 63).contains(&self.length),
        };
        let named = matches!(self.opcode, 0..=2 | 8..=10);
        let message = u128::from(open.unwrap_or(0)) + u128::from(self.length);
        let strictly = [
            (self.key.is_some() != terms.from_client, "masked or not, and should be the other"),
            (!shortest, "a length that is not in its shortest form"),
            (self.reserved & !agreed != 0, "a reserved bit without an extension"),
            (!named && terms.extensions != Extensions::Unknown, "an opcode that means nothing"),
            (!data && self.length > LONGEST_CONTROL, "a control frame over 125 bytes"),
            (!data && !self.fin, "a control frame in fragments"),
            (self.opcode == 0 && open.is_none(), "a continuation of nothing"),
            (begins && open.is_some(), "a message within another"),
        ];
        let always = [
            (data && terms.max_frame.is_some_and(|max| self.length > max), FRAME_TOO_BIG),
            (data && terms.max_message.is_some_and(|max| message > max.into()), MESSAGE_TOO_BIG),
        ];
        let strictly = strictly.into_iter().filter(|_| terms.strict);
        strictly.chain(always).filter_map(|(wrong, what)| wrong.then_some(what)).collect()
    }
}

const FRAME_TOO_BIG: &str = "a frame over the limit";
const MESSAGE_TOO_BIG: &str = "a message over the limit";

/// A whole stream, read at once.
#[derive(Debug, Default)]
struct Plain {
    passed: Vec<u8>,
    /// The places in `passed` where no frame is under way.
    ends: Vec<usize>,
    seen: Vec<Seen>,
    /// All that is wrong with the frame that stops it.
    faults: Vec<&'static str>,
}

impl Plain {
    fn read(terms: &Terms, mut rest: &[u8]) -> Self {
        let mut plain = Self { ends: vec![0], ..Self::default() };
        let mut open: Option<u64> = None;
        while let Some(frame) = Frame::read(rest) {
            plain.faults = frame.faults(terms, open);
            if !plain.faults.is_empty() {
                return plain;
            }
            let payload = frame.payload(rest);
            let whole = payload.len() as u64 == frame.length;
            let (bytes, behind) = rest.split_at(frame.header + payload.len());
            if frame.is_short_control() {
                if !whole {
                    return plain;
                }
                if !plain.controlled(terms, &frame, payload) {
                    rest = behind;
                    continue;
                }
                if !plain.faults.is_empty() {
                    return plain;
                }
            } else if !frame.is_control() {
                open = Some(open.unwrap_or(0).saturating_add(frame.length));
            }
            plain.passed.extend_from_slice(bytes);
            if !whole {
                return plain;
            }
            plain.ends.push(plain.passed.len());
            if frame.fin && !frame.is_control() {
                plain.seen.push(Seen::Message(open.take().unwrap_or(0)));
            }
            rest = behind;
        }
        plain
    }

    /// A whole control frame; whether it may go on.
    fn controlled(&mut self, terms: &Terms, frame: &Frame, payload: Vec<u8>) -> bool {
        match frame.opcode {
            8 => {
                let code = match payload[..] {
                    [high, low, ..] => Some(u16::from(high) * 256 + u16::from(low)),
                    _ => None,
                };
                if terms.strict && payload.len() == 1 {
                    self.faults.push("a Close with a body of one byte");
                } else if terms.strict
                    && !matches!(code, None | Some(1000..=1004 | 1007..=1014 | 1016..=4999))
                {
                    self.faults.push("a Close with a code that no frame may have");
                } else {
                    self.seen.push(Seen::Close(code));
                }
            }
            9 => self.seen.push(Seen::Ping),
            10 => {
                let goes_on = !is_ours(&payload);
                self.seen.push(Seen::Pong(payload));
                return goes_on;
            }
            _ => {}
        }
        true
    }

    /// Feeds `pieces` to Bowline, which must make the same of them; tells what stopped it.
    fn compared<'a>(&self, terms: &Terms, pieces: impl Iterator<Item = &'a [u8]>) -> Offence {
        let mut frames = Frames::new(terms.from_client, terms.extensions, terms.rules());
        let (mut passed, mut seen) = (Vec::new(), Vec::new());
        let mut offence = None;
        for piece in pieces {
            let from = passed.len();
            let piece = frames.read(piece, is_ours);
            passed.extend_from_slice(&piece.passed);
            seen.extend(piece.seen);
            let until = passed.len();
            assert!(frames.waiting() <= LONGEST_WAIT, "{} bytes wait", frames.waiting());
            let boundary = self.ends.iter().find(|end| (from..=until).contains(*end));
            assert_eq!(piece.boundary, boundary.map(|end| end - from), "from {from} to {until}");
            assert_eq!(piece.at_boundary, self.ends.contains(&until), "at {until}");
            offence = piece.offence;
            if offence.is_some() {
                break;
            }
        }
        assert!(passed == self.passed, "passed {passed:x?}, not {:x?}", self.passed);
        assert_eq!(seen, self.seen);
        match offence {
            // Of several faults of one frame any may be named.
            Some((code, what)) => {
                assert!(self.faults.contains(&what), "{what}, not {:?}", self.faults);
                let big = [FRAME_TOO_BIG, MESSAGE_TOO_BIG].contains(&what);
                assert_eq!(code, if big { 1009 } else { 1002 }, "{what}");
            }
            None => assert!(self.faults.is_empty(), "went on after {:?}", self.faults),
        }
        offence
    }
}
