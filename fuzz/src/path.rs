//! A client's path: it is refused, or comes to one form that names what a server finds there that
//! decodes the path and walks it like folders.

use bowline::exchange::fuzzing::readings;

/// Reads `data` as a path behind its first slash.
pub fn check(data: &[u8]) {
    read(data);
}

/// Its normal form, if it is not refused.
pub fn read(data: &[u8]) -> Option<String> {
    // What the HTTP parser lets through.
    let path = std::str::from_utf8(data).ok()?;
    let is_path = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
    if !path.chars().all(is_path) {
        return None;
    }
    let path = format!("/{path}");
    let (normal, other) = readings(&path, true)?;
    assert_eq!(readings(&normal, true), Some((normal.clone(), other.clone())), "twice");
    is_resolved(&normal);
    assert_eq!(decoded(&normal), walked(&path), "another place");
    if let Some(other) = other {
        is_resolved(&other);
        assert!(!["%2F", "%5C", "\\", ";"].iter().any(|one| other.contains(one)), "{other}");
        assert_eq!(readings(&other, true), Some((other.clone(), None)), "a third reading");
    }
    // With all slashes kept there is one form too.
    if let Some((kept, _)) = readings(&path, false) {
        assert_eq!(readings(&kept, false).map(|(again, _)| again), Some(kept));
    }
    Some(normal)
}

fn is_resolved(path: &str) {
    assert!(path.starts_with('/') && !path.contains("//"), "{path}");
    let names: Vec<&str> = path.split('/').collect();
    assert!(!names.iter().any(|name| matches!(*name, "." | "..")), "{path}");
}

/// Segment by segment, so that an escaped slash is none.
fn decoded(path: &str) -> Vec<Vec<u8>> {
    path.split('/').filter(|name| !name.is_empty()).map(undone).collect()
}

fn undone(name: &str) -> Vec<u8> {
    let mut bytes = name.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'%' {
            let mut digit = || (bytes.next().unwrap() as char).to_digit(16).unwrap() as u8;
            digit() << 4 | digit()
        } else {
            byte
        });
    }
    plain
}

/// The way to `path` through folders.
fn walked(path: &str) -> Vec<Vec<u8>> {
    let mut way = Vec::new();
    for name in decoded(path) {
        match name.as_slice() {
            b"." => {}
            b".." => drop(way.pop()),
            _ => way.push(name),
        }
    }
    way
}
