//! One endpoint of an upstream: its address as written (`10.0.0.1:9001`, `http://backend:8080`), and
//! its share of the work.

use std::fmt;
use std::net::SocketAddr;

/// An endpoint: what to dial, and its label in logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`, as in the configuration; the key of its counters across plans.
    pub label: String,
    /// What to dial.
    pub target: Target,
    /// How much it takes beside the others, from 1 to 256.
    pub weight: u16,
    /// It takes something only while every other one is out.
    pub backup: bool,
}

/// What an endpoint's address is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A literal address.
    Address(SocketAddr),
    /// A name that is resolved at each dial.
    Name {
        /// The host name.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Endpoint {
    /// An endpoint of weight 1 at this address.
    pub fn at(address: SocketAddr) -> Self {
        Self::new(address.to_string(), Target::Address(address))
    }

    fn new(label: String, target: Target) -> Self {
        Self { label, target, weight: 1, backup: false }
    }

    /// Reads an address, as an endpoint of weight 1.
    ///
    /// # Errors
    /// A sentence that says what is wrong and how to mend it.
    pub fn parse(written: &str) -> Result<Self, String> {
        let (scheme, authority) = written.split_once("://").unwrap_or(("http", written));
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => {}
            "https" | "wss" | "h2c" => {
                return Err(format!(
                    "`{scheme}://` upstreams are not supported yet: use `http://` or a bare host:port"
                ));
            }
            _ => {
                return Err(format!(
                    "`{scheme}://` is not a scheme Bowline can dial: use `http://` or a bare host:port"
                ));
            }
        }
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains(['/', '?', '#']) {
            return Err(format!("`{written}` has a path: an endpoint is only host and port"));
        }
        if authority.contains('@') {
            return Err(format!("`{written}` has credentials: an endpoint is only host and port"));
        }
        if let Ok(address) = authority.parse::<SocketAddr>() {
            return Ok(Self::at(address));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                let port = port.parse().map_err(|_| {
                    format!("`{port}` is not a port: give a number from 1 to 65535")
                })?;
                (host, port)
            }
            _ if written.contains("://") => (authority, 80),
            _ => return Err(format!("`{written}` has no port: write `{written}:8080`, say")),
        };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse() {
            return Ok(Self::at(SocketAddr::new(ip, port)));
        }
        let named = !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if !named || port == 0 {
            return Err(format!("`{written}` is not host:port, such as 10.0.0.1:9001"));
        }
        let host = host.to_ascii_lowercase();
        Ok(Self::new(format!("{host}:{port}"), Target::Name { host, port }))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_spellings_mean_what_they_say() {
        for (written, label) in [
            ("10.0.0.1:9001", "10.0.0.1:9001"),
            ("http://10.0.0.1:9001/", "10.0.0.1:9001"),
            ("ws://10.0.0.1:9001", "10.0.0.1:9001"),
            ("http://10.0.0.1", "10.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("http://[::1]:80", "[::1]:80"),
            ("Backend.local:8080", "backend.local:8080"),
            ("http://web", "web:80"),
        ] {
            assert_eq!(
                Endpoint::parse(written).map(|e| e.label).as_deref(),
                Ok(label),
                "{written}"
            );
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_a_reason() {
        for (written, reason) in [
            ("https://a:443", "not supported yet"),
            ("ftp://a:21", "not a scheme"),
            ("http://a/path", "has a path"),
            ("http://u:p@a:1", "has credentials"),
            ("a", "has no port"),
            ("a:99999", "not a port"),
            ("a b:80", "not host:port"),
            (":80", "not host:port"),
            ("::1", "has no port"),
        ] {
            let error = Endpoint::parse(written).unwrap_err();
            assert!(error.contains(reason), "{written}: {error}");
        }
    }
}
