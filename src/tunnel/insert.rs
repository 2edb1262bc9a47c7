//! Frames that Bowline itself sends, and where they belong among a peer's.

/// A frame of Bowline's own that waits for its place.
#[derive(Debug)]
pub(super) struct Insert {
    pub(super) frame: Vec<u8>,
    pub(super) place: Place,
}

/// Where a frame of Bowline's own belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind the frame under way.
    Next,
    /// There too, and it is the last that the sink gets.
    Last,
    /// In the place of the source's Close, once that comes.
    ForClose,
}
