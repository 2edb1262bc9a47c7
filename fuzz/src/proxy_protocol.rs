//! What a load balancer says before everything else: the PROXY protocol's header, whole or in parts.

use std::net::SocketAddr;

use bowline::accept::fuzzing::{Introduction, introduction};

/// Version 1 has at most so many bytes, version 2 what Bowline bounds it to.
const LONGEST: [usize; 2] = [107, 4096];

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads `data` as a connection that begins with a header.
pub fn check(data: &[u8]) {
    told(data);
}

/// What `data` says; `None` when it is no whole header.
pub fn told(data: &[u8]) -> Option<Introduction> {
    let whole = introduction(data);
    // Cut anywhere, it waits for more or says the same; it never says something else first.
    for end in 0..data.len().min(LONGEST[1] + 1) {
        match introduction(&data[..end]) {
            Ok(None) => {}
            early => {
                assert_eq!(early, whole, "another verdict at {end}");
                break;
            }
        }
    }
    let read = whole.ok()??;
    let header = data.get(..read.length).expect("no longer than what came");
    assert_eq!(read.source.is_some(), read.destination.is_some(), "one end alone");
    let version_2 = header.starts_with(SIGNATURE);
    assert!(read.length <= LONGEST[usize::from(version_2)], "{} bytes", read.length);
    if version_2 {
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        assert_eq!(read.length, 16 + length);
        assert_eq!(header[12] >> 4, 2);
        if let Some(source) = read.source {
            assert_eq!(header[12], 0x21, "a source without PROXY");
            let ends = (source, read.destination.expect("both"));
            assert_eq!(ends, plainly(header));
        }
        return Some(read);
    }
    let line = std::str::from_utf8(header).expect("a line is text");
    assert!(line.starts_with("PROXY ") && line.ends_with("\r\n"), "{line:?}");
    assert!(!line[..line.len() - 2].contains(['\r', '\n']), "{line:?}");
    assert_eq!(read.tls, None);
    if let Some(source) = read.source {
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let [_, family, address, reached, port, there] = words[..] else { panic!("{line:?}") };
        assert_eq!(source.ip(), address.parse::<std::net::IpAddr>().expect("an address"));
        assert_eq!(source.port().to_string(), port);
        let destination = read.destination.expect("both");
        assert_eq!(destination.ip(), reached.parse::<std::net::IpAddr>().expect("an address"));
        assert_eq!(destination.port().to_string(), there);
        assert_eq!(family, if source.is_ipv4() { "TCP4" } else { "TCP6" });
    }
    Some(read)
}

/// Both ends of a header of version 2, by their offsets in the specification.
fn plainly(header: &[u8]) -> (SocketAddr, SocketAddr) {
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if header[13] == 0x11 {
        let ip = |at: usize| -> [u8; 4] { header[at..at + 4].try_into().expect("four") };
        ((ip(16), port(24)).into(), (ip(20), port(26)).into())
    } else {
        assert_eq!(header[13], 0x21);
        let ip = |at: usize| -> [u8; 16] { header[at..at + 16].try_into().expect("sixteen") };
        ((ip(16), port(48)).into(), (ip(32), port(50)).into())
    }
}
