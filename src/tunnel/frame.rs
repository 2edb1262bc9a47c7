//! One WebSocket frame by its header (RFC 6455 section 5.2).

/// The longest header: two bytes, a length of eight, a key of four.
pub(super) const LONGEST_HEADER: usize = 14;

/// The longest payload of a control frame (section 5.5).
pub(super) const LONGEST_CONTROL: u64 = 125;

/// A continuation of a message (section 5.4).
pub(super) const CONTINUATION: u8 = 0x0;
/// Close.
pub(super) const CLOSE: u8 = 0x8;
/// Ping.
pub(super) const PING: u8 = 0x9;
/// Pong.
pub(super) const PONG: u8 = 0xa;

/// Which way frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// From the client, or from Bowline in its place: masked (RFC 6455 section 5.1).
    ToUpstream,
    /// From the upstream, or from Bowline in its place: not masked.
    ToClient,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The last frame of its message.
    pub(super) fin: bool,
    /// RSV1 to RSV3, in their places (0x70).
    pub(super) reserved: u8,
    /// Four bits.
    pub(super) opcode: u8,
    /// The key that the payload is masked with, if it is.
    pub(super) key: Option<[u8; 4]>,
    /// Bytes of payload, as said.
    pub(super) payload: u64,
    /// The length was not said in the shortest way, or with the top bit set.
    pub(super) odd_length: bool,
    /// Bytes of the header itself.
    pub(super) length: usize,
}

impl Header {
    /// Reads a header from the start of `bytes`; `None` while it is not whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (payload, odd_length, rest, extended) = match second & 0x7f {
            126 => {
                let (length, rest) = rest.split_first_chunk()?;
                let length = u16::from_be_bytes(*length);
                (u64::from(length), length < 126, rest, 2)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk()?;
                let length = u64::from_be_bytes(*length);
                (length, length <= u64::from(u16::MAX) || length >> 63 == 1, rest, 8)
            }
            short => (u64::from(short), false, rest, 0),
        };
        let masked = second & 0x80 != 0;
        let key = if masked { Some(*rest.first_chunk()?) } else { None };
        Some(Self {
            fin: first & 0x80 != 0,
            reserved: first & 0x70,
            opcode: first & 0x0f,
            key,
            payload,
            odd_length,
            length: 2 + extended + if masked { 4 } else { 0 },
        })
    }

    /// Control frames may stand between the fragments of a message (section 5.5).
    pub(super) fn is_control(&self) -> bool {
        self.opcode & 0x8 != 0
    }
}

/// Masks `payload`, or takes the mask off (section 5.3).
pub(super) fn mask(payload: &mut [u8], key: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// A Close of Bowline's own (section 5.5.1).
pub(super) fn close(heading: Heading, code: u16, reason: &'static str) -> Vec<u8> {
    control(heading, CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// A ping of Bowline's own (section 5.5.2).
pub(super) fn ping(heading: Heading, tag: [u8; 8]) -> Vec<u8> {
    control(heading, PING, &tag)
}

/// A control frame of Bowline's own. What is over the limit of such a frame is cut.
fn control(heading: Heading, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let payload = payload.get(..LONGEST_CONTROL as usize).unwrap_or(payload);
    let mut frame = Vec::with_capacity(LONGEST_HEADER.saturating_add(payload.len()));
    frame.push(0x80 | opcode);
    let length = payload.len() as u8;
    match heading {
        Heading::ToClient => {
            frame.push(length);
            frame.extend_from_slice(payload);
        }
        Heading::ToUpstream => {
            let mut key = [0; 4];
            // Without randomness the frame is still a right one; what it says is no secret.
            getrandom::fill(&mut key).ok();
            frame.push(0x80 | length);
            frame.extend_from_slice(&key);
            let mut payload = payload.to_vec();
            mask(&mut payload, key);
            frame.extend_from_slice(&payload);
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_once_it_is_whole() {
        for (bytes, payload, odd, key) in [
            (&[0x81, 0x00][..], 0, false, None),
            (&[0x81, 0x7d], 125, false, None),
            (&[0x81, 0x7e, 0x00, 0x7e], 126, false, None),
            (&[0x81, 0x7e, 0x00, 0x7d], 125, true, None),
            (&[0x81, 0x7e, 0xff, 0xff], 65_535, false, None),
            (&[0x81, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], 65_536, false, None),
            (&[0x81, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 65_535, true, None),
            (
                &[0x81, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                u64::MAX >> 1,
                false,
                None,
            ),
            (&[0x81, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0], 1 << 63, true, None),
            (&[0x81, 0x85, 1, 2, 3, 4], 5, false, Some([1, 2, 3, 4])),
            (&[0x81, 0xfe, 0x01, 0x00, 1, 2, 3, 4], 256, false, Some([1, 2, 3, 4])),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(Header::read(&bytes[..cut]), None, "{bytes:x?} at {cut}");
            }
            let header = Header::read(&[bytes, b"payload"].concat()).unwrap();
            assert_eq!((header.payload, header.odd_length, header.key), (payload, odd, key));
            assert_eq!(header.length, bytes.len());
        }
    }

    #[test]
    fn flags_and_opcode_stand_in_the_first_byte() {
        let header = Header::read(&[0x5a, 0]).unwrap();
        assert_eq!((header.fin, header.reserved, header.opcode), (false, 0x50, PONG));
        assert!(header.is_control());
        assert!(!Header::read(&[0x82, 0]).unwrap().is_control());
    }

    #[test]
    fn a_close_of_ours_is_masked_toward_the_upstream_only() {
        let down = close(Heading::ToClient, 1012, "drain");
        assert_eq!(down, b"\x88\x07\x03\xf4drain");
        let mut up = close(Heading::ToUpstream, 1012, "drain");
        let header = Header::read(&up).unwrap();
        assert_eq!((header.fin, header.opcode, header.payload), (true, CLOSE, 7));
        let key = header.key.unwrap();
        mask(&mut up[header.length..], key);
        assert_eq!(&up[header.length..], &down[2..]);
        let other = close(Heading::ToUpstream, 1012, "drain");
        assert_ne!(Header::read(&other).unwrap().key, Some(key));
    }

    #[test]
    fn masking_twice_changes_nothing() {
        let mut text = *b"some text";
        mask(&mut text, [1, 2, 3, 255]);
        assert_eq!(text[..5], [b's' ^ 1, b'o' ^ 2, b'm' ^ 3, b'e' ^ 255, b' ' ^ 1]);
        mask(&mut text, [1, 2, 3, 255]);
        assert_eq!(&text, b"some text");
    }
}
