//! Where a listener listens: an address to bind, or a socket that the service manager has bound.

use std::fmt;
use std::net::SocketAddr;

/// What stands before the name of a passed socket.
const PASSED: &str = "systemd:";

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenOn {
    /// At this address, port 0 being any that is free.
    Address(SocketAddr),
    /// At the socket of this name (`FileDescriptorName=` of a socket unit) that is passed at the start.
    Passed(String),
}

impl ListenOn {
    /// Reads `IP:port`, `localhost:port` or `systemd:NAME`.
    ///
    /// # Errors
    /// A sentence that says what is wrong and how to mend it.
    pub fn parse(written: &str) -> Result<Self, String> {
        match written.strip_prefix(PASSED) {
            Some("") => Err(format!(
                "`{PASSED}` what? Write the FileDescriptorName of the socket unit behind it"
            )),
            Some(name) => Ok(Self::Passed(name.to_owned())),
            None => address(written).map(Self::Address),
        }
    }

    /// The address, where it is known without the socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Passed(_) => None,
        }
    }
}

/// Reads `IP:port` or `localhost:port`.
///
/// # Errors
/// A sentence that says what is wrong and how to mend it.
pub(super) fn address(written: &str) -> Result<SocketAddr, String> {
    // `localhost:80` is what people write on their own machine.
    let numeric = match written.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => written.to_owned(),
    };
    numeric.parse().map_err(|_| {
        format!("`{written}` is not an address to listen on: write IP:port, such as 0.0.0.0:8080 or [::]:8080")
    })
}

impl fmt::Display for ListenOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Passed(name) => write!(f, "{PASSED}{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_at_an_address_or_a_name() {
        let local = ListenOn::Address(([127, 0, 0, 1], 80).into());
        assert_eq!(ListenOn::parse("localhost:80"), Ok(local.clone()));
        assert_eq!(ListenOn::parse("127.0.0.1:80"), Ok(local));
        assert_eq!(ListenOn::parse("systemd:web"), Ok(ListenOn::Passed("web".to_owned())));
        for wrong in ["systemd:", "web", "127.0.0.1", ""] {
            assert!(ListenOn::parse(wrong).is_err(), "{wrong}");
        }
        for shown in ["[::1]:443", "systemd:web.socket"] {
            assert_eq!(ListenOn::parse(shown).unwrap().to_string(), shown);
        }
    }
}
