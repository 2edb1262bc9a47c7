//! Whether an answer is the one that a check wants.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body;

use super::{Asking, Fault};
use crate::fields::tokens;
use crate::plan::Statuses;
use crate::telemetry::CheckOutcome;
use crate::upstream::http1::AnswerError;
use crate::websocket::accept_of;

/// A text that stands further behind is not looked for.
const MOST: usize = 64 * 1024;

/// The head of the answer.
pub(super) async fn head(asking: &mut Asking) -> Result<Response<()>, Fault> {
    asking.head(|_| {}).await.map_err(|error| Fault::new(CheckOutcome::Answer, error.to_string()))
}

/// Judges the head of an answer to a GET.
pub(super) fn judge(
    head: &Response<()>,
    wanted: &Statuses,
    fields: &[(HeaderName, Option<HeaderValue>)],
) -> Result<(), Fault> {
    let status = head.status();
    if !wanted.contains(status) {
        return Err(Fault::new(CheckOutcome::Status, format!("status {}", status.as_u16())));
    }
    has_fields(head.headers(), fields)
}

/// Judges the head of an answer to an upgrade with this key.
pub(super) fn judge_switching(
    head: &Response<()>,
    key: &str,
    fields: &[(HeaderName, Option<HeaderValue>)],
) -> Result<(), Fault> {
    let status = head.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let why = format!("status {} in place of 101", status.as_u16());
        return Err(Fault::new(CheckOutcome::Status, why));
    }
    let headers = head.headers();
    let upgraded = tokens(headers, &UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"));
    let mut accepts = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
    let right = accepts.next().is_some_and(|accept| *accept == *accept_of(key.as_bytes()));
    if !upgraded || !right || accepts.next().is_some() {
        return Err(Fault::new(CheckOutcome::Upgrade, "a 101 that does not fit the handshake"));
    }
    if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(Fault::new(CheckOutcome::Upgrade, "a 101 with an extension nobody offered"));
    }
    has_fields(headers, fields)
}

fn has_fields(
    headers: &HeaderMap,
    fields: &[(HeaderName, Option<HeaderValue>)],
) -> Result<(), Fault> {
    for (name, wanted) in fields {
        let mut lines = headers.get_all(name).iter();
        if !lines.any(|line| wanted.as_ref().is_none_or(|wanted| wanted == line)) {
            let why = format!("no header `{name}` with the value that is wanted");
            return Err(Fault::new(CheckOutcome::Header, why));
        }
    }
    Ok(())
}

/// Reads a body until `text` has come.
pub(super) async fn contains<B>(mut body: B, text: &str) -> Result<(), Fault>
where
    B: Body<Data = Bytes, Error = AnswerError> + Unpin,
{
    let missing = |why: &str| Fault::new(CheckOutcome::Body, why);
    let text = text.as_bytes();
    if text.is_empty() {
        return Ok(());
    }
    let mut read = Vec::new();
    while read.len() < MOST {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else {
            return Err(missing("a body without the text that is wanted"));
        };
        let frame = frame.map_err(|error| Fault::new(CheckOutcome::Answer, error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        // It may have begun in what came before.
        let from = read.len().saturating_sub(text.len().saturating_sub(1));
        let room = MOST.saturating_sub(read.len());
        read.extend_from_slice(data.get(..room).unwrap_or(&data));
        let fresh = read.get(from..).unwrap_or_default();
        if fresh.windows(text.len()).any(|part| part == text) {
            return Ok(());
        }
    }
    Err(missing("64 KiB of a body without the text that is wanted"))
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;

    use super::*;

    /// A body that comes in these pieces.
    async fn holds(pieces: Vec<Vec<u8>>, text: &str) -> Result<(), CheckOutcome> {
        let frames = pieces.into_iter().map(|piece| Ok(http_body::Frame::data(piece.into())));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        contains(body, text).await.map_err(|fault| fault.outcome)
    }

    #[tokio::test]
    async fn a_text_is_found_however_it_is_cut() {
        let body = b"{\"status\":\"ready\"}";
        for step in 1..body.len() {
            let pieces = || body.chunks(step).map(<[u8]>::to_vec).collect();
            assert_eq!(holds(pieces(), "\"ready\"").await, Ok(()), "{step}");
            assert_eq!(holds(pieces(), "rready").await, Err(CheckOutcome::Body), "{step}");
        }
    }

    #[tokio::test]
    async fn a_text_beyond_the_bound_is_not_found() {
        let at = |before: usize| vec![vec![b'x'; before], b"ready".to_vec()];
        assert_eq!(holds(at(MOST - 5), "ready").await, Ok(()));
        assert_eq!(holds(at(MOST - 4), "ready").await, Err(CheckOutcome::Body));
        assert_eq!(holds(vec![vec![b'x'; 1 << 20]; 3], "ready").await, Err(CheckOutcome::Body));
    }

    #[test]
    fn a_101_must_fit_the_handshake() {
        const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
        const RIGHT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let judged = |status: u16, fields: &[(&str, &str)]| {
            let mut head = Response::builder().status(status);
            for (name, value) in fields {
                head = head.header(*name, *value);
            }
            let wanted = [(HeaderName::from_static("x-role"), None)];
            judge_switching(&head.body(()).unwrap(), KEY, &wanted).map_err(|fault| fault.outcome)
        };
        let (upgrade, role) = (("upgrade", "WebSocket"), ("x-role", "chat"));
        let accept = ("sec-websocket-accept", RIGHT);
        assert_eq!(judged(101, &[upgrade, accept, role]), Ok(()));
        assert_eq!(judged(200, &[upgrade, accept, role]), Err(CheckOutcome::Status));
        assert_eq!(judged(101, &[upgrade, accept]), Err(CheckOutcome::Header));
        for fields in [
            &[upgrade, role] as &[_],
            &[accept, role],
            &[upgrade, accept, accept, role],
            &[upgrade, ("sec-websocket-accept", KEY), role],
            &[upgrade, accept, role, ("sec-websocket-extensions", "permessage-deflate")],
        ] {
            assert_eq!(judged(101, fields), Err(CheckOutcome::Upgrade), "{fields:?}");
        }
    }
}
