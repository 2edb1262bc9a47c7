//! The life of one stream: a request and its answer, or a WebSocket (RFC 8441).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{COOKIE, EXPECT, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tokio::time::{Sleep, sleep};

use super::super::carried::Carried;
use super::super::client_body::ClientBody;
use super::super::client_task::Carriage;
use super::super::connection::LINGER;
use super::super::response_body::ResponseBody;
use super::super::service::Conversation;
use super::answer::{self, Sent, Wanted};
use super::client_leg::ClientLeg;
use super::inflow::Inflow;
use super::outflow::Outflow;
use super::responder::Responder;
use super::stream_body::StreamBody;
use super::streams::Place;
use crate::telemetry::Http2Fault;
use crate::tunnel::Leg;

/// Serves one stream until its answer is sent, or a tunnel begins, which is handed back.
pub(super) async fn serve(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    conversation: Conversation,
    place: Place,
) -> Option<Carriage> {
    let (mut parts, recv) = request.into_parts();
    join_cookies(&mut parts.headers);
    let wanted = Wanted {
        head_only: parts.method == Method::HEAD,
        trailers: parts.headers.contains_key(TE),
    };
    let inflow = Rc::new(RefCell::new(Inflow::new(recv)));
    let responder = Responder::new(respond);
    let awaits = parts.headers.contains_key(EXPECT).then(|| responder.clone());
    let body = ClientBody::Http2(StreamBody::new(Rc::clone(&inflow), awaits));
    let request = Request::from_parts(parts, body);
    let response = while_there(&inflow, &responder, conversation.exchange(request)).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return bridge(response, &responder, inflow, &conversation, place);
    }
    let patience = conversation.patience.get();
    let sending = answer::send(response, &responder, wanted, &conversation.timer, patience);
    if while_there(&inflow, &responder, sending).await == Some(Sent::Stalled) {
        conversation.worker.counters().count_http2_fault(Http2Fault::Stalled);
        tracing::info!(
            client = %conversation.sender.peer.ip(),
            "a stream was reset: its client took nothing of the answer"
        );
    }
    None
}

/// What `work` comes to; `None` when the client resets the stream before. What comes on it meanwhile is read.
async fn while_there<T>(
    inflow: &RefCell<Inflow>,
    responder: &Responder,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        let mut inflow = inflow.borrow_mut();
        inflow.fill(cx);
        if inflow.is_broken() || responder.poll_gone(cx).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

/// Tells the client that its WebSocket is open, and joins the two sides.
fn bridge(
    response: Response<ResponseBody>,
    responder: &Responder,
    inflow: Rc<RefCell<Inflow>>,
    conversation: &Conversation,
    place: Place,
) -> Option<Carriage> {
    let pending = conversation.pending.take()?;
    let (parts, _) = response.into_parts();
    let (mut status, mut headers) = (parts.status, parts.headers);
    answer::translate(&mut status, &mut headers);
    let mut head = Response::new(());
    (*head.status_mut(), *head.headers_mut()) = (status, headers);
    let send = responder.begin(head, false)?;
    conversation.worker.counters().http2_tunnels.inc();
    let leg = ClientLeg::new(Rc::clone(&inflow), Outflow::new(send));
    let admission = Box::new(place.into_tunnel());
    let carried = pending.begin(Leg { stream: leg, read_ahead: Vec::new() }, admission);
    Some(Box::pin(Bridged { carried: Some(carried), inflow, linger: None }))
}

/// A tunnel on a stream, and the moment behind it in which the client says its END_STREAM: browsers remember
/// a server that resets a stream at a clean close, and go back to HTTP/1.1.
struct Bridged {
    carried: Option<Carried<ClientLeg>>,
    inflow: Rc<RefCell<Inflow>>,
    linger: Option<Pin<Box<Sleep>>>,
}

impl Future for Bridged {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(carried) = &mut self.carried {
            if Pin::new(carried).poll(cx).is_pending() {
                // It may not read while the upstream is slow; h2's measure goes on.
                self.inflow.borrow_mut().fill(cx);
                return Poll::Pending;
            }
            // Lease and place go at once.
            self.carried = None;
            self.linger = Some(Box::pin(sleep(LINGER)));
        }
        let mut inflow = self.inflow.borrow_mut();
        inflow.discard(cx);
        if inflow.is_over() {
            return Poll::Ready(());
        }
        drop(inflow);
        match &mut self.linger {
            Some(linger) => {
                ready!(linger.as_mut().poll(cx));
                Poll::Ready(())
            }
            None => Poll::Ready(()),
        }
    }
}

/// Makes the crumbs of a cookie one line again (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    if crumbs.by_ref().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_are_joined_in_their_order_and_one_stays_as_it_is() {
        for (crumbs, joined) in [
            (&[][..], None),
            (&["a=1; b=2"], Some("a=1; b=2")),
            (&["a=1", "b=2", "c=3"], Some("a=1; b=2; c=3")),
        ] {
            let mut headers = HeaderMap::new();
            for crumb in crumbs {
                headers.append(COOKIE, HeaderValue::from_static(crumb));
            }
            join_cookies(&mut headers);
            assert_eq!(headers.get(COOKIE).map(HeaderValue::as_bytes), joined.map(str::as_bytes));
            assert!(headers.get_all(COOKIE).iter().count() <= 1);
        }
    }
}
