//! A door for the fuzz target to what is private here: a server's frames as a check reads them. With
//! the feature `fuzzing` only, and no promise to anybody.

use bytes::BytesMut;

use super::probe::frames::{Frames, Said};

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A Close.
    Close,
    /// A pong with this payload.
    Pong(Vec<u8>),
    /// Any other.
    Other,
}

/// What is told in bytes that come in these pieces, up to what is wrong; and the most bytes that were
/// kept between two pieces.
pub fn read<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Told>, Option<&'static str>, usize) {
    let (mut frames, mut input) = (Frames::default(), BytesMut::new());
    let (mut told, mut kept) = (Vec::new(), 0);
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match frames.take(&mut input) {
                Ok(Some(Said::Close)) => told.push(Told::Close),
                Ok(Some(Said::Pong(payload))) => told.push(Told::Pong(payload.to_vec())),
                Ok(Some(Said::Other)) => told.push(Told::Other),
                Ok(None) => break,
                Err(what) => return (told, Some(what), kept),
            }
        }
        kept = kept.max(input.len());
    }
    (told, None, kept)
}
