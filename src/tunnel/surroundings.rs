//! What a direction has to do with the rest of its tunnel.

use tokio::time::Instant;

use super::goodbye::{BAD_GATEWAY, GOING_AWAY};
use super::heartbeat::Heartbeat;
use super::meter::Rules;
use super::{Closer, Heading, Reason, Watch, frame};

/// Whom one direction asks and tells, for the time of one poll.
pub(super) struct Surroundings<'a, W> {
    pub(super) heading: Heading,
    pub(super) rules: Rules,
    /// That of the source.
    pub(super) heartbeat: &'a mut Option<Heartbeat>,
    pub(super) watch: &'a W,
    /// Whether the sink hears of it when the source ends without a Close.
    pub(super) tell_loss: bool,
    /// The sink has said Close: when the source has too, the drop of the streams says the rest.
    pub(super) answered: bool,
}

impl<W: Watch> Surroundings<'_, W> {
    /// Whether a pong answers Bowline, and ends here.
    pub(super) fn is_ours(&mut self, payload: &[u8]) -> bool {
        let Some(heartbeat) = self.heartbeat else { return false };
        let Some(round_trip) = heartbeat.pong(payload, Instant::now()) else { return false };
        if let Some(took) = round_trip {
            let side = match self.heading {
                Heading::ToUpstream => Closer::Client,
                Heading::ToClient => Closer::Upstream,
            };
            self.watch.round_trip(side, took);
        }
        true
    }

    /// A message came whole.
    pub(super) fn message(&self, bytes: u64) {
        self.watch.message(self.heading, bytes);
    }

    /// The source is not read any more, for a while.
    pub(super) fn paused(&self) {
        self.watch.paused(self.heading);
    }

    /// The Close that the sink gets when the source ends without one.
    pub(super) fn farewell(&self) -> Option<Vec<u8>> {
        let code = match self.heading {
            Heading::ToUpstream => GOING_AWAY,
            Heading::ToClient => BAD_GATEWAY,
        };
        self.tell_loss.then(|| frame::close(self.heading, code, Reason::Lost.text()))
    }
}
