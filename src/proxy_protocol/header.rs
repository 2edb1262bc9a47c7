//! Reading a header (HAProxy's `proxy-protocol.txt`, revision 2020-03-05), versions 1
//! and 2, as a pure decision on the bytes that have come so far. It believes nobody: who may send one
//! at all is decided before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Section 2.1: a line of version 1 has at most 107 bytes, its CRLF among them.
const LONGEST_V1: usize = 107;

/// Section 2.2: no text protocol begins like this.
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and protocol, length.
const FIXED_V2: usize = 16;

/// A header of version 2 could have 64 KiB; addresses and what proxies are known to add, a client
/// certificate's name included, stay far below this.
pub(crate) const LARGEST: usize = 4096;

/// What a header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// The client; `None` when the proxy speaks for itself (LOCAL, a health check) or does not know
    /// (UNKNOWN, a Unix socket): then the connection's own other end is meant.
    pub(crate) source: Option<SocketAddr>,
    /// What the client reached, wherever the client is named.
    pub(crate) destination: Option<SocketAddr>,
    /// Whether the client came by TLS, where the proxy says it.
    pub(crate) tls: Option<bool>,
}

/// Why bytes are no header. The connection cannot be used: where it should begin is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Neither version's beginning; most likely nobody sends a header at all.
    #[error("no PROXY header")]
    Missing,
    /// A line of version 1 that is not as section 2.1 has it.
    #[error("a malformed PROXY line")]
    Line,
    /// A version, command, family or protocol that nobody knows.
    #[error("an unknown PROXY version, command or family")]
    Unknown,
    /// Over [`LARGEST`].
    #[error("a PROXY header over 4096 bytes")]
    TooLarge,
    /// Lengths that do not add up.
    #[error("a PROXY header whose lengths do not fit")]
    Length,
    /// The checksum is another one (section 2.2.3).
    #[error("a PROXY header with a wrong checksum")]
    Checksum,
}

/// Reads the header at the start of `bytes`. Returns it with its length, or `None` while more bytes
/// are needed.
///
/// # Errors
/// When these bytes begin no header, whatever follows.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Fault> {
    if begins(bytes, SIGNATURE) {
        version_2(bytes)
    } else if begins(bytes, b"PROXY ") {
        version_1(bytes)
    } else {
        Err(Fault::Missing)
    }
}

/// Whether `bytes` begin with `with`, as far as they have come.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(byte, with)| byte == with)
}

fn version_1(bytes: &[u8]) -> Result<Option<(Header, usize)>, Fault> {
    let window = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if window.len() < LONGEST_V1 { Ok(None) } else { Err(Fault::Line) };
    };
    let line = window.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Fault::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| Fault::Line)?;
    // Another reader might end the line here.
    if line.contains('\r') {
        return Err(Fault::Line);
    }
    let (source, destination) = line_ends(line).ok_or(Fault::Line)?.unzip();
    Ok(Some((Header { source, destination, tls: None }, end.saturating_add(1))))
}

/// Source and destination of a connection.
type Pair = (SocketAddr, SocketAddr);

/// Both ends of a line; `Some(None)` when the line names nobody.
fn line_ends(line: &str) -> Option<Option<Pair>> {
    let rest = line.strip_prefix("PROXY ")?;
    // What follows is for nobody to read (section 2.1).
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let mut words = rest.split(' ');
    let (family, source, destination) = (words.next()?, words.next()?, words.next()?);
    let ports = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    let of_family = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let (source, destination) = (of_family(source)?, of_family(destination)?);
    Some(Some((SocketAddr::new(source, ports.0), SocketAddr::new(destination, ports.1))))
}

/// Digits without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

fn version_2(bytes: &[u8]) -> Result<Option<(Header, usize)>, Fault> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_V2>() else {
        // As soon as the version is there it is judged.
        return match bytes.get(SIGNATURE.len()) {
            Some(byte) if byte >> 4 != 2 => Err(Fault::Unknown),
            _ => Ok(None),
        };
    };
    let [.., version_and_command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = FIXED_V2.saturating_add(length);
    if version_and_command >> 4 != 2 {
        return Err(Fault::Unknown);
    }
    if whole > LARGEST {
        return Err(Fault::TooLarge);
    }
    let is_local = match version_and_command & 0xf {
        0 => true,
        1 => false,
        _ => return Err(Fault::Unknown),
    };
    let Some(block) = rest.get(..length) else { return Ok(None) };
    // Of LOCAL even the family is to be ignored (section 2.2).
    let header = if is_local {
        Header::default()
    } else {
        let (ends, extensions) = addresses(family, block)?;
        let Extensions { tls, checksum } = Extensions::read(extensions)?;
        if let Some(checksum) = checksum {
            let header = bytes.get(..whole).unwrap_or_default();
            let at = whole.saturating_sub(checksum.from_end);
            if crc32c(header, at) != checksum.value {
                return Err(Fault::Checksum);
            }
        }
        let (source, destination) = ends.unzip();
        Header { source, destination, tls }
    };
    Ok(Some((header, whole)))
}

/// Both ends of an address block, and the extensions behind it.
fn addresses(family: u8, block: &[u8]) -> Result<(Option<Pair>, &[u8]), Fault> {
    // Addresses of both sides, and where both are of IP, ports.
    let (ip, ports) = match family {
        // What stands in a block of no family is not said.
        0x00 => return Ok((None, &[])),
        0x11 | 0x12 => (4, 4),
        0x21 | 0x22 => (16, 4),
        0x31 | 0x32 => (108, 0),
        _ => return Err(Fault::Unknown),
    };
    let (both, extensions) = block.split_at_checked(2 * ip + ports).ok_or(Fault::Length)?;
    let end = |nth: usize| {
        let ip = both.get(nth * ip..)?;
        let ip = match family {
            0x11 => IpAddr::from(*ip.first_chunk::<4>()?),
            0x21 => IpAddr::from(*ip.first_chunk::<16>()?),
            // A datagram's or a path's ends are not those of this connection.
            _ => return None,
        };
        Some(ip)
    };
    let port = |nth: usize| {
        let port = both.get(2 * ip + 2 * nth..).and_then(|ports| ports.first_chunk::<2>());
        port.map_or(0, |port| u16::from_be_bytes(*port))
    };
    let ends = end(0).zip(end(1)).map(|(source, destination)| {
        (SocketAddr::new(source, port(0)), SocketAddr::new(destination, port(1)))
    });
    Ok((ends, extensions))
}

/// What of the extensions (section 2.2.1) counts here. The authority, the ALPN, the unique id and
/// whatever else there is are only measured: nothing is believed that TLS or HTTP says itself.
#[derive(Debug, Default)]
struct Extensions {
    tls: Option<bool>,
    checksum: Option<Checksum>,
}

#[derive(Clone, Copy, Debug)]
struct Checksum {
    value: u32,
    /// How far before the end of the header the four bytes begin.
    from_end: usize,
}

impl Extensions {
    fn read(mut rest: &[u8]) -> Result<Self, Fault> {
        /// Section 2.2.5.
        const LONGEST_ID: usize = 128;
        let mut read = Self::default();
        while !rest.is_empty() {
            let from_end = rest.len().saturating_sub(3);
            let (kind, value, behind) = extension(rest).ok_or(Fault::Length)?;
            match kind {
                0x03 => {
                    let value = value.try_into().map_err(|_| Fault::Length)?;
                    let checksum = Checksum { value: u32::from_be_bytes(value), from_end };
                    if read.checksum.replace(checksum).is_some() {
                        return Err(Fault::Checksum);
                    }
                }
                0x05 if value.len() > LONGEST_ID => return Err(Fault::Length),
                0x20 => read.tls = Some(by_tls(value)?),
                _ => {}
            }
            rest = behind;
        }
        Ok(read)
    }
}

/// The first extension: its kind, its value, and what stands behind it.
fn extension(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([kind, high, low], rest) = bytes.split_first_chunk::<3>()?;
    let (value, behind) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    Some((*kind, value, behind))
}

/// Section 2.2.6: flags, of which the lowest says TLS, the verdict on a certificate, and extensions
/// inside.
fn by_tls(value: &[u8]) -> Result<bool, Fault> {
    let ([flags, ..], mut inside) = value.split_first_chunk::<5>().ok_or(Fault::Length)?;
    while !inside.is_empty() {
        (_, _, inside) = extension(inside).ok_or(Fault::Length)?;
    }
    Ok(flags & 1 == 1)
}

/// CRC32C (RFC 3720 appendix B.4) of `bytes`, the four from `zeroed` on taken as zeros. By the bit:
/// it is asked for once a connection, and of hundreds of bytes.
fn crc32c(bytes: &[u8], zeroed: usize) -> u32 {
    /// Castagnoli's polynomial, its bits reversed.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let without = zeroed..zeroed.saturating_add(4);
    !bytes.iter().enumerate().fold(!0, |sum, (at, byte)| {
        let byte = if without.contains(&at) { 0 } else { *byte };
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 }
        })
    })
}

#[cfg(test)]
mod tests;
