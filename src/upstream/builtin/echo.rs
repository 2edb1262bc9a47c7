//! A WebSocket echo server; to a plain request it tells what arrived.

use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::websocket;

/// Larger messages are refused; the echo has to hold a whole one.
const MAX_MESSAGE: usize = 64 << 20;

/// Answers one request: 101 and an echo, or a plain account of the request.
pub(super) fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, http::Error> {
    let upgrade = request.headers().get(header::UPGRADE);
    let websocket =
        upgrade.is_some_and(|token| token.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).filter(|_| websocket);
    let Some(key) = key else { return told(&request) };
    let accept = websocket::accept_of(key.as_bytes());
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = first_subprotocol(request.headers()) {
        response = response.header(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => echo(TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(%error, "built-in echo: the upgrade did not happen"),
        }
    });
    response.body(Full::default())
}

async fn echo(io: TokioIo<hyper::upgrade::Upgraded>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    while let Some(Ok(message)) = socket.next().await {
        // Pings and closes are answered by the library when the stream is polled again.
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            break;
        }
    }
}

fn first_subprotocol(headers: &http::HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    HeaderValue::from_str(offered.split(',').next()?.trim()).ok()
}

fn told(request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, http::Error> {
    let mut text = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        // Writing to a String cannot fail.
        writeln!(text, "{name}: {value}").ok();
    }
    Response::builder()
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(Full::from(text))
}
