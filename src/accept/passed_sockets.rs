//! Listening sockets that whoever started this process has opened for it (`sd_listen_fds(3)`): it may
//! listen where it has no right to, and clients that come while it restarts wait instead of being refused.

use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::plan::ListenOn;

/// The sockets, for as long as the process lives: a listener that a reload removes and a later one
/// brings back finds its socket again.
#[derive(Debug, Default)]
pub struct PassedSockets(Vec<Passed>);

#[derive(Debug)]
struct Passed {
    /// `FileDescriptorName=` of the socket unit; by default that unit's own name.
    name: String,
    address: SocketAddr,
    socket: TcpListener,
}

impl PassedSockets {
    /// Takes what the environment tells of: `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`.
    ///
    /// # Errors
    /// When one of them is no TCP socket that listens.
    pub fn from_env() -> io::Result<Self> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        // Environment variables are not to be changed, and no program is started that could mistake
        // these for its own: `LISTEN_PID` is not its number.
        let mut passed = ListenFd::from_env();
        let mut names = names.split(':');
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default().to_owned();
            if let Some(socket) = passed.take_tcp_listener(index)? {
                let address = socket.local_addr()?;
                sockets.push(Passed { name, address, socket });
            }
        }
        Ok(Self(sockets))
    }

    /// Those that belong to `on`, with their address: of that name, or bound to that very address.
    pub(super) fn find(&self, on: &ListenOn) -> Option<(SocketAddr, &TcpListener)> {
        let is_meant = |one: &&Passed| match on {
            ListenOn::Address(address) => one.address == *address,
            ListenOn::Passed(name) => one.name == *name,
        };
        self.0.iter().find(is_meant).map(|one| (one.address, &one.socket))
    }

    /// `NAME (ADDRESS)` of those that are not `wanted`.
    pub fn unused<'a>(&self, wanted: impl Iterator<Item = &'a ListenOn> + Clone) -> Vec<String> {
        let is_unused = |one: &&Passed| {
            !wanted.clone().any(|on| {
                self.find(on).is_some_and(|(_, socket)| std::ptr::eq(socket, &raw const one.socket))
            })
        };
        let shown = |one: &Passed| format!("{} ({})", one.name, one.address);
        self.0.iter().filter(is_unused).map(shown).collect()
    }

    /// Their names, for who looks for another one.
    pub(super) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|one| one.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(names: &[&str]) -> PassedSockets {
        let one = |name: &&str| {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            Passed { name: (*name).to_owned(), address, socket }
        };
        PassedSockets(names.iter().map(one).collect())
    }

    #[test]
    fn a_socket_is_found_by_its_name_or_its_address() {
        let sockets = passed(&["web", "chat", ""]);
        let at = |index: usize| sockets.0[index].address;
        let found = |on: &ListenOn| sockets.find(on).map(|(address, _)| address);
        assert_eq!(found(&ListenOn::Passed("chat".to_owned())), Some(at(1)));
        assert_eq!(found(&ListenOn::Passed("mail".to_owned())), None);
        assert_eq!(found(&ListenOn::Address(at(2))), Some(at(2)));
        let other = ([127, 0, 0, 2], at(2).port()).into();
        assert_eq!(found(&ListenOn::Address(other)), None);
    }

    #[test]
    fn what_nobody_asks_for_is_named() {
        let sockets = passed(&["web", "chat"]);
        let wanted =
            [ListenOn::Passed("chat".to_owned()), ListenOn::Address(([127, 0, 0, 2], 1).into())];
        let address = sockets.0[0].address;
        assert_eq!(sockets.unused(wanted.iter()), [format!("web ({address})")]);
    }
}
