//! A door for the fuzz targets to what is private here; with the feature `fuzzing` only, and no
//! promise to anybody.

use std::sync::Arc;

use super::open_packet::Overhearing;
use super::sessions::Sessions;

/// Whether `session` was heard in an answer that came in these pieces.
pub fn is_heard(pieces: &[&[u8]], session: &str) -> bool {
    let sessions = Arc::new(Sessions::new(0));
    let mut hearing = Overhearing::new(Arc::clone(&sessions), Arc::from("up"), 1);
    // As a body that goes on: nobody is asked again who has heard enough.
    let _ = pieces.iter().all(|piece| hearing.hear(piece));
    sessions.find("up", session) == Some(1)
}
