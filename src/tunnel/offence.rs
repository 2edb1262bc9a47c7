//! What a peer's frames may do wrong (RFC 6455, RFC 7692).

use super::Reason;

/// A frame that ends a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    /// A Close whose body is a single byte (RFC 6455 section 5.5.1).
    CloseBody,
    /// A Close with a code that no frame may have (section 7.4.1).
    CloseCode,
    /// A continuation of no message (section 5.4).
    Continuation,
    /// A control frame in fragments (section 5.5).
    FragmentedControl,
    /// A frame over `websocket.max_frame`.
    FrameTooBig,
    /// A length that is not said in the shortest way (section 5.2).
    Length,
    /// A control frame over 125 bytes (section 5.5).
    LongControl,
    /// A client's frame that is not masked, or an upstream's that is (section 5.1).
    Mask,
    /// A message over `websocket.max_message`.
    MessageTooBig,
    /// An opcode that means nothing (section 5.2).
    Opcode,
    /// A reserved bit that no extension has given a meaning (section 5.2; RFC 7692 section 6).
    ReservedBits,
    /// A message within another (section 5.4).
    Unfinished,
}

impl Offence {
    /// The code of the Close that answers it (RFC 6455 section 7.4.1).
    pub(super) fn code(self) -> u16 {
        match self {
            Self::FrameTooBig | Self::MessageTooBig => 1009,
            _ => 1002,
        }
    }

    /// What the end of the tunnel is called.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::FrameTooBig | Self::MessageTooBig => Reason::TooBig,
            _ => Reason::Protocol,
        }
    }

    /// What the offender is told in its Close.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::CloseBody => "a Close with a body of one byte",
            Self::CloseCode => "a Close with a code that no frame may have",
            Self::Continuation => "a continuation of nothing",
            Self::FragmentedControl => "a control frame in fragments",
            Self::FrameTooBig => "a frame over the limit",
            Self::Length => "a length that is not in its shortest form",
            Self::LongControl => "a control frame over 125 bytes",
            Self::Mask => "masked or not, and should be the other",
            Self::MessageTooBig => "a message over the limit",
            Self::Opcode => "an opcode that means nothing",
            Self::ReservedBits => "a reserved bit without an extension",
            Self::Unfinished => "a message within another",
        }
    }
}
