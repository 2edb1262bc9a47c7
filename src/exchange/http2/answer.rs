//! An answer on its way to a client of HTTP/2.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::Reason;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderName, SEC_WEBSOCKET_ACCEPT, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame};

use super::super::response_body::ResponseBody;
use super::super::timer::LazyTimer;
use super::outflow::Outflow;
use super::responder::Responder;
use crate::upstream::http1::AnswerError;

/// What the request says about its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// A HEAD: nothing comes behind the fields.
    pub(super) head_only: bool,
    /// `TE: trailers` (RFC 9110 section 6.5.1).
    pub(super) trailers: bool,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Whole, or cut off because the upstream's was.
    Done,
    /// The client did not want it any more.
    Gone,
    /// The client took nothing for too long; the stream was reset.
    Stalled,
}

/// Makes the fields of an answer those of HTTP/2 (RFC 9113 section 8.2.2). A 101 is a 200 there.
pub(super) fn translate(status: &mut StatusCode, headers: &mut HeaderMap) {
    if *status == StatusCode::SWITCHING_PROTOCOLS {
        *status = StatusCode::OK;
        headers.remove(SEC_WEBSOCKET_ACCEPT);
    }
    for name in [CONNECTION, UPGRADE, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        headers.remove(HeaderName::from_static(name));
    }
    if !headers.contains_key(DATE)
        && let Ok(now) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now()))
    {
        headers.insert(DATE, now);
    }
}

/// Sends an answer whole. `patience`: how long the client may take nothing of it.
pub(super) async fn send(
    response: Response<ResponseBody>,
    responder: &Responder,
    wanted: Wanted,
    timer: &LazyTimer,
    patience: Option<Duration>,
) -> Sent {
    let (parts, mut body) = response.into_parts();
    let mut head = Response::new(());
    *head.status_mut() = parts.status;
    *head.headers_mut() = parts.headers;
    translate_head(&mut head, &body, wanted);
    let ends = wanted.head_only || body.is_end_stream();
    let Some(send) = responder.begin(head, ends) else { return Sent::Gone };
    if ends {
        // What a HEAD does not see is produced all the same: it is whole then.
        while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
        return Sent::Done;
    }
    let mut outflow = Outflow::new(send);
    let sent = pump(&mut body, &mut outflow, wanted, timer, patience).await;
    if sent == Sent::Stalled {
        outflow.reset(Reason::CANCEL);
    }
    sent
}

fn translate_head(head: &mut Response<()>, body: &ResponseBody, wanted: Wanted) {
    let mut status = head.status();
    translate(&mut status, head.headers_mut());
    *head.status_mut() = status;
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let Some(length) = body.size_hint().exact()
        && !bodiless
        && !(wanted.head_only && length == 0)
    {
        head.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
}

async fn pump(
    body: &mut ResponseBody,
    outflow: &mut Outflow,
    wanted: Wanted,
    timer: &LazyTimer,
    patience: Option<Duration>,
) -> Sent {
    loop {
        let Some(frame) = next(body, outflow).await else { return Sent::Gone };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            // What came is not the whole, and must not look like it.
            Some(Err(_)) => {
                outflow.reset(Reason::INTERNAL_ERROR);
                return Sent::Done;
            }
            None => return sent(outflow.finish().is_ok()),
        };
        match frame.into_data() {
            Ok(data) => {
                let ends = body.is_end_stream();
                let Some(passed) = timer_within(timer, patience, pass(outflow, data, ends)).await
                else {
                    return Sent::Stalled;
                };
                if !passed || ends {
                    return sent(passed);
                }
            }
            Err(frame) => {
                let trailers = frame.into_trailers().ok().filter(|_| wanted.trailers);
                return sent(match trailers {
                    Some(trailers) => outflow.finish_with(trailers).is_ok(),
                    None => outflow.finish().is_ok(),
                });
            }
        }
    }
}

fn sent(whole: bool) -> Sent {
    if whole { Sent::Done } else { Sent::Gone }
}

/// The next frame of the body; `None` when the client is gone.
async fn next(
    body: &mut ResponseBody,
    outflow: &mut Outflow,
) -> Option<Option<Result<Frame<Bytes>, AnswerError>>> {
    poll_fn(|cx| {
        if outflow.poll_gone(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut *body).poll_frame(cx).map(Some)
    })
    .await
}

/// Passes one piece on, as the client's windows allow. `false` when it is gone.
async fn pass(outflow: &mut Outflow, mut data: Bytes, ends: bool) -> bool {
    while !data.is_empty() {
        let Ok(room) = poll_fn(|cx| outflow.poll_room(cx, data.len())).await else { return false };
        let piece = data.split_to(room.min(data.len()));
        if outflow.send(piece, ends && data.is_empty()).is_err() {
            return false;
        }
    }
    !ends || outflow.finish().is_ok()
}

async fn timer_within<T>(
    timer: &LazyTimer,
    patience: Option<Duration>,
    work: impl Future<Output = T>,
) -> Option<T> {
    match patience {
        Some(patience) => timer.within(patience, work).await,
        None => Some(work.await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_connection_stay_and_a_101_is_a_200() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", "x"),
            ("sec-websocket-protocol", "chat"),
            ("keep-alive", "timeout=1"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut status = StatusCode::SWITCHING_PROTOCOLS;
        translate(&mut status, &mut headers);
        assert_eq!(status, StatusCode::OK);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["sec-websocket-protocol", "date"]);
    }
}
