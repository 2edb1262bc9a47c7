//! One endpoint of an upstream: its address as written (`10.0.0.1:9001`, `https://backend:8443`,
//! `unix:/run/app.sock`), and its share of the work.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tokio_rustls::rustls::pki_types::ServerName;

/// What the kernel has room for (unix(7)), less the zero at the end.
const LONGEST_PATH: usize = 107;

/// What the label of an endpoint with TLS begins with.
const SECURE: &str = "https://";

/// An endpoint: what to dial, and its label in logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`, `https://host:port` or `unix:/path`, as in the configuration; the key of its counters
    /// across plans.
    pub label: String,
    /// What to dial.
    pub target: Target,
    /// What is spoken there.
    pub transport: Transport,
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

/// What stands between a connection and the HTTP in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Nothing, unless its upstream speaks TLS to all that say nothing.
    Unsaid,
    /// Nothing.
    Plain,
    /// TLS, with who is expected there where the upstream names nobody.
    Tls(ServerName<'static>),
}

impl Endpoint {
    /// An endpoint of weight 1 at this address.
    pub fn at(address: SocketAddr) -> Self {
        Self::new(address.to_string(), Target::Address(address))
    }

    fn new(label: String, target: Target) -> Self {
        Self { label, target, transport: Transport::Unsaid, weight: 1, backup: false }
    }

    /// The same over TLS, unless it says that it is not. `name` is who is expected there, in place of its
    /// own host.
    #[must_use]
    pub fn secured(self, name: Option<&str>) -> Self {
        if self.transport != Transport::Unsaid {
            return self;
        }
        let own = match &self.target {
            Target::Address(address) => ServerName::IpAddress(address.ip().into()),
            // What is no name of a host cannot be one of a certificate: nobody is the right one there.
            Target::Name { host, .. } => server_name(host)
                .unwrap_or(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into())),
            Target::Unix(_) => return self,
        };
        let name = name.and_then(server_name).unwrap_or(own);
        let label = format!("{SECURE}{}", self.label);
        Self { label, transport: Transport::Tls(name), ..self }
    }

    fn plain(self) -> Self {
        Self { transport: Transport::Plain, ..self }
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
        let Some((scheme, authority)) = written.split_once("://") else {
            return Self::at_authority(written, written, None);
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => Self::at_authority(written, authority, Some(80)).map(Self::plain),
            "https" | "wss" => {
                let endpoint = Self::at_authority(written, authority, Some(443))?;
                match &endpoint.target {
                    Target::Name { host, .. } if server_name(host).is_none() => Err(format!(
                        "`{host}` is no name that a certificate could be for: write another one"
                    )),
                    _ => Ok(endpoint.secured(None)),
                }
            }
            _ => Err(format!(
                "`{scheme}://` is not a scheme Bowline can dial: use `http://`, `https://` or a bare host:port"
            )),
        }
    }

    /// Reads what stands behind the scheme, if any, of `written`; `port` is the one that the scheme stands for.
    fn at_authority(written: &str, authority: &str, port: Option<u16>) -> Result<Self, String> {
        let by_scheme = port;
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
            _ => match by_scheme {
                Some(port) => (authority, port),
                None => {
                    return Err(format!("`{written}` has no port: write `{written}:8080`, say"));
                }
            },
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

/// `name` as one that can be asked for and verified; an address is one, too. `None` where it is none.
pub(super) fn server_name(name: &str) -> Option<ServerName<'static>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(name).ok().map(|name| name.to_owned())
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
            ("https://web", "https://web:443"),
            ("wss://Web:8443/", "https://web:8443"),
            ("https://10.0.0.1", "https://10.0.0.1:443"),
            ("HTTPS://[::1]", "https://[::1]:443"),
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
            ("https://a-.b:443", "no name that a certificate could be for"),
            ("https://a:443/path", "has a path"),
            ("h2c://a:443", "not a scheme"),
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
    fn only_what_says_nothing_is_secured_by_its_upstream_and_each_expects_its_host() {
        let expects = |written: &str, name: Option<&str>| match Endpoint::parse(written)
            .unwrap()
            .secured(name)
            .transport
        {
            Transport::Tls(name) => name.to_str().into_owned(),
            _ => "nobody".to_owned(),
        };
        for (written, name, expected) in [
            ("web.internal:1", None, "web.internal"),
            ("web.internal.:1", None, "web.internal"),
            ("10.0.0.1:1", None, "10.0.0.1"),
            ("10.0.0.1:1", Some("web.internal."), "web.internal"),
            ("https://other:1", Some("web.internal"), "other"),
            ("http://web.internal:1", None, "nobody"),
            ("unix:/run/app.sock", None, "nobody"),
        ] {
            assert_eq!(expects(written, name), expected, "{written}");
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
