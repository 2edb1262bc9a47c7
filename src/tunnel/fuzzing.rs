//! A door for the fuzz targets to what is private here: the meter of one direction, with pieces of
//! bytes in the place of a socket. With the feature `fuzzing` only, and no promise to anybody.

use super::frame::Heading;
use super::meter::{Event, Extensions, Fate, Meter, Rules};

/// One direction as its meter sees it.
#[derive(Debug)]
pub struct Frames {
    meter: Meter,
    rules: Rules,
}

/// Something whole that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A message of so many bytes ended.
    Message(u64),
    /// A ping.
    Ping,
    /// A pong with this payload, unmasked.
    Pong(Vec<u8>),
    /// A Close with this code.
    Close(Option<u16>),
}

/// What became of what one read brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What goes on.
    pub passed: Vec<u8>,
    /// What was seen, in order.
    pub seen: Vec<Seen>,
    /// The first place in `passed` where no frame is under way.
    pub boundary: Option<usize>,
    /// Whether `passed` ends with a whole frame.
    pub at_boundary: bool,
    /// What stopped the direction: the code of the Close that answers it, and the words.
    pub offence: Option<(u16, &'static str)>,
}

impl Frames {
    /// A direction of which nothing was read yet.
    pub fn new(from_client: bool, extensions: Extensions, rules: Rules) -> Self {
        let heading = if from_client { Heading::ToUpstream } else { Heading::ToClient };
        Self { meter: Meter::new(heading, extensions), rules }
    }

    /// Takes what one read brings. Pongs with a payload that `is_ours` go no further.
    pub fn read(&mut self, bytes: &[u8], is_ours: fn(&[u8]) -> bool) -> Piece {
        let mut input = [self.meter.carry(), bytes].concat();
        let mut seen = Vec::new();
        let scan = self.meter.scan(&self.rules, &mut input, |event| {
            let mut fate = Fate::Pass;
            seen.push(match event {
                Event::Message(size) => Seen::Message(size),
                Event::Ping => Seen::Ping,
                Event::Pong(payload) => {
                    if is_ours(payload) {
                        fate = Fate::Swallow;
                    }
                    Seen::Pong(payload.to_vec())
                }
                Event::Close(code) => Seen::Close(code),
            });
            fate
        });
        input.truncate(scan.passed);
        Piece {
            passed: input,
            seen,
            boundary: scan.boundary,
            at_boundary: self.meter.at_boundary(),
            offence: scan.offence.map(|offence| (offence.code(), offence.text())),
        }
    }

    /// How much waits to be judged.
    pub fn waiting(&self) -> usize {
        self.meter.carry().len()
    }
}
