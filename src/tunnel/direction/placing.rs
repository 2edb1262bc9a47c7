//! Frames of Bowline's own among a peer's: where one may stand, and which is the last.

use super::super::insert::{Insert, Place};
use super::{Direction, Flow};

impl Direction {
    /// Whether another frame of Bowline's may still follow: not behind the source's Close, and one
    /// at a time.
    pub(in crate::tunnel) fn takes_frames(&self) -> bool {
        self.flow == Flow::Open && self.close.is_none() && self.insert.is_none()
    }

    /// Puts `frame` behind the frame under way.
    pub(in crate::tunnel) fn insert(&mut self, frame: Vec<u8>) {
        if self.takes_frames() {
            self.insert = Some(Box::new(Insert { frame, place: Place::Next }));
            self.place();
        }
    }

    /// Ends what passes: `frame`, a Close, is the last that the sink gets, behind the frame under
    /// way. When the source's own Close has passed, that was the last.
    pub(in crate::tunnel) fn seal(&mut self, frame: Vec<u8>) {
        match self.flow {
            Flow::Open if self.close.is_some() => self.flow = Flow::Sealed,
            // The frame under way will never end.
            Flow::Open if self.deaf && !self.at_boundary() => self.flow = Flow::Sealed,
            Flow::Open => {
                self.insert = Some(Box::new(Insert { frame, place: Place::Last }));
                self.place();
            }
            Flow::Sealed | Flow::Severed | Flow::Finishing | Flow::Done => {}
        }
    }

    /// Lets the source finish: `frame` goes out in the place of its Close, which it has been asked for.
    pub(in crate::tunnel) fn seal_for_close(&mut self, frame: Vec<u8>) {
        if self.flow == Flow::Open && self.close.is_none() && !self.deaf {
            self.insert = Some(Box::new(Insert { frame, place: Place::ForClose }));
        } else {
            self.seal(frame);
        }
    }

    /// The source has had its time.
    pub(in crate::tunnel) fn seal_now(&mut self) {
        if let Some(insert) = &mut self.insert {
            insert.place = Place::Last;
            self.place();
        }
    }

    /// Puts the frame that waits behind what has passed, if that ends with a frame.
    fn place(&mut self) {
        let now = self.insert.as_ref().is_some_and(|insert| insert.place != Place::ForClose);
        if now && self.at_boundary() {
            self.place_now();
        }
    }

    pub(super) fn place_now(&mut self) {
        if let Some(insert) = self.insert.take() {
            self.stash.get_or_insert_default().push(&insert.frame);
            self.placed = true;
            if insert.place != Place::Next {
                self.flow = Flow::Sealed;
            }
        }
    }
}
