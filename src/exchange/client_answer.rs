//! What a client gets, made of what an upstream answered or of a refusal.

use http::header::{CACHE_CONTROL, CONNECTION, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, UPGRADE};
use http::{HeaderValue, Response, StatusCode};

use super::account::Account;
use super::hygiene;
use super::reply::Refusal;
use super::response_body::ResponseBody;
use super::upgrade::UpgradeRequest;
use super::worker::Snapshot;
use crate::generation::Way;

/// The client's 101, made of the upstream's.
pub(super) fn switched(
    upgrade: &UpgradeRequest,
    head: http::response::Parts,
    way: Way<'_>,
) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::own(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    *headers = head.headers;
    hygiene::strip_answer(headers);
    upgrade.answer(headers);
    if upgrade.offers_protocols() && !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        tracing::info!(
            route = &*way.live.name,
            "the upstream selected none of the subprotocols offered: browsers fail such a socket"
        );
    }
    response
}

/// Makes an upstream's answer one for the client. HTTP/1.1 to the client whatever the upstream
/// spoke; Via on answers is optional (RFC 9110 section 7.6.3) and left out.
pub(super) fn clean_answer(response: &mut Response<ResponseBody>) {
    // Of one hop, yet a 426 must have it (RFC 9110 section 15.5.22).
    let required = (response.status() == StatusCode::UPGRADE_REQUIRED)
        .then(|| response.headers().get(UPGRADE).cloned())
        .flatten();
    let nominated = hygiene::strip_answer(response.headers_mut());
    response.body_mut().strike(nominated);
    if let Some(required) = required {
        response.headers_mut().insert(UPGRADE, required);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    *response.version_mut() = http::Version::HTTP_11;
}

/// Tells a client where it belongs. Caches must not tell others the same.
pub(super) fn set_cookie(response: &mut Response<ResponseBody>, cookie: Option<HeaderValue>) {
    let Some(cookie) = cookie else { return };
    let is_answer = response.status() != StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.append(SET_COOKIE, cookie);
    if is_answer {
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

/// An answer that takes its account with it.
pub(super) fn carried(
    mut response: Response<ResponseBody>,
    mut account: Box<Account>,
) -> Response<ResponseBody> {
    account.answered(response.status(), None);
    response.body_mut().carry(account);
    response
}

pub(super) fn refuse(
    refusal: &Refusal,
    accept: Option<HeaderValue>,
    generation: &Snapshot,
    mut account: Box<Account>,
) -> Response<ResponseBody> {
    let mut response =
        refusal.answer(accept.as_ref(), &generation.plan.pseudonym).map(ResponseBody::own);
    account.answered(response.status(), Some(refusal.failure));
    response.body_mut().carry(account);
    response
}
