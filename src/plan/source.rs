//! Where endpoints are found while Bowline runs: names of the DNS, and files.

use std::fmt;
use std::path::PathBuf;

/// Something that says which endpoints there are, and says it anew when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Every A and AAAA address of a name, `dns://chat.internal:9001`.
    Addresses {
        /// The name.
        host: String,
        /// The port of each.
        port: u16,
    },
    /// What the SRV records (RFC 2782) of a name say, `dns+srv://_ws._tcp.chat.internal`.
    Services {
        /// The name.
        name: String,
    },
    /// A list in a file.
    File(PathBuf),
}

/// A source of an upstream, and what its endpoints are beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Where they are found.
    pub source: Source,
    /// How much each takes, where the source does not say it itself.
    pub weight: u16,
    /// Each takes something only while all others are out.
    pub backup: bool,
}

impl Source {
    /// Reads an entry of `endpoints`; `None` where it is one endpoint and no source of several.
    ///
    /// # Errors
    /// A sentence that says what is wrong and how to mend it.
    pub(super) fn parse(written: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = written.split_once("://")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        match scheme.to_ascii_lowercase().as_str() {
            "dns" => Some(addresses(written, rest)),
            "dns+srv" => Some(services(written, rest)),
            _ => None,
        }
    }

    /// Whether it is asked over the DNS.
    pub fn is_dns(&self) -> bool {
        !matches!(self, Self::File(_))
    }
}

fn addresses(written: &str, rest: &str) -> Result<Source, String> {
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| {
        format!("`{written}` has no port: write `{written}:8080`, or `dns+srv://` for SRV records")
    })?;
    let port: u16 = port
        .parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("`{port}` is not a port: give a number from 1 to 65535"))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Err(format!("`{host}` is an address already: write `{rest}` without `dns://`"));
    }
    Ok(Source::Addresses { host: name(written, host)?, port })
}

fn services(written: &str, rest: &str) -> Result<Source, String> {
    if rest.contains(':') {
        return Err(format!("`{written}` has a port: SRV records bring their own, leave it out"));
    }
    Ok(Source::Services { name: name(written, rest)? })
}

/// A name in lower case; DNS tells the cases not apart.
fn name(written: &str, name: &str) -> Result<String, String> {
    // RFC 1035 section 2.3.4: 255 octets, labels of 63.
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.len() <= 253 && bare.split('.').all(is_label) {
        return Ok(name.to_ascii_lowercase());
    }
    Err(format!("`{written}` has no name that the DNS knows: write dns://chat.internal:9001, say"))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses { host, port } => write!(f, "dns://{host}:{port}"),
            Self::Services { name } => write!(f, "dns+srv://{name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_source_is_left_to_others() {
        for written in ["10.0.0.1:9001", "http://a:1", "chat.internal:9001", "dns:9001"] {
            assert_eq!(Source::parse(written), None, "{written}");
        }
    }

    #[test]
    fn a_source_is_shown_as_it_is_written() {
        for (written, shown) in [
            ("dns://chat.internal:9001", "dns://chat.internal:9001"),
            ("DNS://Chat.Internal.:9001/", "dns://chat.internal.:9001"),
            ("dns+srv://_ws._tcp.chat.internal", "dns+srv://_ws._tcp.chat.internal"),
        ] {
            let source = Source::parse(written).unwrap().unwrap();
            assert_eq!(source.to_string(), shown);
        }
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused_with_a_reason() {
        let long = format!("dns://{}:1", "a".repeat(64));
        for (written, reason) in [
            ("dns://chat.internal", "has no port"),
            ("dns://chat.internal:0", "not a port"),
            ("dns://chat.internal:ws", "not a port"),
            ("dns://10.0.0.1:9001", "an address already"),
            ("dns://[::1]:9001", "an address already"),
            ("dns://:9001", "no name"),
            ("dns://a..b:9001", "no name"),
            ("dns://a b:9001", "no name"),
            (&long, "no name"),
            ("dns+srv://_ws._tcp.chat:9001", "has a port"),
            ("dns+srv://", "no name"),
        ] {
            let error = Source::parse(written).unwrap().unwrap_err();
            assert!(error.contains(reason), "{written}: {error}");
        }
    }
}
