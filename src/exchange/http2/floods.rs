//! How much of what costs a client nothing one connection may send: frames that make Bowline work, or answer,
//! and carry nothing. h2 bounds the memory that some of them take; here is who sends too many of any.

use std::time::Duration;

use tokio::time::Instant;

use super::frame_heads::{FrameHead, FrameHeads};
use crate::telemetry::Http2Fault;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// So many at once, and so many a second from there.
#[derive(Clone, Copy, Debug)]
struct Terms {
    burst: f64,
    rate: f64,
}

/// Settings change once in a connection's life; some clients change their mind a few times.
const FOR_SETTINGS: Terms = Terms { burst: 32.0, rate: 1.0 };

/// gRPC measures with a ping for each few reads.
const FOR_PINGS: Terms = Terms { burst: 256.0, rate: 32.0 };

/// A page that is left resets all that it was loading, which is as much as `limits.streams` allows; that
/// comes on top.
const FOR_RESETS: Terms = Terms { burst: 256.0, rate: 64.0 };

/// Less than h2 takes in a connection's whole life.
const FOR_EMPTY_DATA: Terms = Terms { burst: 64.0, rate: 1.0 };

/// What is sent to the client comes on top.
const FOR_WINDOWS: Terms = Terms { burst: 1024.0, rate: 128.0 };

/// Bytes sent to a client for which it may open a window once: its stream's and its connection's, for frames
/// of a hundred bytes.
const BYTES_A_WINDOW: f64 = 50.0;

/// A tree of priorities for each stream, as older browsers send it.
const FOR_OTHERS: Terms = Terms { burst: 1024.0, rate: 128.0 };

/// What leaks away at a rate, and must not run over.
#[derive(Debug, Default)]
struct Bucket {
    level: f64,
}

impl Bucket {
    fn leak(&mut self, terms: Terms, passed: Duration) {
        self.level = (self.level - passed.as_secs_f64() * terms.rate).max(0.0);
    }

    /// Whether one more fits.
    fn take(&mut self, terms: Terms) -> bool {
        self.level += 1.0;
        self.level <= terms.burst
    }
}

/// The account of one connection.
#[derive(Debug)]
pub(super) struct Floods {
    heads: FrameHeads,
    since: Instant,
    settings: Bucket,
    pings: Bucket,
    resets: Bucket,
    for_resets: Terms,
    empty_data: Bucket,
    windows: Bucket,
    others: Bucket,
    /// CONTINUATION frames of the head that is coming.
    continuations: usize,
    most_continuations: usize,
}

impl Floods {
    /// For a connection with so many `streams`, whose heads may have so many bytes of `headers`.
    pub(super) fn new(streams: u32, headers: usize, now: Instant) -> Self {
        Self {
            heads: FrameHeads::default(),
            since: now,
            settings: Bucket::default(),
            pings: Bucket::default(),
            resets: Bucket::default(),
            for_resets: Terms { burst: FOR_RESETS.burst + f64::from(streams), ..FOR_RESETS },
            empty_data: Bucket::default(),
            windows: Bucket::default(),
            others: Bucket::default(),
            continuations: 0,
            // Clients fill a frame, which has 16 KiB, before they begin another one.
            most_continuations: (headers >> 14).max(4),
        }
    }

    /// So many bytes went to the client.
    pub(super) fn wrote(&mut self, bytes: usize) {
        let windows = bytes as f64 / BYTES_A_WINDOW;
        self.windows.level = (self.windows.level - windows).max(0.0);
    }

    /// Looks at what came from the client; tells what there is too much of.
    pub(super) fn look(&mut self, bytes: &[u8], now: Instant) -> Option<Http2Fault> {
        let passed = now.saturating_duration_since(self.since);
        self.since = now;
        for (bucket, terms) in [
            (&mut self.settings, FOR_SETTINGS),
            (&mut self.pings, FOR_PINGS),
            (&mut self.resets, self.for_resets),
            (&mut self.empty_data, FOR_EMPTY_DATA),
            (&mut self.windows, FOR_WINDOWS),
            (&mut self.others, FOR_OTHERS),
        ] {
            bucket.leak(terms, passed);
        }
        let mut heads = std::mem::take(&mut self.heads);
        let mut fault = None;
        heads.look(bytes, |head| fault = fault.or_else(|| self.judge(head)));
        self.heads = heads;
        fault
    }

    fn judge(&mut self, head: FrameHead) -> Option<Http2Fault> {
        let FrameHead { length, kind, flags } = head;
        let (fits, fault) = match kind {
            HEADERS => {
                self.continuations = 0;
                return None;
            }
            CONTINUATION if flags & END_HEADERS == 0 => {
                self.continuations = self.continuations.saturating_add(1);
                (self.continuations <= self.most_continuations, Http2Fault::Continuations)
            }
            DATA if length == 0 && flags & END_STREAM == 0 => {
                (self.empty_data.take(FOR_EMPTY_DATA), Http2Fault::EmptyData)
            }
            DATA | CONTINUATION => return None,
            // What answers Bowline is not the client's doing.
            SETTINGS | PING if flags & ACK != 0 => return None,
            SETTINGS => (self.settings.take(FOR_SETTINGS), Http2Fault::Settings),
            PING => (self.pings.take(FOR_PINGS), Http2Fault::Pings),
            RST_STREAM => (self.resets.take(self.for_resets), Http2Fault::Resets),
            WINDOW_UPDATE => (self.windows.take(FOR_WINDOWS), Http2Fault::WindowUpdates),
            _ => (self.others.take(FOR_OTHERS), Http2Fault::Others),
        };
        (!fits).then_some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(std::iter::repeat_n(0, length.into()));
        frame
    }

    /// How many of `frames` pass at once, of ten thousand; and what the next one is.
    fn passing(frame: &[u8]) -> (usize, Option<Http2Fault>) {
        let now = Instant::now();
        let mut floods = Floods::new(200, 64 << 10, now);
        assert_eq!(floods.look(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now), None);
        let found = (0..10_000).find_map(|count| Some((count, floods.look(frame, now)?)));
        found.map_or((10_000, None), |(count, fault)| (count, Some(fault)))
    }

    #[test]
    fn each_kind_of_frame_that_costs_nothing_has_its_measure() {
        for (kind, flags, length, most, fault) in [
            (SETTINGS, 0, 0, 32, Http2Fault::Settings),
            (PING, 0, 8, 256, Http2Fault::Pings),
            (RST_STREAM, 0, 4, 456, Http2Fault::Resets),
            (DATA, 0, 0, 64, Http2Fault::EmptyData),
            (WINDOW_UPDATE, 0, 4, 1024, Http2Fault::WindowUpdates),
            (CONTINUATION, 0, 3, 4, Http2Fault::Continuations),
            (2, 0, 5, 1024, Http2Fault::Others),
            (77, 0, 0, 1024, Http2Fault::Others),
        ] {
            assert_eq!(passing(&frame(kind, flags, length)), (most, Some(fault)));
        }
    }

    #[test]
    fn what_carries_something_or_answers_has_none() {
        for (kind, flags, length) in [
            (DATA, 0, 1),
            (DATA, END_STREAM, 0),
            (HEADERS, 4, 9),
            (SETTINGS, ACK, 0),
            (PING, ACK, 8),
        ] {
            assert_eq!(passing(&frame(kind, flags, length)), (10_000, None), "{kind}");
        }
    }

    #[test]
    fn time_gives_room_again_and_bytes_sent_give_windows() {
        let mut now = Instant::now();
        let mut floods = Floods::new(200, 64 << 10, now);
        floods.look(&[0; 24], now);
        for _ in 0..10_000 {
            now += Duration::from_secs(1);
            assert_eq!(floods.look(&frame(SETTINGS, 0, 0), now), None);
        }
        for _ in 0..10_000 {
            floods.wrote(100);
            assert_eq!(floods.look(&frame(WINDOW_UPDATE, 0, 4).repeat(2), now), None);
        }
    }

    #[test]
    fn a_head_that_ends_begins_the_count_of_its_frames_anew() {
        let now = Instant::now();
        let mut floods = Floods::new(200, 64 << 10, now);
        floods.look(&[0; 24], now);
        for _ in 0..100 {
            let head = [frame(HEADERS, 0, 9), frame(CONTINUATION, 0, 9).repeat(4)].concat();
            assert_eq!(floods.look(&head, now), None);
            assert_eq!(floods.look(&frame(CONTINUATION, END_HEADERS, 9), now), None);
        }
    }
}
