//! Bytes that a sink did not take yet.

use tokio::time::Instant;

/// In order, with those in front that were taken since.
#[derive(Debug, Default)]
pub(super) struct Stash {
    bytes: Vec<u8>,
    sent: usize,
    /// Since when the sink has taken none of them.
    pub(super) since: Option<Instant>,
    /// Some of them are a peer's.
    pub(super) foreign: bool,
}

impl Stash {
    /// Puts a peer's bytes behind the others.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.push(bytes);
        self.foreign |= !bytes.is_empty();
    }

    /// Puts a frame of Bowline's own behind the others.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What is still to be taken.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// So many bytes were taken.
    pub(super) fn took(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes);
    }
}
