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
    let version_2 = header.starts_with(SIGNATURE);
    assert!(read.length <= LONGEST[usize::from(version_2)], "{} bytes", read.length);
    if version_2 {
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        assert_eq!(read.length, 16 + length);
        assert_eq!(header[12] >> 4, 2);
        if let Some(source) = read.source {
            assert_eq!(header[12], 0x21, "a source without PROXY");
            assert_eq!(source, plainly(header));
        }
        return Some(read);
    }
    let line = std::str::from_utf8(header).expect("a line is text");
    assert!(line.starts_with("PROXY ") && line.ends_with("\r\n"), "{line:?}");
    assert!(!line[..line.len() - 2].contains(['\r', '\n']), "{line:?}");
    assert_eq!(read.tls, None);
    if let Some(source) = read.source {
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let [_, family, address, _, port, _] = words[..] else { panic!("{line:?}") };
        assert_eq!(source.ip(), address.parse::<std::net::IpAddr>().expect("an address"));
        assert_eq!(source.port().to_string(), port);
        assert_eq!(family, if source.is_ipv4() { "TCP4" } else { "TCP6" });
    }
    Some(read)
}

/// The source of a header of version 2, by its offsets in the specification.
fn plainly(header: &[u8]) -> SocketAddr {
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if header[13] == 0x11 {
        let ip: [u8; 4] = header[16..20].try_into().expect("four");
        (ip, port(24)).into()
    } else {
        assert_eq!(header[13], 0x21);
        let ip: [u8; 16] = header[16..32].try_into().expect("sixteen");
        (ip, port(48)).into()
    }
}
