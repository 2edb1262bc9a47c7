//! The header of the PROXY protocol, which names the real client before everything else on a
//! connection: read where balancers send it, written where upstreams want it. Pure: no socket is
//! known here, and nobody is believed.

mod header;
mod writing;

pub(crate) use self::header::{Fault, Header, LARGEST, parse};
pub(crate) use self::writing::{Ends, write};

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}
