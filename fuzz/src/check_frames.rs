//! A server's frames behind the 101 of a WebSocket health check. What Bowline makes of them is compared
//! with a plain reading of the whole, and must be the same however the bytes are cut.

use bowline::upstream::check_fuzzing::{Told, read};

/// The longest header, its length said in eight bytes, and the payload of a control frame, all but its
/// last byte.
const MOST_KEPT: usize = 10 + 124;

/// Reads `data` as frames.
pub fn check(data: &[u8]) {
    said(data);
}

/// The frames in `data`, and whether nothing is wrong with them.
pub fn said(data: &[u8]) -> (Vec<Told>, bool) {
    let (told, wrong) = plain(data);
    for step in [1, 2, 3, 7, 64, data.len().max(1)] {
        let (frames, why, kept) = read(data.chunks(step));
        assert_eq!(why.is_some(), wrong, "in pieces of {step}");
        assert_eq!(frames, told, "in pieces of {step}");
        assert!(why.is_none_or(|why| !why.is_empty()), "a refusal without a reason");
        assert!(kept <= MOST_KEPT, "{kept} bytes kept");
    }
    (told, !wrong)
}

/// The same by RFC 6455 section 5.2, with the whole at hand.
fn plain(mut data: &[u8]) -> (Vec<Told>, bool) {
    let mut told = Vec::new();
    while let [first, second, rest @ ..] = data {
        let (is_final, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
        let is_control = opcode & 8 != 0;
        if reserved != 0 || second & 0x80 != 0 || (3..8).contains(&opcode) || opcode > 10 {
            return (told, true);
        }
        let (more, short) = match second & 0x7f {
            126 => (2, None),
            127 => (8, None),
            short => (0, Some(u64::from(short))),
        };
        // A length of more than a byte is told to be wrong once it is there.
        let Some((length, rest)) = rest.split_at_checked(more) else { break };
        let length =
            short.unwrap_or_else(|| length.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)));
        if is_control && (!is_final || length > 125) {
            return (told, true);
        }
        let payload = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
        match (payload, opcode) {
            (None, 8..) => break,
            (Some((payload, _)), 10) => told.push(Told::Pong(payload.to_vec())),
            (Some(_), 8) => told.push(Told::Close),
            _ => told.push(Told::Other),
        }
        data = payload.map_or(&[], |(_, rest)| rest);
    }
    (told, false)
}
