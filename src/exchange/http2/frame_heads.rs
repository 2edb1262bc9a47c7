//! The heads of a client's frames (RFC 9113 section 4.1), read off the bytes as they pass to h2, which tells
//! nothing of most of them.

/// What a connection begins with (section 3.4).
pub(super) const PREFACE: usize = 24;

const HEAD: usize = 9;

/// A frame's head, without its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    /// Bytes behind it.
    pub(super) length: u32,
    /// What it is.
    pub(super) kind: u8,
    /// Its flags.
    pub(super) flags: u8,
}

/// Where in a client's bytes the last look ended.
#[derive(Debug)]
pub(super) struct FrameHeads {
    /// Bytes that are of no head.
    skip: usize,
    partial: [u8; HEAD],
    /// How many of a head's bytes have come.
    filled: usize,
}

impl Default for FrameHeads {
    fn default() -> Self {
        Self { skip: PREFACE, partial: [0; HEAD], filled: 0 }
    }
}

impl FrameHeads {
    /// Looks at the next bytes, and tells each head that has come whole.
    pub(super) fn look(&mut self, mut bytes: &[u8], mut each: impl FnMut(FrameHead)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip = self.skip.saturating_sub(skipped);
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            if let Some(place) = self.partial.get_mut(self.filled) {
                *place = *byte;
            }
            self.filled = self.filled.saturating_add(1);
            if self.filled >= HEAD {
                self.filled = 0;
                let [a, b, c, kind, flags, ..] = self.partial;
                let length = u32::from_be_bytes([0, a, b, c]);
                self.skip = usize::try_from(length).unwrap_or(usize::MAX);
                each(FrameHead { length, kind, flags });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_however_the_bytes_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&[0, 0, 3, 0, 1, 0, 0, 0, 1, 9, 9, 9]);
        bytes.extend_from_slice(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 1]);
        for cut in 1..=bytes.len() {
            let (mut heads, mut found) = (FrameHeads::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                heads.look(piece, |head| found.push((head.kind, head.length, head.flags)));
            }
            assert_eq!(found, [(4, 0, 0), (0, 3, 1), (6, 8, 0), (0, 0, 0)], "{cut}");
        }
    }
}
