//! One way to cut what a peer sends into reads.

/// Reads of one byte up to 32, each as long as its first byte says.
pub(crate) fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = 1 + usize::from(data.first()? % 32);
        let (piece, rest) = data.split_at(length.min(data.len()));
        data = rest;
        Some(piece)
    })
}
