//! Listening sockets: one per worker and address, so that the kernel spreads connections and no
//! worker wakes for another's.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::PassedSockets;
use crate::plan::ListenOn;
use crate::upstream::KEEP_ALIVE;

/// Connections the kernel holds while workers are busy; it caps this at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// One address, bound once for every worker.
#[derive(Debug)]
pub struct Bound {
    /// The address in force: the port is known even when 0 was asked for.
    pub address: SocketAddr,
    /// One socket a worker.
    pub sockets: Vec<TcpListener>,
}

/// Why there is nothing to listen on, with the mend.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address that cannot be had.
    #[error("cannot listen on {address}: {}", mend(*address, source))]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A socket that nobody has passed.
    #[error(
        "cannot listen on systemd:{name}: no such socket was passed ({}); name it with \
         `FileDescriptorName={name}` in the socket unit, or give an address",
        those(passed)
    )]
    NotPassed {
        /// The name that was asked for.
        name: String,
        /// The names that are there.
        passed: Vec<String>,
    },
}

fn mend(address: SocketAddr, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the port is in use; stop the other program (`ss -ltnp 'sport = :{}'` names it) or choose another port",
            address.port()
        ),
        io::ErrorKind::PermissionDenied => format!(
            "ports below 1024 need a privilege; give it (`setcap cap_net_bind_service=+ep` on the binary) or choose a port above 1023 instead of {}",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has that address; use 0.0.0.0 or [::] for all of them"
                .to_owned()
        }
        _ => source.to_string(),
    }
}

fn those(passed: &[String]) -> String {
    match passed {
        [] => "none at all was".to_owned(),
        some => format!("only {}", some.join(", ")),
    }
}

impl Bound {
    /// What `workers` workers listen with `on` this: what was `passed` for it, else an address that is
    /// bound now.
    ///
    /// # Errors
    /// [`BindError`], whose text names the mend.
    pub fn on(on: &ListenOn, passed: &PassedSockets, workers: usize) -> Result<Self, BindError> {
        match (passed.find(on), on) {
            (Some((address, socket)), _) => Self::shared(socket, address, workers)
                .map_err(|source| BindError::Address { address, source }),
            (None, ListenOn::Address(address)) => Self::new(*address, workers),
            (None, ListenOn::Passed(name)) => {
                let passed = passed.names().into_iter().map(str::to_owned).collect();
                Err(BindError::NotPassed { name: name.clone(), passed })
            }
        }
    }

    /// One socket that listens already, for all workers: the kernel wakes all of them for a connection,
    /// and one gets it.
    fn shared(socket: &TcpListener, address: SocketAddr, workers: usize) -> io::Result<Self> {
        let ours = SockRef::from(socket);
        ours.set_tcp_nodelay(true)?;
        ours.set_tcp_keepalive(&KEEP_ALIVE)?;
        ours.set_nonblocking(true)?;
        let sockets = (0..workers).map(|_| socket.try_clone()).collect::<io::Result<_>>()?;
        Ok(Self { address, sockets })
    }

    /// Binds `address` for `workers` workers.
    ///
    /// # Errors
    /// [`BindError`], whose text names the mend.
    pub fn new(address: SocketAddr, workers: usize) -> Result<Self, BindError> {
        let failed = |source| BindError::Address { address, source };
        // With SO_REUSEPORT a second Bowline would silently take half of the connections. A bind
        // without it tells whether anybody listens there.
        drop(socket(address, false).map_err(failed)?);
        let first = socket(address, true).map_err(failed)?;
        let bound = first.local_addr().map_err(failed)?;
        let mut sockets = vec![first];
        while sockets.len() < workers {
            sockets.push(socket(bound, true).map_err(failed)?);
        }
        for socket in &sockets {
            SockRef::from(socket).listen(BACKLOG).map_err(failed)?;
        }
        Ok(Self { address: bound, sockets })
    }
}

/// A bound socket that does not listen yet. What is set here, accepted sockets inherit: that
/// saves five system calls a connection.
fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        // [::] and 0.0.0.0 are two addresses; who wants both lists both.
        socket.set_only_v6(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEP_ALIVE)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_names_the_address_and_a_mend() {
        for (kind, told) in [
            (
                io::ErrorKind::AddrInUse,
                "the port is in use; stop the other program (`ss -ltnp 'sport = :443'`",
            ),
            (
                io::ErrorKind::PermissionDenied,
                "ports below 1024 need a privilege; give it (`setcap",
            ),
            (io::ErrorKind::AddrNotAvailable, "no interface of this machine has that address"),
            (io::ErrorKind::OutOfMemory, "out of memory"),
        ] {
            let address = ([10, 0, 0, 1], 443).into();
            let error = BindError::Address { address, source: kind.into() };
            let line = error.to_string();
            assert!(line.starts_with("cannot listen on 10.0.0.1:443: "), "{line}");
            assert!(line.contains(told), "{line}");
        }
    }

    #[test]
    fn every_worker_has_a_socket_of_its_own_on_one_port() {
        let bound = Bound::new(([127, 0, 0, 1], 0).into(), 3).unwrap();
        assert_ne!(bound.address.port(), 0);
        assert_eq!(bound.sockets.len(), 3);
        for socket in &bound.sockets {
            assert_eq!(socket.local_addr().unwrap(), bound.address);
        }
        let again = Bound::new(bound.address, 1).unwrap_err();
        assert!(again.to_string().contains("the port is in use"), "{again}");
    }
}
