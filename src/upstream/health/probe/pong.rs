//! A ping behind a 101, its pong, and a polite end.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Fault;
use super::frames::{Frames, Said};
use crate::telemetry::CheckOutcome;

/// A server that says more than this before its pong does not answer; one that greets does.
const MOST: usize = 1024 * 1024;

/// One read takes at most this much.
const READ: usize = 4096;

/// What comes with the ping and must come back.
const PAYLOAD: [u8; 8] = *b"bowline?";

/// Sends a ping and waits for its pong, then says Close. `read_ahead` came right behind the 101.
///
/// # Errors
/// What came in place of it.
pub(super) async fn await_pong<S>(mut stream: S, read_ahead: &Bytes) -> Result<(), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |why: &str| Fault::new(CheckOutcome::Pong, why);
    let lost = |error: std::io::Error| failed(&format!("no pong: {error}"));
    stream.write_all(&masked(0x89, &PAYLOAD)).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut frames = Frames::default();
    let mut input = BytesMut::from(&read_ahead[..]);
    let mut read = input.len();
    loop {
        while let Some(said) = frames.take(&mut input).map_err(failed)? {
            match said {
                Said::Pong(payload) if *payload == PAYLOAD => {
                    // 1000. Whoever closed without it would fill the server's log with errors.
                    drop(stream.write_all(&masked(0x88, &1000_u16.to_be_bytes())).await);
                    return Ok(());
                }
                Said::Close => return Err(failed("a Close in place of the pong")),
                Said::Pong(_) | Said::Other => {}
            }
        }
        if read > MOST {
            return Err(failed("over 1 MiB in place of the pong"));
        }
        input.reserve(READ);
        let more = stream.read_buf(&mut input).await.map_err(lost)?;
        if more == 0 {
            return Err(failed("the end of the connection in place of the pong"));
        }
        read = read.saturating_add(more);
    }
}

/// A whole control frame as a client sends it (RFC 6455 section 5.3); `payload` is of 125 bytes at most.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    // A mask of zeros is one too.
    let mask = getrandom::u32().unwrap_or_default().to_be_bytes();
    let length = u8::try_from(payload.len()).unwrap_or(125);
    let mut frame = vec![first, 0x80 | length];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::duplex;
    use tokio::time::timeout;

    use super::*;

    /// What comes of a server that has said `ahead` with its 101 and says `said` to the ping.
    async fn asked(ahead: &'static [u8], said: &[u8]) -> Result<(), Fault> {
        let (ours, mut theirs) = duplex(4 * MOST);
        let ahead = Bytes::from_static(ahead);
        let asking = tokio::spawn(async move { await_pong(ours, &ahead).await });
        let mut ping = [0; 14];
        theirs.read_exact(&mut ping).await.unwrap();
        assert_eq!(ping[..2], [0x89, 0x88]);
        let payload: Vec<u8> = (0..8).map(|at| ping[6 + at] ^ ping[2 + at % 4]).collect();
        assert_eq!(payload, PAYLOAD);
        theirs.write_all(said).await.unwrap();
        theirs.shutdown().await.unwrap();
        let result = asking.await.unwrap();
        if result.is_ok() {
            let mut close = [0; 8];
            theirs.read_exact(&mut close).await.unwrap();
            assert_eq!(close[..2], [0x88, 0x82]);
        }
        result
    }

    fn pong() -> Vec<u8> {
        [&[0x8a, 8][..], &PAYLOAD].concat()
    }

    #[tokio::test]
    async fn a_pong_passes_behind_a_greeting_and_other_pongs() {
        asked(b"", &pong()).await.unwrap();
        asked(b"\x81\x05hel", &[b"lo\x8a\x00\x8a\x01x", &pong()[..]].concat()).await.unwrap();
    }

    #[tokio::test]
    async fn anything_else_fails() {
        let long = [&[0x82, 127, 0, 0, 0, 0, 1, 0, 0, 0][..], &vec![0; 2 * MOST]].concat();
        for (said, why) in [
            (&b""[..], "the end of the connection"),
            (b"\x81\x05hello", "the end of the connection"),
            (b"\x88\x00", "a Close"),
            (b"\x8a\x08bowline!", "the end of the connection"),
            (b"\x8a\x88....", "a masked frame"),
            (&long, "over 1 MiB"),
        ] {
            let fault = asked(b"", said).await.unwrap_err();
            assert_eq!(fault.outcome, CheckOutcome::Pong);
            assert!(fault.why.contains(why), "{fault}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_lasts_as_long_as_the_caller_lets_it() {
        let (ours, _theirs) = duplex(1024);
        let read_ahead = Bytes::new();
        let asking = await_pong(ours, &read_ahead);
        assert!(timeout(Duration::from_secs(3600), asking).await.is_err());
    }
}
