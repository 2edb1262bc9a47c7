//! An upstream's bytes in answer to a handshake, up to the verdict on its 101: Bowline's parser,
//! then its check.

use bowline::exchange::fuzzing::Offer;
use bowline::upstream::http1::fuzzing::{Heads, is_interim};
use http::{Method, Response, StatusCode};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The first byte picks what was offered; the rest is the upstream's.
const OFFERS: [(&str, &str); 4] = [
    ("", ""),
    ("chat, superchat", ""),
    ("", "permessage-deflate"),
    ("chat", "permessage-deflate; client_max_window_bits, x-mux"),
];

/// Reads `data` as the answer to a handshake.
pub fn check(data: &[u8]) {
    passed(data);
}

/// Whether the answer is a 101 that may become a tunnel.
pub fn passed(data: &[u8]) -> bool {
    let Some((first, data)) = data.split_first() else { return false };
    let (protocols, extensions) = OFFERS[usize::from(*first) % OFFERS.len()];
    let Some(response) = answer(data) else { return false };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return false;
    }
    let headers = response.headers();
    let offer = Offer::new(KEY, protocols, extensions).expect("the offer is right");
    if let Err(what) = offer.check(headers) {
        assert!(!what.is_empty(), "a refusal without a reason");
        return false;
    }
    let all = |name: &str| headers.get_all(name).iter().map(|v| v.as_bytes()).collect::<Vec<_>>();
    assert_eq!(all("sec-websocket-accept"), [ACCEPT.as_bytes()]);
    let upgrade = all("upgrade").join(&b","[..]);
    let mut tokens =
        upgrade.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|one| !one.is_empty());
    assert!(tokens.next().is_some_and(|one| one.eq_ignore_ascii_case(b"websocket")));
    assert_eq!(tokens.next(), None);
    let chosen = all("sec-websocket-protocol");
    assert!(chosen.len() <= 1);
    for chosen in chosen {
        let offered = protocols.split(',').map(|one| one.trim().as_bytes());
        assert!(offered.into_iter().any(|one| one == chosen && !one.is_empty()), "{chosen:?}");
    }
    assert!(all("sec-websocket-extensions").len() <= 1);
    assert!(!extensions.is_empty() || all("sec-websocket-extensions").is_empty());
    true
}

/// The head of the first final answer in `data`, or of its 101.
fn answer(data: &[u8]) -> Option<Response<()>> {
    let mut heads = Heads::new(Method::GET);
    heads.read(data);
    loop {
        let head = heads.take().ok()??;
        if !is_interim(&head) {
            return Some(head);
        }
    }
}
