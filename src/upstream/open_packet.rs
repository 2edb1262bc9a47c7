//! The first packet of an engine.io session, read as it passes: the session's name is in it. Nothing
//! is held back and nothing is changed.

use std::sync::Arc;

use serde::Deserialize;

use super::sessions::Sessions;

/// An open packet has some hundred bytes; what is longer is another answer.
const MOST: usize = 2048;

/// Digits of a packet's length.
const LONGEST_LENGTH: usize = 7;

/// Hears an answer that should give out a session.
#[derive(Debug)]
pub struct Overhearing {
    heard: Vec<u8>,
    sessions: Arc<Sessions>,
    upstream: Arc<str>,
    /// The id of the endpoint that answers.
    endpoint: usize,
}

/// What engine.io says at first, of which only this matters.
#[derive(Deserialize)]
struct Open {
    sid: String,
}

/// What a beginning of an answer is.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Session(String),
    /// It may be one yet.
    TooLittle,
    Nothing,
}

impl Overhearing {
    pub(super) fn new(sessions: Arc<Sessions>, upstream: Arc<str>, endpoint: usize) -> Self {
        Self { heard: Vec::new(), sessions, upstream, endpoint }
    }

    /// Hears a piece of the body. Returns whether to go on with the next one.
    pub fn hear(&mut self, piece: &[u8]) -> bool {
        let room = MOST.saturating_sub(self.heard.len());
        self.heard.extend_from_slice(piece.get(..room).unwrap_or(piece));
        match session(&self.heard) {
            Heard::Session(session) => {
                self.sessions.learn(&self.upstream, &session, self.endpoint);
                false
            }
            Heard::TooLittle => self.heard.len() < MOST,
            Heard::Nothing => false,
        }
    }
}

/// `0{"sid":"..."...}`, and before version 4 its length and a colon in front of it.
fn session(heard: &[u8]) -> Heard {
    let digits = heard.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let packet = match heard.split_at_checked(digits) {
        // No packet is so long; and in pieces the verdict must be the one on the whole.
        _ if digits > LONGEST_LENGTH => None,
        Some((_, [])) => return Heard::TooLittle,
        Some((b"0", [b'{', ..])) => heard.get(1..),
        Some((_, [b':'])) if digits > 0 => return Heard::TooLittle,
        Some((_, [b':', b'0'])) if digits > 0 => return Heard::TooLittle,
        Some((_, [b':', b'0', json @ ..])) if digits > 0 => Some(json),
        _ => None,
    };
    let Some(json) = packet else { return Heard::Nothing };
    match serde_json::Deserializer::from_slice(json).into_iter::<Open>().next() {
        Some(Ok(open)) => Heard::Session(open.sid),
        // A number cut in its middle looks as wrong as one that is: only the bound on what is heard
        // ends the waiting.
        Some(Err(_)) | None => Heard::TooLittle,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heard(text: &str) -> Heard {
        session(text.as_bytes())
    }

    #[test]
    fn the_session_is_found_in_both_generations_of_the_protocol() {
        let found = Heard::Session("lv_VI97HAXpY6yYWAAAC".to_owned());
        for text in [
            "0{\"sid\":\"lv_VI97HAXpY6yYWAAAC\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000}",
            "96:0{\"sid\":\"lv_VI97HAXpY6yYWAAAC\",\"upgrades\":[\"websocket\"],\"pingTimeout\":5000}2:40",
            "0{\"sid\":\"lv_VI97HAXpY6yYWAAAC\"}\u{1e}40",
            "0{ \"upgrades\": [], \"sid\": \"lv_VI97HAXpY6yYWAAAC\" }",
        ] {
            assert_eq!(heard(text), found, "{text}");
        }
    }

    #[test]
    fn other_answers_are_not_taken_for_one() {
        for text in [
            "<html>",
            "{\"sid\":\"a\"}",
            "4hello",
            "ok",
            "0[1]",
            "1:4x",
            "123456789:0{\"sid\":\"a\"}",
        ] {
            assert_eq!(heard(text), Heard::Nothing, "{text}");
        }
    }

    #[test]
    fn it_may_come_in_any_pieces() {
        let packet = b"96:0{\"sid\":\"abc\",\"upgrades\":[\"websocket\"]}";
        for cut in 1..packet.len() {
            let sessions = Arc::new(Sessions::new(1));
            let mut hearing = Overhearing::new(Arc::clone(&sessions), Arc::from("chat"), 5);
            let (first, second) = packet.split_at(cut);
            if hearing.hear(first) {
                hearing.hear(second);
            }
            assert_eq!(sessions.find("chat", "abc"), Some(5), "{cut}");
        }
    }

    #[test]
    fn an_answer_without_end_is_not_kept() {
        let sessions = Arc::new(Sessions::new(1));
        let mut hearing = Overhearing::new(Arc::clone(&sessions), Arc::from("chat"), 5);
        assert!(hearing.hear(b"0{\"sid\":\"a"));
        assert!(!hearing.hear(&[b'a'; 100_000]));
        assert!(hearing.heard.len() <= MOST);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(pieces: Vec<Vec<u8>>) {
            let sessions = Arc::new(Sessions::new(1));
            let mut hearing = Overhearing::new(sessions, Arc::from("chat"), 5);
            for piece in pieces {
                hearing.hear(&piece);
            }
        }
    }
}
