//! Frames as the peers make them and as the model reads them: plainly, of a whole stream, and with
//! nothing of what the tunnel itself reads them by.

use std::ops::Range;

pub(super) const CLOSE: u8 = 0x88;
pub(super) const PING: u8 = 0x89;
pub(super) const PONG: u8 = 0x8a;

/// A frame, of which perhaps only a part has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) first: u8,
    pub(super) masked: bool,
    /// Where it stands.
    pub(super) bytes: Range<usize>,
    pub(super) header: usize,
    /// As long as the header says.
    pub(super) whole: bool,
    /// Without its mask.
    pub(super) payload: Vec<u8>,
    /// The length that the header says.
    pub(super) length: usize,
}

impl Frame {
    pub(super) fn is_control(&self) -> bool {
        self.first & 8 != 0
    }

    pub(super) fn code(&self) -> Option<u16> {
        match self.payload[..] {
            [high, low, ..] => Some(u16::from(high) << 8 | u16::from(low)),
            _ => None,
        }
    }

    /// Pings of peers are never as long as this.
    pub(super) fn is_ping_of_bowline(&self) -> bool {
        self.first == PING && self.length == 8
    }

    /// Peers give no reasons in words.
    pub(super) fn is_close_of_bowline(&self) -> bool {
        self.first == CLOSE && self.length > 2
    }

    pub(super) fn is_of_bowline(&self) -> bool {
        self.is_ping_of_bowline() || self.is_close_of_bowline()
    }
}

/// The frames of a stream; the last may have come in part, but for its header.
pub(super) fn read(stream: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(frame) = one(stream, at) {
        at = frame.bytes.end;
        frames.push(frame);
    }
    frames
}

fn one(stream: &[u8], at: usize) -> Option<Frame> {
    let rest = &stream[at..];
    let second = *rest.get(1)?;
    let wide = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let masked = second & 0x80 != 0;
    let header = 2 + wide + if masked { 4 } else { 0 };
    let head = rest.get(..header)?;
    let length = match wide {
        0 => usize::from(second & 0x7f),
        _ => head[2..2 + wide].iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)),
    };
    let key = if masked { &head[header - 4..] } else { &[0; 4] };
    let payload = rest[header..].iter().take(length).enumerate();
    let payload: Vec<u8> = payload.map(|(at, byte)| byte ^ key[at % 4]).collect();
    let bytes = at..at + header + payload.len();
    let whole = payload.len() == length;
    Some(Frame { first: rest[0], masked, bytes, header, whole, payload, length })
}

/// A frame in its shortest form, of at most 65,535 bytes.
pub(super) fn write(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let bit = if key.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    if payload.len() < 126 {
        frame.push(bit | payload.len() as u8);
    } else {
        frame.push(bit | 126);
        frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    }
    frame.extend_from_slice(key.as_ref().map_or(&[], |key| &key[..]));
    let key = key.unwrap_or_default();
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
    frame
}
