//! The frames of one direction, seen by their headers alone: what passes, what a message weighs,
//! where a frame ends. Payload is neither copied nor unmasked, but for control frames, which are
//! read whole. Bytes that cannot be judged yet, the beginning of a header or of a control frame,
//! wait here, so that whatever has passed ends at a frame or within a payload.

use super::frame::{CLOSE, CONTINUATION, Header, Heading, LONGEST_CONTROL, PING, PONG, mask};
use super::offence::Offence;

/// What a direction's frames are measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether frames break RFC 6455 is looked at.
    pub strict: bool,
    /// The largest payload of a frame, in bytes.
    pub max_frame: u64,
    /// The largest payload of a message over all its frames, in bytes as they travel.
    pub max_message: u64,
}

impl Rules {
    /// None at all.
    pub const OFF: Self = Self { strict: false, max_frame: u64::MAX, max_message: u64::MAX };
}

/// The extensions of a WebSocket, as far as they change what a header may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extensions {
    /// None: no reserved bit, no reserved opcode.
    #[default]
    None,
    /// permessage-deflate: RSV1 at the beginning of a message (RFC 7692 section 6).
    Deflate,
    /// Others: any bit and any opcode may have a meaning.
    Unknown,
}

/// Something whole that was seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A message of so many bytes ended.
    Message(u64),
    /// A ping.
    Ping,
    /// A pong with this payload, unmasked.
    Pong(&'a [u8]),
    /// A Close with this code.
    Close(Option<u16>),
}

/// Whether a control frame goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It does.
    Pass,
    /// It was meant for Bowline.
    Swallow,
}

/// What became of an input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// So many bytes from its beginning go on; those that were swallowed are cut out, those behind
    /// wait in the meter.
    pub(super) passed: usize,
    /// The first place among them where no frame is under way.
    pub(super) boundary: Option<usize>,
    /// What stopped the direction for good.
    pub(super) offence: Option<Offence>,
    /// A part of a message is among them.
    pub(super) of_message: bool,
}

/// The state of one direction.
#[derive(Debug)]
pub(super) struct Meter {
    heading: Heading,
    /// Payload of the frame under way that has not passed.
    left: u64,
    /// Payload of the message under way, the frame under way included.
    message: u64,
    /// The frame under way is of a message.
    of_message: bool,
    /// The frame under way is the last of its message.
    fin: bool,
    /// A message has begun and not ended.
    fragmented: bool,
    /// What the 101 agreed on.
    extensions: Extensions,
    /// A word in every direction, and bytes only when a read ended within a header.
    #[expect(clippy::box_collection, reason = "thin: most meters carry nothing")]
    carry: Option<Box<Vec<u8>>>,
}

impl Meter {
    pub(super) fn new(heading: Heading, extensions: Extensions) -> Self {
        Self {
            heading,
            extensions,
            left: 0,
            message: 0,
            of_message: false,
            fin: true,
            fragmented: false,
            carry: None,
        }
    }

    /// Whether what has passed ends with a whole frame: another one may be put behind it.
    pub(super) fn at_boundary(&self) -> bool {
        self.left == 0
    }

    /// Payload of the frame under way that has not come.
    pub(super) fn payload_left(&self) -> u64 {
        self.left
    }

    /// What waits; the next input begins with it. Less than the longest control frame.
    pub(super) fn carry(&self) -> &[u8] {
        self.carry.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Looks through `input`, which begins with [`Meter::carry`]. `event` hears what was seen, in
    /// order, and says what becomes of control frames.
    pub(super) fn scan(
        &mut self,
        rules: &Rules,
        input: &mut [u8],
        mut event: impl FnMut(Event<'_>) -> Fate,
    ) -> Scan {
        self.carry = None;
        let mut end = input.len();
        let mut scan = Scan { passed: 0, boundary: None, offence: None, of_message: false };
        loop {
            if self.left > 0 {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX);
                let here = here.min(end.saturating_sub(scan.passed));
                self.left = self.left.saturating_sub(here as u64);
                scan.passed = scan.passed.saturating_add(here);
                scan.of_message |= self.of_message && here > 0;
                if self.left > 0 {
                    return scan;
                }
                self.frame_ended(&mut event);
            }
            scan.boundary.get_or_insert(scan.passed);
            let ahead = input.get(scan.passed..end).unwrap_or_default();
            if ahead.is_empty() {
                return scan;
            }
            let Some(header) = Header::read(ahead) else {
                self.carry = Some(Box::new(ahead.to_vec()));
                return scan;
            };
            if let Err(offence) = self.judge(rules, &header) {
                scan.offence = Some(offence);
                return scan;
            }
            // A control frame that is too long to be one is passed by whoever tolerates it.
            let short = header.payload <= LONGEST_CONTROL;
            if !(header.is_control() && short) {
                self.begin(&header);
                scan.of_message |= self.of_message;
                scan.passed = scan.passed.saturating_add(header.length);
                if self.left == 0 {
                    self.frame_ended(&mut event);
                }
                continue;
            }
            let whole = header.length.saturating_add(header.payload as usize);
            let Some(frame) = ahead.get(..whole) else {
                self.carry = Some(Box::new(ahead.to_vec()));
                return scan;
            };
            match control(rules, &header, frame, &mut event) {
                Err(offence) => {
                    scan.offence = Some(offence);
                    return scan;
                }
                Ok(Fate::Pass) => scan.passed = scan.passed.saturating_add(whole),
                Ok(Fate::Swallow) => {
                    let behind = scan.passed.saturating_add(whole);
                    input.copy_within(behind..end, scan.passed);
                    end = end.saturating_sub(whole);
                }
            }
        }
    }

    /// A frame whose payload passes as it comes.
    fn begin(&mut self, header: &Header) {
        self.left = header.payload;
        self.of_message = !header.is_control();
        if self.of_message {
            self.fin = header.fin;
            self.fragmented = !header.fin;
            self.message = self.message.saturating_add(header.payload);
        }
    }

    fn frame_ended(&mut self, event: &mut impl FnMut(Event<'_>) -> Fate) {
        if self.of_message && self.fin {
            event(Event::Message(self.message));
            self.message = 0;
        }
    }

    fn judge(&self, rules: &Rules, header: &Header) -> Result<(), Offence> {
        if rules.strict {
            self.judge_strictly(header)?;
        }
        if header.is_control() {
            return Ok(());
        }
        if header.payload > rules.max_frame {
            return Err(Offence::FrameTooBig);
        }
        if self.message.saturating_add(header.payload) > rules.max_message {
            return Err(Offence::MessageTooBig);
        }
        Ok(())
    }

    fn judge_strictly(&self, header: &Header) -> Result<(), Offence> {
        if header.key.is_some() != (self.heading == Heading::ToUpstream) {
            return Err(Offence::Mask);
        }
        if header.odd_length {
            return Err(Offence::Length);
        }
        let begins = !header.is_control() && header.opcode != CONTINUATION;
        let allowed = match self.extensions {
            Extensions::None => 0,
            Extensions::Deflate if begins => 0x40,
            Extensions::Deflate => 0,
            Extensions::Unknown => 0x70,
        };
        if header.reserved & !allowed != 0 {
            return Err(Offence::ReservedBits);
        }
        let known = matches!(header.opcode, 0..=2 | CLOSE..=PONG);
        if !known && self.extensions != Extensions::Unknown {
            return Err(Offence::Opcode);
        }
        if header.is_control() {
            if header.payload > LONGEST_CONTROL {
                return Err(Offence::LongControl);
            }
            if !header.fin {
                return Err(Offence::FragmentedControl);
            }
        } else if header.opcode == CONTINUATION && !self.fragmented {
            return Err(Offence::Continuation);
        } else if begins && self.fragmented {
            return Err(Offence::Unfinished);
        }
        Ok(())
    }
}

/// Tells a whole control frame.
fn control(
    rules: &Rules,
    header: &Header,
    frame: &[u8],
    event: &mut impl FnMut(Event<'_>) -> Fate,
) -> Result<Fate, Offence> {
    let mut space = [0; LONGEST_CONTROL as usize];
    let masked = frame.get(header.length..).unwrap_or_default();
    let payload = space.get_mut(..masked.len()).unwrap_or_default();
    payload.copy_from_slice(masked);
    if let Some(key) = header.key {
        mask(payload, key);
    }
    Ok(match header.opcode {
        PING => event(Event::Ping),
        PONG => event(Event::Pong(payload)),
        CLOSE => {
            let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            if rules.strict && payload.len() == 1 {
                return Err(Offence::CloseBody);
            }
            if rules.strict && code.is_some_and(never_travels) {
                return Err(Offence::CloseCode);
            }
            event(Event::Close(code))
        }
        _ => Fate::Pass,
    })
}

/// Codes that no frame may have: below the first, those that only tell of an end without a frame,
/// and those beyond the last (RFC 6455 section 7.4). Codes that somebody may yet register pass.
fn never_travels(code: u16) -> bool {
    code < 1000 || matches!(code, 1005 | 1006 | 1015) || code >= 5000
}

#[cfg(test)]
mod tests;
