//! A client's bytes up to the judgement of each request in them: hyper's parser as Bowline sets it
//! up, then Bowline's own checks and its routes.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::path::Path;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Waker};

use bowline::exchange::{Preview, Visitor, preview};
use bowline::plan::{Limits, Plan};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;

use crate::wire::Wire;

const LIMITS: Limits = Limits { uri: 2048, headers: 8192, connections: None, streams: 200 };

const PLAN: &str = "
listeners: [ { address: 127.0.0.1:1, limits: { uri: 2048, headers: 8192 } } ]
trusted_proxies: [ 10.0.0.0/8 ]
routes:
  - { upstream: a, match: { host: [ a.example, '*.example' ], path: /ws, websocket: true } }
  - { upstream: a, match: { path_regex: '^/r[0-9]+$', query: { v: '1' }, headers: { x-a: '*' } } }
  - { upstream: a, match: { subprotocol: chat } }
  - { upstream: a, match: { host: '::1', method: [ GET, POST ] } }
  - { upstream: a }
upstreams: { a: { endpoints: [ '127.0.0.1:1' ] } }
";

fn plan() -> &'static Plan {
    static ONE: OnceLock<Plan> = OnceLock::new();
    ONE.get_or_init(|| {
        let (config, mut mistakes) = bowline::config::parse("fuzz", PLAN, &|_| None);
        let plan = Plan::build(&config, Path::new(""), &mut mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        plan
    })
}

/// Serves `data`, as far as it is HTTP, and judges every request in it.
pub fn check(data: &[u8]) {
    served(data);
}

/// How many requests of `data` were accepted.
pub fn served(data: &[u8]) -> usize {
    let accepted = Cell::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        if judge(request) {
            accepted.set(accepted.get() + 1);
        }
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let connection =
        Builder::new().max_header_size(2 * LIMITS.headers).serve_connection(Wire(data), service);
    let mut connection = pin!(connection);
    let mut context = Context::from_waker(Waker::noop());
    // hyper yields now and then; a connection whose bytes are spent ends by itself.
    for _ in 0..data.len() + 64 {
        if connection.as_mut().poll(&mut context).is_ready() {
            break;
        }
    }
    accepted.get()
}

fn judge(request: Request<Incoming>) -> bool {
    let (mut parts, _) = request.into_parts();
    let before = parts.clone();
    let peer = Some([10, 0, 0, 1].into());
    let visitor = Visitor { listener: &plan().listeners[0], tls: false, peer };
    let websocket = match preview(&mut parts, visitor, plan()) {
        Preview::Refused { status, detail } => {
            assert!(status.is_client_error() || status.is_server_error(), "{status}: {detail}");
            assert!(!detail.is_empty(), "a refusal without a reason");
            return false;
        }
        Preview::NoRoute { .. } => panic!("the last route takes everything"),
        Preview::Routed { websocket, .. } => websocket,
    };
    let headers = &parts.headers;
    let count = |name| before.headers.get_all(name).iter().count();

    // One meaning: one host, one framing.
    let hosts = count(HOST);
    assert!(hosts == 1 || (hosts == 0 && before.version == Version::HTTP_10), "{hosts} hosts");
    assert!(!(count(TRANSFER_ENCODING) > 0 && count(CONTENT_LENGTH) > 0), "two framings");
    assert!(headers.get_all(CONTENT_LENGTH).iter().count() <= 1, "two lengths");
    for coding in headers.get_all(TRANSFER_ENCODING) {
        assert!(coding.as_bytes().eq_ignore_ascii_case(b"chunked"), "{coding:?}");
        assert!(before.version == Version::HTTP_11, "chunked on {:?}", before.version);
    }
    for length in headers.get_all(CONTENT_LENGTH) {
        assert!(length.as_bytes().iter().all(u8::is_ascii_digit), "{length:?}");
    }
    assert!(parts.method != Method::CONNECT && parts.method != Method::TRACE);
    assert!(parts.uri.path_and_query().is_none_or(|target| target.as_str().len() <= LIMITS.uri));
    assert!(parts.uri.scheme_str().is_none_or(|scheme| ["http", "https"].contains(&scheme)));
    for value in headers.values() {
        assert!(!value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte)), "{value:?}");
    }
    if websocket {
        handshake(&before.headers, &before.method, before.version);
    }
    true
}

/// What every accepted handshake has, read as plainly as can be.
fn handshake(headers: &HeaderMap, method: &Method, version: Version) {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().map(|value| value.as_bytes().to_vec());
        assert!(values.next().is_none(), "{name} twice");
        value
    };
    let has = |name: &str, token: &str| {
        let lines = headers.get_all(name).iter();
        let mut tokens = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        tokens.any(|one| one.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    assert!(method == Method::GET && version == Version::HTTP_11);
    assert!(has("upgrade", "websocket") && has("connection", "upgrade"));
    assert_eq!(one("sec-websocket-version").as_deref(), Some(&b"13"[..]));
    let key = one("sec-websocket-key").unwrap_or_default();
    assert!(key.len() == 24 && key.ends_with(b"=="), "{key:?}");
    assert!(!headers.contains_key(TRANSFER_ENCODING), "a handshake with a body");
    assert!(headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0"));
}
