//! An upstream's bytes where an engine.io session may begin: whatever the pieces in which they come,
//! the same session is heard.

use bowline::upstream::fuzzing::is_heard;

/// Reads `data` as an answer that opens a session; its first byte says where it is cut.
pub fn check(data: &[u8]) {
    heard(data);
}

/// Whether the session `abc` was heard.
pub fn heard(data: &[u8]) -> bool {
    let Some((first, data)) = data.split_first() else { return false };
    let whole = is_heard(&[data], "abc");
    let (before, behind) = data.split_at(usize::from(*first) % (data.len() + 1));
    assert_eq!(is_heard(&[before, behind], "abc"), whole, "cut at {}", before.len());
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(is_heard(&bytes, "abc"), whole, "byte by byte");
    whole
}
