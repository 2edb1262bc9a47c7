//! The handshake as two tables: what a client may ask (RFC 6455 section 4.2.1), and what an
//! upstream may answer (section 4.1, second list).

use http::{Request, StatusCode};

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A field by name, with each of its lines.
type Field = (&'static str, &'static [&'static str]);

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Tunnel,
    Plain,
    Refused(u16),
}

/// A handshake that is right, with `lines` in place of the fields that they name; a name with an
/// empty list of values is left out.
fn parse(method: &str, version: Version, lines: &[(&'static str, &[&'static str])]) -> Said {
    let right: [Field; 5] = [
        ("host", &["a.example"]),
        ("upgrade", &["websocket"]),
        ("connection", &["Upgrade"]),
        ("sec-websocket-key", &[KEY]),
        ("sec-websocket-version", &["13"]),
    ];
    let kept = right.iter().filter(|(name, _)| lines.iter().all(|(other, _)| name != other));
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method.parse().unwrap();
    parts.version = version;
    for (name, values) in kept.chain(lines) {
        for value in *values {
            parts.headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
    }
    let options = ConnectionOptions::read(&parts.headers).unwrap();
    match UpgradeRequest::parse(&parts, &options) {
        Ok(Some(upgrade)) => {
            assert_eq!(upgrade.accept, ACCEPT);
            Said::Tunnel
        }
        Ok(None) => Said::Plain,
        Err(refusal) => {
            assert!(refusal.close || refusal.failure != Failure::BadRequest, "{refusal:?}");
            Said::Refused(refusal.failure.status().as_u16())
        }
    }
}

#[test]
fn a_handshake_is_a_handshake_in_every_legal_spelling() {
    let legal: [&[Field]; 20] = [
        &[],
        &[("upgrade", &["WebSocket"])],
        &[("upgrade", &["WEBSOCKET"])],
        &[("upgrade", &["websocket, h2c"])],
        &[("upgrade", &["h2c", "websocket"])],
        &[("upgrade", &[" , websocket ,"])],
        &[("connection", &["upgrade"])],
        &[("connection", &["keep-alive, Upgrade"])],
        &[("connection", &["Upgrade,keep-alive"])],
        &[("connection", &["keep-alive", "UPGRADE"])],
        &[("connection", &["Upgrade, HTTP2-Settings"]), ("http2-settings", &["x"])],
        &[("content-length", &["0"])],
        &[("sec-websocket-protocol", &["chat"])],
        &[("sec-websocket-protocol", &["chat, superchat"])],
        &[("sec-websocket-protocol", &["chat", "superchat , v1.stomp"])],
        &[("sec-websocket-extensions", &["permessage-deflate"])],
        &[("sec-websocket-extensions", &["permessage-deflate; client_max_window_bits"])],
        &[("sec-websocket-extensions", &["a; x=1; y=\"2\", b", "a"])],
        &[("sec-websocket-extensions", &["permessage-deflate;server_max_window_bits = 10"])],
        &[("expect", &["100-continue"])],
    ];
    for lines in legal {
        assert_eq!(parse("GET", Version::HTTP_11, lines), Said::Tunnel, "{lines:?}");
    }
}

#[test]
fn what_asks_for_no_websocket_is_plain_http() {
    let plain: [&[Field]; 8] = [
        &[("upgrade", &[]), ("sec-websocket-key", &[])],
        &[("upgrade", &["h2c"])],
        &[("upgrade", &["websocket2"])],
        &[("upgrade", &["websocket/13"])],
        &[("upgrade", &["web socket"])],
        &[("upgrade", &["\"websocket\""])],
        &[("upgrade", &[""])],
        // RFC 9110 section 7.8: without the connection option, Upgrade is ignored.
        &[("connection", &["keep-alive"]), ("sec-websocket-key", &[])],
    ];
    for lines in plain {
        assert_eq!(parse("GET", Version::HTTP_11, lines), Said::Plain, "{lines:?}");
    }
    // HTTP/1.0 cannot upgrade (RFC 9110 section 7.8).
    assert_eq!(parse("GET", Version::HTTP_10, &[]), Said::Plain);
    assert_eq!(parse("POST", Version::HTTP_11, &[("upgrade", &["h2c"])]), Said::Plain);
}

#[test]
fn a_wrong_handshake_is_refused_with_its_status() {
    let wrong: [(u16, &[Field]); 25] = [
        // WS-1: what was meant is plain, whichever half of it a proxy in front has taken away.
        (400, &[("upgrade", &[])]),
        (400, &[("connection", &["keep-alive"])]),
        (400, &[("connection", &[])]),
        (400, &[("connection", &["up-grade"])]),
        (426, &[("sec-websocket-version", &[])]),
        (426, &[("sec-websocket-version", &["8"])]),
        (426, &[("sec-websocket-version", &["013"])]),
        (426, &[("sec-websocket-version", &["13, 8"])]),
        (426, &[("sec-websocket-version", &["0"])]),
        (400, &[("sec-websocket-key", &[])]),
        (400, &[("sec-websocket-key", &[""])]),
        (400, &[("sec-websocket-key", &[KEY, KEY])]),
        (400, &[("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ"])]),
        (400, &[("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZWE="])]),
        (400, &[("sec-websocket-key", &["!GhlIHNhbXBsZSBub25jZQ=="])]),
        (400, &[("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ==, x"])]),
        (400, &[("content-length", &["5"])]),
        (400, &[("transfer-encoding", &["chunked"])]),
        (400, &[("sec-websocket-protocol", &["chat, chat"])]),
        (400, &[("sec-websocket-protocol", &["chat", "chat"])]),
        (400, &[("sec-websocket-protocol", &["a b"])]),
        (400, &[("sec-websocket-protocol", &["caf\u{e9}"])]),
        (400, &[("sec-websocket-extensions", &["a; =1"])]),
        (400, &[("sec-websocket-extensions", &["a; x=\"1"])]),
        (400, &[("sec-websocket-extensions", &["a; x=\"1 2\""])]),
    ];
    for (status, lines) in wrong {
        let said = parse("GET", Version::HTTP_11, lines);
        assert_eq!(said, Said::Refused(status), "{lines:?}");
    }
    for method in ["POST", "HEAD", "OPTIONS", "get"] {
        assert_eq!(parse(method, Version::HTTP_11, &[]), Said::Refused(400), "{method}");
    }
    // WS-2: the version stands once.
    let twice = parse("GET", Version::HTTP_11, &[("sec-websocket-version", &["13", "13"])]);
    assert!(matches!(twice, Said::Refused(400 | 426)), "{twice:?}");
}

fn offer(protocols: &[&str], extensions: &[&str]) -> UpgradeRequest {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    UpgradeRequest {
        key: None,
        accept: ACCEPT.to_owned(),
        protocols: owned(protocols),
        extensions: owned(extensions),
    }
}

/// A right 101 with `lines` in place of what they name.
fn answer(lines: &[(&'static str, &[&'static str])]) -> HeaderMap {
    let right: [Field; 3] = [
        ("upgrade", &["websocket"]),
        ("connection", &["Upgrade"]),
        ("sec-websocket-accept", &[ACCEPT]),
    ];
    let kept = right.iter().filter(|(name, _)| lines.iter().all(|(other, _)| name != other));
    let mut headers = HeaderMap::new();
    for (name, values) in kept.chain(lines) {
        for value in *values {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
    }
    headers
}

#[test]
fn a_101_that_answers_the_offer_passes() {
    let offer = offer(&["chat", "superchat"], &["permessage-deflate", "x-mux"]);
    let right: [&[Field]; 9] = [
        &[],
        &[("upgrade", &["WebSocket"])],
        &[("connection", &["keep-alive, upgrade"])],
        &[("connection", &["close", "UPGRADE"])],
        &[("sec-websocket-protocol", &["superchat"])],
        &[("sec-websocket-extensions", &["permessage-deflate; server_no_context_takeover"])],
        &[("sec-websocket-extensions", &["x-mux, permessage-deflate"])],
        &[("set-cookie", &["a=1", "b=2"])],
        &[("server", &["caf\u{e9}"])],
    ];
    for lines in right {
        assert_eq!(offer.check(&answer(lines)), Ok(()), "{lines:?}");
    }
}

#[test]
fn a_101_that_answers_anything_else_is_told_apart() {
    let offer = offer(&["chat"], &["permessage-deflate"]);
    let wrong: [(&str, &[Field]); 24] = [
        ("switch", &[("upgrade", &[])]),
        ("switch", &[("upgrade", &[""])]),
        ("switch", &[("upgrade", &["h2c"])]),
        ("switch", &[("upgrade", &["websocket, h2c"])]),
        ("switch", &[("upgrade", &["websocket", "websocket"])]),
        ("switch", &[("upgrade", &["h2c", "websocket"])]),
        ("switch", &[("upgrade", &["caf\u{e9}", "websocket"])]),
        ("switch", &[("upgrade", &["websocket, caf\u{e9}"])]),
        ("Connection", &[("connection", &[])]),
        ("Connection", &[("connection", &["close"])]),
        ("Connection", &[("connection", &["upgraded"])]),
        ("Accept", &[("sec-websocket-accept", &[])]),
        ("Accept", &[("sec-websocket-accept", &["S3PPLMBITXAQ9KYGZZHZRBK+XOO="])]),
        ("Accept", &[("sec-websocket-accept", &[ACCEPT, ACCEPT])]),
        ("Accept", &[("sec-websocket-accept", &["s3pPLMBiTxaQ9kYGzzhZRbK+xOo"])]),
        ("subprotocol", &[("sec-websocket-protocol", &["mqtt"])]),
        ("subprotocol", &[("sec-websocket-protocol", &["Chat"])]),
        ("subprotocol", &[("sec-websocket-protocol", &["chat, chat"])]),
        ("subprotocol", &[("sec-websocket-protocol", &["chat", "chat"])]),
        ("subprotocol", &[("sec-websocket-protocol", &[""])]),
        ("extension", &[("sec-websocket-extensions", &["x-mux"])]),
        ("extension", &[("sec-websocket-extensions", &["permessage-deflate, x-mux"])]),
        (
            "extension",
            &[("sec-websocket-extensions", &["permessage-deflate", "permessage-deflate"])],
        ),
        ("extension", &[("sec-websocket-extensions", &[";"])]),
    ];
    for (told, lines) in wrong {
        let what = offer.check(&answer(lines)).unwrap_err();
        assert!(what.contains(told), "{lines:?}: {what}");
    }
}

#[test]
fn nothing_may_be_selected_when_nothing_was_offered() {
    let nothing = offer(&[], &[]);
    assert_eq!(nothing.check(&answer(&[])), Ok(()));
    assert!(!nothing.offers_protocols());
    assert!(nothing.check(&answer(&[("sec-websocket-protocol", &["chat"])])).is_err());
    assert!(nothing.check(&answer(&[("sec-websocket-extensions", &["a"])])).is_err());
}

#[test]
fn the_request_for_the_upstream_asks_for_this_upgrade_and_nothing_else() {
    let mut headers = answer(&[("content-length", &["0"]), ("expect", &["100-continue"])]);
    headers.append(UPGRADE, HeaderValue::from_static("h2c"));
    offer(&[], &[]).ask(&mut headers);
    assert_eq!(headers.get_all(UPGRADE).iter().collect::<Vec<_>>(), ["websocket"]);
    assert_eq!(headers.get_all(CONNECTION).iter().collect::<Vec<_>>(), ["Upgrade"]);
    assert!(!headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(EXPECT));
}

#[test]
fn a_refused_version_is_answered_with_the_one_that_works() {
    let refusal = Refusal::new(Failure::UpgradeVersion);
    let answer = refusal.answer(None, &HeaderValue::from_static("bowline"));
    assert_eq!(answer.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(answer.headers()[SEC_WEBSOCKET_VERSION], "13");
}

/// An extended CONNECT that is right, with `lines` besides.
fn extended(
    protocol: &'static str,
    uri: &str,
    lines: &[(&'static str, &str)],
) -> Result<Option<UpgradeRequest>, Refusal> {
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.version) = (Method::CONNECT, Version::HTTP_2);
    parts.uri = uri.parse().unwrap();
    parts.extensions.insert(Protocol::from_static(protocol));
    parts.headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
    for (name, value) in lines {
        parts.headers.insert(*name, value.parse().unwrap());
    }
    UpgradeRequest::parse(&parts, &ConnectionOptions::default())
}

#[test]
fn an_extended_connect_gets_a_key_of_its_own_each_time() {
    const URI: &str = "https://a.example/ws";
    let asked = || {
        let request = extended("websocket", URI, &[("sec-websocket-key", KEY)]).unwrap().unwrap();
        assert!(request.is_extended());
        let mut headers = HeaderMap::new();
        request.ask(&mut headers);
        let key = headers[SEC_WEBSOCKET_KEY].as_bytes().to_vec();
        assert!(websocket::is_key(&key) && key != KEY.as_bytes());
        assert_eq!(request.accept, websocket::accept_of(&key));
        key
    };
    assert_ne!(asked(), asked());
    for (protocol, uri, lines, status) in [
        ("connect-udp", URI, &[][..], 501),
        ("websocket", URI, &[("sec-websocket-version", "8")], 426),
        ("websocket", URI, &[("content-length", "1")], 400),
        ("websocket", URI, &[("sec-websocket-protocol", "a b")], 400),
        ("websocket", "/ws", &[], 400),
    ] {
        let refused = extended(protocol, uri, lines).unwrap_err();
        assert_eq!(refused.failure.status(), status, "{protocol} {uri} {lines:?}");
    }
}
