//! Headers as the specification has them, and everything near them.

use proptest::prelude::*;

use super::*;

/// A header of version 2 with this command, family, addresses and extensions.
fn v2(command: u8, family: u8, addresses: &[u8], extensions: &[(u8, &[u8])]) -> Vec<u8> {
    let mut block = addresses.to_vec();
    for (kind, value) in extensions {
        block.push(*kind);
        block.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        block.extend_from_slice(value);
    }
    let mut header = SIGNATURE.to_vec();
    header.extend([0x20 | command, family]);
    header.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    header.extend(block);
    header
}

/// 192.0.2.7:4711 to 198.51.100.1:443.
const TCP4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb];

/// [2001:db8::7]:4711 to [2001:db8::1]:443.
fn tcp6() -> Vec<u8> {
    let mut block = Vec::new();
    for ip in ["2001:db8::7", "2001:db8::1"] {
        block.extend(ip.parse::<Ipv6Addr>().unwrap().octets());
    }
    block.extend([0x12, 0x67, 0x01, 0xbb]);
    block
}

/// Puts the right checksum into a header whose last extension is one.
fn summed(mut header: Vec<u8>) -> Vec<u8> {
    let at = header.len() - 4;
    let sum = crc32c(&header, at).to_be_bytes();
    header[at..].copy_from_slice(&sum);
    header
}

fn of(source: &str, destination: &str) -> Header {
    let [source, destination] = [source, destination].map(|text| Some(text.parse().unwrap()));
    Header { source, destination, tls: None }
}

/// A header is read the same however much follows it, and not before it is whole.
fn read(header: &[u8]) -> Result<Header, Fault> {
    let more = [header, b"GET / HTTP/1.1\r\n\r\n\n"].concat();
    let whole = parse(&more);
    for end in 0..header.len() {
        let part = parse(&header[..end]);
        assert!(part == Ok(None) || (part.is_err() && part == whole), "{end}: {part:?}, {whole:?}");
    }
    let (read, length) = whole?.expect("whole");
    assert_eq!(length, header.len());
    Ok(read)
}

#[test]
fn a_line_of_version_1_names_the_client() {
    let no = Header::default();
    for (line, expected) in [
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n",
            of("192.0.2.7:4711", "198.51.100.1:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            of("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", of("0.0.0.0:0", "0.0.0.0:0")),
        (
            "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n",
            of("[2001:db8::7]:4711", "[2001:db8::1]:443"),
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            of(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        ("PROXY UNKNOWN\r\n", no),
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            no,
        ),
        ("PROXY UNKNOWN whatever this is\r\n", no),
    ] {
        assert_eq!(read(line.as_bytes()), Ok(expected), "{line}");
    }
}

#[test]
fn a_line_that_is_not_as_written_is_refused() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 \r\n",
        "PROXY TCP4 192.0.2.7  198.51.100.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.7\t198.51.100.1 4711 443\r\n",
        "PROXY  TCP4 192.0.2.7 198.51.100.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 1\r\n",
        "PROXY TCP4 192.0.2.07 198.51.100.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 4711 443\r\n",
        "PROXY TCP4 192.0.2 198.51.100.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 04711 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +471 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 \r\n",
        "PROXY TCP4 192.0.2.7 2001:db8::1 4711 443\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 4711 443\r\n",
        "PROXY TCP6 fe80::1%eth0 2001:db8::1 4711 443\r\n",
        "PROXY tcp4 192.0.2.7 198.51.100.1 4711 443\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 4711 443\r\n",
        "PROXY UNKNOWN a\rb\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWN\n",
    ] {
        assert_eq!(read(line.as_bytes()), Err(Fault::Line), "{line}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_V1 - 16));
    assert_eq!(long.len(), LONGEST_V1);
    assert_eq!(read(long.as_bytes()), Ok(Header::default()));
    let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_V1 - 15));
    assert_eq!(parse(longer.as_bytes()), Err(Fault::Line));
    for text in ["GET / HTTP/1.1\r\n", "proxy TCP4", "PROXY\r\n", "\x16\x03\x01", "\r\n\r\n\r\n"] {
        assert_eq!(parse(text.as_bytes()), Err(Fault::Missing), "{text:?}");
    }
}

#[test]
fn a_header_of_version_2_names_the_client() {
    let mut unix = vec![0; 216];
    unix[..4].copy_from_slice(b"/tmp");
    for (name, header, expected) in [
        ("tcp4", v2(1, 0x11, &TCP4, &[]), of("192.0.2.7:4711", "198.51.100.1:443")),
        ("tcp6", v2(1, 0x21, &tcp6(), &[]), of("[2001:db8::7]:4711", "[2001:db8::1]:443")),
        ("udp4", v2(1, 0x12, &TCP4, &[]), Header::default()),
        ("udp6", v2(1, 0x22, &tcp6(), &[]), Header::default()),
        ("unix", v2(1, 0x31, &unix, &[]), Header::default()),
        ("unspec", v2(1, 0x00, &[], &[]), Header::default()),
        ("unspec with a block", v2(1, 0x00, b"anything", &[]), Header::default()),
        ("local", v2(0, 0x00, &[], &[]), Header::default()),
        ("local with addresses", v2(0, 0x11, &TCP4, &[]), Header::default()),
        ("local with a block", v2(0, 0xff, b"anything", &[]), Header::default()),
        (
            "extensions",
            v2(
                1,
                0x11,
                &TCP4,
                &[(0x01, b"h2"), (0x02, b"evil.example"), (0x04, b""), (0xea, b"x")],
            ),
            of("192.0.2.7:4711", "198.51.100.1:443"),
        ),
        (
            "largest id",
            v2(1, 0x11, &TCP4, &[(0x05, &[7; 128])]),
            of("192.0.2.7:4711", "198.51.100.1:443"),
        ),
        (
            "not utf-8",
            v2(1, 0x11, &TCP4, &[(0x02, b"\xff\xfe")]),
            of("192.0.2.7:4711", "198.51.100.1:443"),
        ),
        (
            "checksum",
            summed(v2(1, 0x11, &TCP4, &[(0x03, &[0; 4])])),
            of("192.0.2.7:4711", "198.51.100.1:443"),
        ),
        (
            "checksum behind others",
            summed(v2(1, 0x21, &tcp6(), &[(0x04, &[0; 40]), (0x03, &[0; 4])])),
            of("[2001:db8::7]:4711", "[2001:db8::1]:443"),
        ),
    ] {
        assert_eq!(read(&header), Ok(expected), "{name}");
    }
    for (flags, tls) in [(1, true), (7, true), (0, false), (6, false)] {
        let value = [&[flags, 0, 0, 0, 0][..], b"\x21\0\x07TLSv1.3"].concat();
        let header = v2(1, 0x11, &TCP4, &[(0x20, &value)]);
        assert_eq!(read(&header).unwrap().tls, Some(tls), "{flags}");
    }
}

#[test]
fn a_header_whose_parts_do_not_fit_is_refused() {
    let mut version_1 = v2(1, 0x11, &TCP4, &[]);
    version_1[12] = 0x11;
    let mut unsummed = summed(v2(1, 0x11, &TCP4, &[(0x03, &[0; 4])]));
    unsummed[17] ^= 1;
    let ssl = |value| v2(1, 0x11, &TCP4, &[(0x20, value)]);
    for (name, header, fault) in [
        ("version", version_1, Fault::Unknown),
        ("command", v2(2, 0x11, &TCP4, &[]), Fault::Unknown),
        ("family", v2(1, 0x41, &TCP4, &[]), Fault::Unknown),
        ("protocol", v2(1, 0x13, &TCP4, &[]), Fault::Unknown),
        ("family without protocol", v2(1, 0x10, &TCP4, &[]), Fault::Unknown),
        ("addresses cut", v2(1, 0x11, &TCP4[..11], &[]), Fault::Length),
        ("ipv6 as ipv4", v2(1, 0x21, &TCP4, &[]), Fault::Length),
        ("unix cut", v2(1, 0x31, &[0; 215], &[]), Fault::Length),
        ("extension cut", v2(1, 0x11, &[&TCP4[..], &[1]].concat(), &[]), Fault::Length),
        ("extension over", v2(1, 0x11, &[&TCP4[..], &[1, 0, 1]].concat(), &[]), Fault::Length),
        ("id too long", v2(1, 0x11, &TCP4, &[(0x05, &[7; 129])]), Fault::Length),
        ("checksum wrong", v2(1, 0x11, &TCP4, &[(0x03, &[1; 4])]), Fault::Checksum),
        ("checksum of another", unsummed, Fault::Checksum),
        ("checksum short", v2(1, 0x11, &TCP4, &[(0x03, &[0; 3])]), Fault::Length),
        (
            "checksum twice",
            summed(v2(1, 0x11, &TCP4, &[(0x03, &[0; 4]), (0x03, &[0; 4])])),
            Fault::Checksum,
        ),
        ("ssl short", ssl(&[1, 0, 0, 0]), Fault::Length),
        ("ssl over", ssl(&[1, 0, 0, 0, 0, 0x21, 0, 1]), Fault::Length),
    ] {
        assert_eq!(read(&header), Err(fault), "{name}");
    }
    let largest = v2(1, 0x11, &TCP4, &[(0x04, &vec![0; LARGEST - FIXED_V2 - 12 - 3])]);
    assert_eq!(largest.len(), LARGEST);
    assert!(read(&largest).is_ok());
    // Refused before it has come.
    let larger = v2(1, 0x11, &TCP4, &[(0x04, &vec![0; LARGEST - FIXED_V2 - 12 - 2])]);
    assert_eq!(parse(&larger[..FIXED_V2]), Err(Fault::TooLarge));
}

#[test]
fn the_checksum_is_castagnolis() {
    // RFC 3720 appendix B.4.
    for (bytes, sum) in [
        (vec![0; 32], 0x8a91_36aa),
        (vec![0xff; 32], 0x62a8_ab43),
        ((0..32).collect(), 0x46dd_794e),
        (b"123456789".to_vec(), 0xe306_9283),
    ] {
        assert_eq!(crc32c(&bytes, usize::MAX), sum);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn one_changed_bit_of_a_summed_header_is_noticed(bit in 0_usize..(16 + 12 + 7) * 8) {
        // The byte that makes the last extension a checksum.
        prop_assume!(bit / 8 != 16 + 12);
        let mut header = summed(v2(1, 0x11, &TCP4, &[(0x03, &[0; 4])]));
        header[bit / 8] ^= 1 << (bit % 8);
        let changed = parse(&header);
        // LOCAL, or a family of which nothing counts, has no checksum to look at; a length that has
        // grown waits for more.
        let counts = matches!(changed, Ok(Some((Header { source: Some(_), .. }, _))));
        prop_assert!(!counts, "{:?}", changed);
    }
}
