//! RFC 6455 section 5: the frames that the benchmark speaks. One message is one frame; a frame
//! with FIN clear is refused, since neither side of the benchmark ever makes one.

use std::ops::Range;

/// Opcode of a binary message.
pub const BINARY: u8 = 0x2;
/// Opcode of a close.
pub const CLOSE: u8 = 0x8;
/// Opcode of a ping, which a proxy may send of its own.
pub const PING: u8 = 0x9;
/// Opcode of what answers it.
pub const PONG: u8 = 0xa;
/// The payload of a normal close: code 1000, no reason.
pub const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// Where one whole frame lies in the bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// Lower four bits of the first byte.
    pub opcode: u8,
    /// The masking key, which clients must send and servers must not.
    pub mask: Option<[u8; 4]>,
    /// The payload's place; its end is the frame's end.
    pub payload: Range<usize>,
}

impl Frame {
    /// Reads one frame from the start of `bytes`; `None` while it is not all there.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, String> {
        let &[first, second, ..] = bytes else {
            return Ok(None);
        };
        if first & 0xf0 != 0x80 {
            return Err(format!(
                "a frame began with {first:#04x}: FIN clear or a reserved bit set"
            ));
        }
        let (length, mut at) = match second & 0x7f {
            126 => match bytes.get(2..4).and_then(|b| b.try_into().ok()) {
                Some(b) => (u64::from(u16::from_be_bytes(b)), 4),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|b| b.try_into().ok()) {
                Some(b) => (u64::from_be_bytes(b), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        let mask = if second & 0x80 == 0 {
            None
        } else {
            let Some(key) = bytes.get(at..at + 4).and_then(|b| b.try_into().ok()) else {
                return Ok(None);
            };
            at += 4;
            Some(key)
        };
        // A message of the benchmark is at most some megabytes: more is a broken stream.
        let length = usize::try_from(length).ok().filter(|length| *length <= 1 << 26);
        let length = length.ok_or("a frame claims more than 64 MiB")?;
        let payload = at..at + length;
        if bytes.len() < payload.end {
            return Ok(None);
        }
        Ok(Some(Self { opcode: first & 0x0f, mask, payload }))
    }
}

/// Appends one frame to `out`, masked when there is a key.
pub fn put(out: &mut Vec<u8>, opcode: u8, mask: Option<[u8; 4]>, payload: &[u8]) {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    out.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => out.push(bit | short),
        (_, Ok(medium)) => {
            out.push(bit | 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(bit | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    if let Some(key) = mask {
        out.extend_from_slice(&key);
    }
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(copied) = out.get_mut(start..) {
        turn(copied, mask);
    }
}

/// Masks or unmasks in place; without a key, leaves the bytes alone.
pub fn turn(payload: &mut [u8], mask: Option<[u8; 4]>) {
    let Some([a, b, c, d]) = mask else { return };
    // Eight bytes at a time: the optimiser makes vectors of it, and 64 KiB cost about 2 us.
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*word) {
            word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip([a, b, c, d].into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_every_length_form_reads_back() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
                let mut bytes = Vec::new();
                put(&mut bytes, BINARY, mask, &payload);
                for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                    assert_eq!(Frame::read(&bytes[..cut]), Ok(None));
                }
                let frame = Frame::read(&bytes).unwrap().unwrap();
                assert_eq!(
                    (frame.opcode, frame.mask, frame.payload.end),
                    (BINARY, mask, bytes.len())
                );
                turn(&mut bytes[frame.payload.clone()], mask);
                assert_eq!(bytes[frame.payload], payload);
            }
        }
    }

    #[test]
    fn a_fragment_is_refused() {
        assert!(Frame::read(&[0x02, 0x00]).is_err());
    }
}
