//! One client connection: what it says at each step and what it accepts as the answer.

use std::fmt::Write;
use std::time::Instant;

use crate::backend::BODY;
use crate::client::Scene;
use crate::frame::{self, BINARY, CLOSE, Frame, NORMAL, PING, PONG};
use crate::handshake::{self, MAX_FIELDS};
use crate::socket::Socket;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The TCP handshake is under way.
    Connecting,
    /// The upgrade request is sent.
    Upgrading,
    /// A WebSocket message is on its way there and back.
    Echoing,
    /// A GET is sent.
    Getting,
    /// The Close frame is sent.
    Closing,
    /// The Close has been answered: the server ends the TCP connection (RFC 6455 section 7.1.1).
    Ending,
    /// Nothing is under way.
    Resting,
    /// The TCP connection is over, as it should be.
    Over,
}

/// One client connection.
pub struct Connection {
    pub socket: Socket,
    pub step: Step,
    /// When the present step, or for a handshake the connect, began.
    pub asked: Instant,
    number: usize,
    sequence: u64,
    key: String,
    /// The payload last sent, unmasked; its first 16 bytes say whose and which.
    payload: Vec<u8>,
    /// The target last asked for.
    target: String,
    masks: Masks,
}

impl Connection {
    /// A connection whose TCP handshake has just begun.
    pub fn new(socket: Socket, number: usize, bytes: usize) -> Self {
        let mut masks = Masks::new(number);
        let payload = (0..bytes).map(|_| masks.next() as u8).collect();
        Self {
            socket,
            step: Step::Connecting,
            asked: Instant::now(),
            number,
            sequence: 0,
            key: String::new(),
            payload,
            target: String::new(),
            masks,
        }
    }

    /// Puts the words of `step` into the output and makes it the present step.
    pub fn say(&mut self, step: Step, host: &str) {
        self.sequence += 1;
        let (_, output) = self.socket.parts();
        match step {
            Step::Upgrading => {
                let nonce = [self.masks.next().to_ne_bytes(), self.masks.next().to_ne_bytes()];
                self.key = data_encoding::BASE64.encode(&nonce.concat());
                handshake::request(output, host, &self.key);
            }
            Step::Echoing => {
                let mark = [(self.number as u64).to_ne_bytes(), self.sequence.to_ne_bytes()];
                for (to, from) in self.payload.iter_mut().zip(mark.concat()) {
                    *to = from;
                }
                // RFC 6455 section 5.3: a fresh key for every frame.
                let mask = (self.masks.next() as u32).to_ne_bytes();
                frame::put(output, BINARY, Some(mask), &self.payload);
            }
            Step::Getting => {
                self.target.clear();
                // Writing to a String does not fail.
                let _ = write!(self.target, "/get/{}/{}", self.number, self.sequence);
                for part in [
                    "GET ",
                    &self.target,
                    " HTTP/1.1\r\nHost: ",
                    host,
                    "\r\nUser-Agent: bowline-load\r\nAccept: */*\r\n\r\n",
                ] {
                    output.extend_from_slice(part.as_bytes());
                }
            }
            Step::Closing => {
                let mask = (self.masks.next() as u32).to_ne_bytes();
                frame::put(output, CLOSE, Some(mask), &NORMAL);
            }
            Step::Connecting | Step::Ending | Step::Resting | Step::Over => {}
        }
        self.step = step;
    }

    /// Answers the pings that have come whole and stand in front; returns how many.
    pub fn answer_pings(&mut self) -> Result<u64, String> {
        let mut answered = 0;
        while matches!(self.step, Step::Echoing | Step::Closing | Step::Resting) {
            let (input, output) = self.socket.parts();
            let Some(Frame { opcode: PING, payload, .. }) = Frame::read(input)? else { break };
            let end = payload.end;
            let mask = (self.masks.next() as u32).to_ne_bytes();
            frame::put(output, PONG, Some(mask), input.get(payload).unwrap_or_default());
            self.socket.consume(end);
            answered += 1;
        }
        Ok(answered)
    }

    /// Reads the answer to the present step; false while it is not all there. Anything but the
    /// one right answer is an error.
    pub fn hear(&mut self) -> Result<bool, String> {
        let ended = self.socket.ended();
        let (input, _) = self.socket.parts();
        let length = match self.step {
            Step::Upgrading => handshake::check(input, &self.key)?,
            Step::Echoing => echoed(input, BINARY, &self.payload)?,
            Step::Closing => echoed(input, CLOSE, &NORMAL)?,
            Step::Getting => got(input, &self.target)?,
            Step::Ending if input.is_empty() => return Ok(ended),
            Step::Resting if !ended && Frame::read(input)?.is_none() => return Ok(false),
            Step::Connecting | Step::Over => return Ok(false),
            Step::Ending | Step::Resting => {
                return Err(format!(
                    "{} bytes or an end came unasked while {:?}",
                    input.len(),
                    self.step
                ));
            }
        };
        let Some(length) = length else {
            return if ended {
                Err(format!("the connection ended while {:?}", self.step))
            } else {
                Ok(false)
            };
        };
        if length != input.len() {
            return Err(format!("{} bytes came behind the answer", input.len() - length));
        }
        self.socket.consume(length);
        Ok(true)
    }

    /// The step that follows a whole answer in `scene`.
    pub fn next(&self, scene: Scene) -> Step {
        match (scene, self.step) {
            (Scene::Get, _) => Step::Getting,
            (_, Step::Connecting) => Step::Upgrading,
            (Scene::Handshake, Step::Upgrading) => Step::Closing,
            (Scene::Handshake, Step::Closing) => Step::Ending,
            (Scene::Handshake, _) => Step::Over,
            (scene, Step::Echoing) if scene.rests() => Step::Resting,
            _ => Step::Echoing,
        }
    }
}

fn echoed(input: &[u8], opcode: u8, payload: &[u8]) -> Result<Option<usize>, String> {
    let Some(frame) = Frame::read(input)? else {
        return Ok(None);
    };
    if frame.opcode != opcode || frame.mask.is_some() {
        return Err(format!("an echo came with opcode {}, mask {:?}", frame.opcode, frame.mask));
    }
    if input.get(frame.payload.clone()) != Some(payload) {
        return Err("an echo is not what was sent".to_owned());
    }
    Ok(Some(frame.payload.end))
}

fn got(input: &[u8], target: &str) -> Result<Option<usize>, String> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let head = match response.parse(input) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("the answer to a GET is not HTTP: {error}")),
    };
    if response.code != Some(200) {
        return Err(format!("the answer to a GET was {:?}, not 200", response.code));
    }
    if handshake::field(response.headers, "content-length") != Some(b"64") {
        return Err("the answer to a GET lost its Content-Length".to_owned());
    }
    if handshake::has_token(response.headers, "connection", "close") {
        return Err("the answer to a GET ends the connection: keep-alive is not on".to_owned());
    }
    let Some(body) = input.get(head..head + BODY) else {
        return Ok(None);
    };
    let (start, rest) = body.split_at_checked(target.len()).unwrap_or_default();
    if start != target.as_bytes() || rest.iter().any(|byte| *byte != b'.') {
        return Err("the answer to a GET is another's".to_owned());
    }
    Ok(Some(head + BODY))
}

/// Numbers that are cheap and differ (xorshift64*); nothing here needs them to be secret.
struct Masks(u64);

impl Masks {
    fn new(number: usize) -> Self {
        Self((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_echo_is_an_echo() {
        let mut bytes = Vec::new();
        frame::put(&mut bytes, BINARY, None, b"mine");
        assert_eq!(echoed(&bytes, BINARY, b"mine"), Ok(Some(6)));
        assert_eq!(echoed(&bytes[..5], BINARY, b"mine"), Ok(None));
        assert!(echoed(&bytes, BINARY, b"thine").is_err());
        assert!(echoed(&bytes, CLOSE, b"mine").is_err());
    }

    #[test]
    fn only_the_own_answer_is_an_answer() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n";
        let whole = format!("{head}{:.<64}", "/get/1/2");
        assert_eq!(got(whole.as_bytes(), "/get/1/2"), Ok(Some(whole.len())));
        assert_eq!(got(&whole.as_bytes()[..whole.len() - 1], "/get/1/2"), Ok(None));
        assert!(got(whole.as_bytes(), "/get/1/3").is_err());
        assert!(got(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "/get/1/2").is_err());
    }
}
