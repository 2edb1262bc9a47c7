//! The page that shows a WebSocket crossing Bowline: one file, no outside resource.

use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body_util::Full;
use hyper::{Request, Response};

const PAGE: &str = include_str!("page.html");

/// Serves the page at `/`.
pub(super) fn answer<B>(request: &Request<B>) -> Result<Response<Full<Bytes>>, http::Error> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Response::builder()
            .status(StatusCode::METHOD_NOT_ALLOWED)
            .header(header::ALLOW, "GET, HEAD")
            .body(Full::default());
    }
    if request.uri().path() != "/" {
        return Response::builder()
            .status(StatusCode::NOT_FOUND)
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(Full::from("Nothing here; the page is at /\n"));
    }
    Response::builder()
        .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .body(Full::from(PAGE))
}
