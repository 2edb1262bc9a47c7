//! One endpoint of an upstream: its address as written (`10.0.0.1:9001`, `http://backend:8080`,
//! `unix:/run/app.sock`), and its share of the work.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What the kernel has room for (unix(7)), less the zero at the end.
const LONGEST_PATH: usize = 107;

/// An endpoint: what to dial, and its label in logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port` or `unix:/path`, as in the configuration; the key of its counters across plans.
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
    /// The path of a Unix domain socket; absolute.
    Unix(PathBuf),
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
        if let Some((scheme, path)) = written.split_once(':')
            && scheme.eq_ignore_ascii_case("unix")
        {
            return Self::at_path(path);
        }
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

impl Endpoint {
    /// Reads what stands behind `unix:`: a path, or with two slashes before it the path of a URL.
    fn at_path(written: &str) -> Result<Self, String> {
        let url = written.strip_prefix("//");
        let path = url.unwrap_or(written);
        let name = path.trim_start_matches(['.', '/']);
        if name.is_empty() {
            return Err("`unix:` needs the path of a socket: write `unix:/run/app.sock`".to_owned());
        }
        if !path.starts_with('/') {
            let folder = if url.is_some() { "" } else { "run/" };
            return Err(format!(
                "`unix:{written}` has no absolute path: write `unix:/{folder}{name}`, say"
            ));
        }
        if path.ends_with('/') || path.contains('\0') {
            return Err(format!(
                "`unix:{path}` is not the path of a socket: write `unix:/run/app.sock`"
            ));
        }
        if path.len() > LONGEST_PATH {
            return Err(format!(
                "the path of a socket has at most {LONGEST_PATH} bytes, and this one has {}: \
                 let the server listen at a shorter one",
                path.len()
            ));
        }
        Ok(Self::new(format!("unix:{path}"), Target::Unix(path.into())))
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
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:///run/app.sock", "unix:/run/app.sock"),
            ("UNIX:/run/App.sock", "unix:/run/App.sock"),
            ("unix:/run/a:1?b", "unix:/run/a:1?b"),
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
            ("unix:", "needs the path"),
            ("unix://", "needs the path"),
            ("unix:/", "needs the path"),
            ("unix:app.sock", "write `unix:/run/app.sock`, say"),
            ("unix:./app.sock", "write `unix:/run/app.sock`, say"),
            ("unix://run/app.sock", "write `unix:/run/app.sock`, say"),
            ("unix:@app", "has no absolute path"),
            ("unix:/run/", "is not the path of a socket"),
            ("unix:/run/a\0b", "is not the path of a socket"),
        ] {
            let error = Endpoint::parse(written).unwrap_err();
            assert!(error.contains(reason), "{written}: {error}");
        }
    }

    #[test]
    fn a_path_is_as_long_as_the_kernel_takes_and_no_longer() {
        let path = |length: usize| format!("unix:/{}", "x".repeat(length - 1));
        assert!(Endpoint::parse(&path(LONGEST_PATH)).is_ok());
        let error = Endpoint::parse(&path(LONGEST_PATH + 1)).unwrap_err();
        assert!(error.contains("at most 107 bytes, and this one has 108"), "{error}");
    }
}
