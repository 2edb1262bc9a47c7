//! A header as bytes. Without extensions: what they could tell (the name that TLS asked for, that it was
//! TLS) stands in the request behind it, and TCP has checksums of its own.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::Version;
use super::header::SIGNATURE;

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The client; port 0 when that is not known.
    pub(crate) source: SocketAddr,
    /// What it reached.
    pub(crate) destination: SocketAddr,
}

/// A header for a connection on behalf of the client at one of `ends`; without them for one of the
/// proxy's own, as health checks are.
pub(crate) fn write(version: Version, ends: Option<Ends>) -> Vec<u8> {
    let ends = ends.map(|ends| (ends, family(ends)));
    match version {
        Version::V1 => line(ends).into_bytes(),
        Version::V2 => binary(ends),
    }
}

/// Addresses of both ends as one family.
enum Family {
    V4([u8; 4], [u8; 4]),
    V6(Ipv6Addr, Ipv6Addr),
}

/// A header has one family: where the two differ, IPv4 goes as mapped into IPv6 (RFC 4291 section
/// 2.5.5.2).
fn family(ends: Ends) -> Family {
    let (source, destination) = (ends.source.ip(), ends.destination.ip());
    match (source.to_canonical(), destination.to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Family::V4(source.octets(), destination.octets())
        }
        (source, destination) => Family::V6(in_six(source), in_six(destination)),
    }
}

fn in_six(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Section 2.1.
fn line(ends: Option<(Ends, Family)>) -> String {
    let Some((ends, family)) = ends else { return "PROXY UNKNOWN\r\n".to_owned() };
    let (word, source, destination) = match family {
        Family::V4(source, destination) => {
            ("TCP4", IpAddr::from(source), IpAddr::from(destination))
        }
        Family::V6(source, destination) => {
            ("TCP6", IpAddr::from(source), IpAddr::from(destination))
        }
    };
    let ports = (ends.source.port(), ends.destination.port());
    format!("PROXY {word} {source} {destination} {} {}\r\n", ports.0, ports.1)
}

/// Section 2.2.
fn binary(ends: Option<(Ends, Family)>) -> Vec<u8> {
    /// Version 2 with a command.
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    let mut header = SIGNATURE.to_vec();
    let Some((ends, family)) = ends else {
        header.extend([LOCAL, 0x00, 0, 0]);
        return header;
    };
    match family {
        Family::V4(source, destination) => {
            header.extend([PROXY, 0x11, 0, 12]);
            header.extend(source);
            header.extend(destination);
        }
        Family::V6(source, destination) => {
            header.extend([PROXY, 0x21, 0, 36]);
            header.extend(source.octets());
            header.extend(destination.octets());
        }
    }
    header.extend(ends.source.port().to_be_bytes());
    header.extend(ends.destination.port().to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Header, parse};
    use super::*;

    fn ends(source: &str, destination: &str) -> Option<Ends> {
        let [source, destination] = [source, destination].map(|one| one.parse().unwrap());
        Some(Ends { source, destination })
    }

    fn text(source: &str, destination: &str) -> String {
        String::from_utf8(write(Version::V1, ends(source, destination))).unwrap()
    }

    #[test]
    fn a_line_is_as_the_specification_has_it() {
        assert_eq!(
            text("192.0.2.7:4711", "198.51.100.1:443"),
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
        );
        assert_eq!(
            text("[2001:db8::7]:0", "[2001:db8::1]:443"),
            "PROXY TCP6 2001:db8::7 2001:db8::1 0 443\r\n"
        );
        assert_eq!(
            text("[2001:db8::7]:4711", "198.51.100.1:443"),
            "PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 4711 443\r\n"
        );
        assert_eq!(
            text("[::ffff:192.0.2.7]:1", "[::ffff:198.51.100.1]:2"),
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
            "what a dual socket shows of IPv4"
        );
        assert_eq!(write(Version::V1, None), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn bytes_are_as_the_specification_has_them() {
        let header = write(Version::V2, ends("192.0.2.7:4711", "198.51.100.1:443"));
        let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb];
        let expected = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"[..], &addresses].concat();
        assert_eq!(header, expected);
        assert_eq!(write(Version::V2, None), b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00");
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        let four = any::<[u8; 4]>().prop_map(IpAddr::from);
        let six = any::<[u8; 16]>().prop_map(IpAddr::from);
        (prop_oneof![four, six], any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    /// An IPv4 address that came back as mapped is the same one.
    fn canonical(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_written_is_read_again(
            source in address(),
            destination in address(),
            behind in any::<Vec<u8>>(),
        ) {
            for version in [Version::V1, Version::V2] {
                let header = write(version, Some(Ends { source, destination }));
                let read = parse(&[&header[..], &behind].concat());
                let Ok(Some((Header { source: from, destination: to, .. }, length))) = read else {
                    panic!("{version:?}: {read:?}")
                };
                prop_assert_eq!(length, header.len());
                prop_assert_eq!(from.map(canonical), Some(canonical(source)));
                prop_assert_eq!(to.map(canonical), Some(canonical(destination)));
                let own = write(version, None);
                let read = parse(&[&own[..], &behind].concat());
                prop_assert_eq!(read, Ok(Some((Header::default(), own.len()))));
            }
        }
    }
}
