//! What each path of the admin plane says.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::Full;
use hyper::{Request, Response};
use prometheus::TEXT_FORMAT;

use crate::drain::Phase;

use super::{AdminState, guard, reload};

const PLAIN: &str = "text/plain; charset=utf-8";

const INDEX: &str = "Bowline\n\n\
    /metrics  counters in the Prometheus text format\n\
    /healthz  200 while the process lives\n\
    /readyz   200 while it takes new work, 503 before and after\n\
    /reload   POST: read the configuration again; with ?dry_run only tell what would change\n";

/// Answers one request; its body, if any, is not read. hyper leaves the body out for HEAD.
pub(super) async fn answer<B>(request: &Request<B>, state: &AdminState) -> Response<Full<Bytes>> {
    if let Err((status, reason)) = guard::check(request) {
        return plain(status, format!("{reason}\n"));
    }
    if reload::is_reload(request) {
        return reload::reload(request.uri().query(), &state.reloads).await;
    }
    page(request, state)
}

/// What there is to read.
fn page<B>(request: &Request<B>, state: &AdminState) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/" | "/metrics" | "/healthz" | "/readyz" | "/reload") {
        return plain(StatusCode::NOT_FOUND, "no such page\n");
    }
    let (allowed, said) = match path {
        "/reload" => ("POST", "POST only\n"),
        _ => ("GET, HEAD", "GET or HEAD only\n"),
    };
    if path == "/reload" || !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, said);
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        return answer;
    }
    match path {
        "/metrics" => text(StatusCode::OK, TEXT_FORMAT, state.metrics.encode()),
        "/healthz" => text(StatusCode::OK, PLAIN, "ok\n"),
        "/readyz" => match *state.phase.borrow() {
            Phase::Serving => text(StatusCode::OK, PLAIN, ready(state)),
            Phase::Starting => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "starting\n"),
            _ => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "draining\n"),
        },
        _ => text(StatusCode::OK, PLAIN, INDEX),
    }
}

/// A certificate that could not be renewed is told, and stops nothing: the one before it serves.
fn ready(state: &AdminState) -> String {
    let mut said = "ready\n".to_owned();
    for file in state.metrics.tls_files().all() {
        if let Some(problem) = file.problem {
            said.push_str(&format!("warning: not renewed: {problem}\n"));
        }
    }
    said
}

pub(super) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    text(status, PLAIN, body)
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
