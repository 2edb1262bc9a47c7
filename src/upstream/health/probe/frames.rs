//! The frames of a server as a check needs them (RFC 6455 section 5.2): pongs and Closes whole, the
//! rest passed over. Keeps no more of them than a control frame.

use bytes::{Buf, BytesMut};

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream::health) enum Said {
    /// A Close.
    Close,
    /// A pong with this payload.
    Pong(BytesMut),
    /// Something that a check does not ask about.
    Other,
}

/// Reads frames out of what comes.
#[derive(Debug, Default)]
pub(in crate::upstream::health) struct Frames {
    /// So much of a payload is still to be passed over.
    skip: u64,
}

const CLOSE: u8 = 0x8;
const PONG: u8 = 0xa;

impl Frames {
    /// The next frame at the start of `input`, which is taken; `None` while it is not whole. A frame of
    /// data is told at its header, and its payload taken as it comes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::upstream::health) fn take(
        &mut self,
        input: &mut BytesMut,
    ) -> Result<Option<Said>, &'static str> {
        let skipped = input.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        input.advance(skipped);
        self.skip = self.skip.saturating_sub(skipped as u64);
        if self.skip > 0 {
            return Ok(None);
        }
        let Some(header) = Header::read(input)? else { return Ok(None) };
        if !header.is_control() {
            input.advance(header.size);
            self.skip = header.payload;
            return Ok(Some(Said::Other));
        }
        // At most 125 bytes: waited for as a whole.
        let payload = usize::try_from(header.payload).unwrap_or(usize::MAX);
        if input.len().saturating_sub(header.size) < payload {
            return Ok(None);
        }
        input.advance(header.size);
        let payload = input.split_to(payload);
        Ok(Some(match header.opcode {
            CLOSE => Said::Close,
            PONG => Said::Pong(payload),
            _ => Said::Other,
        }))
    }
}

struct Header {
    opcode: u8,
    /// Of the header itself.
    size: usize,
    payload: u64,
}

impl Header {
    fn read(input: &[u8]) -> Result<Option<Self>, &'static str> {
        let [first, second, rest @ ..] = input else { return Ok(None) };
        let (flags, opcode) = (first & 0xf0, first & 0x0f);
        if flags & 0x70 != 0 || !matches!(opcode, 0..=2 | 8..=10) {
            return Err("a frame that nothing was agreed on for");
        }
        if second & 0x80 != 0 {
            return Err("a masked frame");
        }
        let (size, payload) = match second & 0x7f {
            126 => {
                let Some(length) = rest.first_chunk() else { return Ok(None) };
                (4, u16::from_be_bytes(*length).into())
            }
            127 => {
                let Some(length) = rest.first_chunk() else { return Ok(None) };
                (10, u64::from_be_bytes(*length))
            }
            length => (2, length.into()),
        };
        let header = Self { opcode, size, payload };
        if header.is_control() && (flags & 0x80 == 0 || payload > 125) {
            return Err("a control frame in parts, or too large");
        }
        Ok(Some(header))
    }

    fn is_control(&self) -> bool {
        self.opcode >= CLOSE
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is said in `bytes` that come in pieces of `step`, up to what is wrong.
    fn said(bytes: &[u8], step: usize) -> Result<Vec<Said>, &'static str> {
        let (mut frames, mut input, mut said) = (Frames::default(), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(step) {
            input.extend_from_slice(piece);
            while let Some(one) = frames.take(&mut input)? {
                said.push(one);
            }
            assert!(input.len() < 128 + step, "{} bytes kept", input.len());
        }
        Ok(said)
    }

    fn pong(payload: &[u8]) -> Said {
        Said::Pong(payload.into())
    }

    #[test]
    fn frames_are_told_apart_however_they_are_cut() {
        let mut bytes = vec![0x81, 5];
        bytes.extend(b"hello");
        bytes.extend([0x82, 126, 1, 0]);
        bytes.extend([7; 256]);
        bytes.extend([0x01, 127, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 0x89, 1, 9, 0x80, 0]);
        bytes.extend([0x8a, 2, 4, 2, 0x88, 2, 3, 232]);
        let other = || Said::Other;
        let all = vec![other(), other(), other(), other(), other(), pong(&[4, 2]), Said::Close];
        for step in 1..bytes.len() {
            assert_eq!(said(&bytes, step), Ok(all.clone()), "{step}");
        }
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        for bytes in
            [&b"\x8a\x80"[..], &[0xc1, 0], &[0x83, 0], &[0x8b, 0], &[0x0a, 0], &[0x8a, 126, 0, 126]]
        {
            assert!(said(bytes, 1).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_mean_the_same_however_they_are_cut(
            bytes in prop::collection::vec(any::<u8>(), 0..2_000),
            step in 1_usize..50,
        ) {
            // Where one fails the other does, but what was told before that depends on the cut.
            prop_assert_eq!(said(&bytes, step), said(&bytes, 2_000));
        }
    }
}
