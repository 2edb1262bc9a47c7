//! Properties of the hop: nothing of it survives, nothing else is lost, and a `Connection` that
//! reaches for what is not of one hop is refused (RFC 9110 section 7.6.1).

use std::collections::BTreeSet;

use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "proxy-authorization",
    "proxy-authenticate",
];

/// What routing, framing, guards and the handshake stand on.
const OURS: [&str; 14] = [
    "host",
    "content-length",
    "cookie",
    "authorization",
    "origin",
    "expect",
    "via",
    "forwarded",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "sec-websocket-accept",
    "sec-websocket-anything-later",
];

const OTHERS: [&str; 10] = [
    "accept",
    "x-secret",
    "x-forwarded-for",
    "set-cookie",
    "content-type",
    "trailer",
    "close",
    "upgrade-insecure-requests",
    "te-x",
    "keep-alive-x",
];

fn name() -> impl Strategy<Value = HeaderName> {
    let known = HOP.iter().chain(&OURS).chain(&OTHERS).copied().collect::<Vec<_>>();
    prop_oneof![4 => select(known).prop_map(str::to_owned), 1 => "[a-z][a-z0-9_.-]{0,6}"]
        .prop_map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap())
}

/// One element of a Connection line as peers and attackers write them.
fn option() -> impl Strategy<Value = Vec<u8>> {
    let known = HOP.iter().chain(&OTHERS).copied().collect::<Vec<_>>();
    prop_oneof![
        6 => (select(known), any::<u32>()).prop_map(|(name, cases)| recased(name, cases)),
        1 => (select(&OURS[..]), any::<u32>()).prop_map(|(name, cases)| recased(name, cases)),
        2 => select(vec![&b""[..], b"close", b"Upgrade", b"Keep-Alive", b"\"x\"", b"a b", b"\xe9t\xe9"])
            .prop_map(<[u8]>::to_vec),
        1 => "[a-z][a-z0-9_.-]{0,6}".prop_map(String::into_bytes),
    ]
}

fn recased(name: &str, cases: u32) -> Vec<u8> {
    let letter = |(at, byte): (usize, u8)| match cases >> (at % 32) & 1 {
        0 => byte,
        _ => byte.to_ascii_uppercase(),
    };
    name.bytes().enumerate().map(letter).collect()
}

/// The lines of Connection, each a list with whitespace of every kind that may stand there.
fn connection() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let space = || select(vec![&b""[..], b" ", b"\t", b"  "]);
    let element = (space(), option(), space())
        .prop_map(|(before, option, behind)| [before, &option, behind].concat());
    let line = proptest::collection::vec(element, 1..4).prop_map(|parts| parts.join(&b","[..]));
    proptest::collection::vec(line, 0..3)
}

fn fields() -> impl Strategy<Value = Vec<(HeaderName, u8)>> {
    proptest::collection::vec((name(), any::<u8>()), 0..24)
}

fn map(fields: &[(HeaderName, u8)], connection: &[Vec<u8>]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().filter(|(name, _)| name != CONNECTION) {
        headers.append(name, HeaderValue::from_str(&value.to_string()).unwrap());
    }
    for line in connection {
        headers.append(CONNECTION, HeaderValue::from_bytes(line).unwrap());
    }
    headers
}

/// The field names in Connection, in lower case: split, trim, compare.
fn nominated(connection: &[Vec<u8>]) -> BTreeSet<String> {
    let options = connection.iter().flat_map(|line| line.split(|byte| *byte == b','));
    options
        .map(|option| String::from_utf8_lossy(option.trim_ascii()).to_ascii_lowercase())
        .filter(|option| !option.is_empty())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_field_of_the_hop_survives_and_no_other_is_lost(
        fields in fields(),
        connection in connection(),
    ) {
        let before = map(&fields, &connection);
        let nominated = nominated(&connection);
        let reaches = nominated.iter().any(|name| OURS.contains(&name.as_str()));
        let options = ConnectionOptions::read(&before);
        prop_assert_eq!(options.is_err(), reaches, "{:?}", nominated);
        let Ok(options) = options else { return Ok(()) };

        let mut after = before.clone();
        let trailers = options.strip(&mut after);
        for name in before.keys() {
            // `close` is an option, and no name of a field (RFC 9110 section 7.6.1).
            let named = nominated.contains(name.as_str()) && name != "close";
            let of_the_hop = HOP.contains(&name.as_str()) || named;
            let kept: Vec<_> = after.get_all(name).iter().collect();
            let had: Vec<_> = before.get_all(name).iter().collect();
            prop_assert_eq!(kept, if of_the_hop { vec![] } else { had }, "{}", name);
        }
        prop_assert!(after.keys().all(|name| before.contains_key(name)));
        prop_assert!(!trailers || before.contains_key(TE));
    }

    #[test]
    fn an_answer_loses_the_hop_and_keeps_what_the_client_stands_on(
        fields in fields(),
        connection in connection(),
    ) {
        let before = map(&fields, &connection);
        let nominated = nominated(&connection);
        let mut after = before.clone();
        strip_answer(&mut after);
        for name in before.keys() {
            let ours = OURS.contains(&name.as_str());
            let of_the_hop =
                HOP.contains(&name.as_str()) || (nominated.contains(name.as_str()) && !ours);
            let kept: Vec<_> = after.get_all(name).iter().collect();
            let had: Vec<_> = before.get_all(name).iter().collect();
            prop_assert_eq!(kept, if of_the_hop { vec![] } else { had }, "{}", name);
        }
    }

    #[test]
    fn trailers_carry_nothing_that_frames_routes_or_authenticates(fields in fields()) {
        let before = map(&fields, &[]);
        let mut after = before.clone();
        clean_trailers(&mut after);
        let barred =
            ["trailer", "set-cookie", "content-type", "content-encoding", "content-range", "www-authenticate"];
        for name in before.keys() {
            let word = name.as_str();
            let gone = HOP.contains(&word) || OURS.contains(&word) || barred.contains(&word);
            prop_assert_eq!(after.contains_key(name), !gone, "{}", name);
        }
    }
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let lines = lines.iter();
    lines
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

#[test]
fn the_upgrade_option_is_found_wherever_it_stands() {
    for line in
        ["Upgrade", "upgrade", "keep-alive, Upgrade", "UPGRADE,keep-alive", " ,,\tupGrade ,"]
    {
        let headers = headers(&[("connection", line)]);
        assert!(ConnectionOptions::read(&headers).unwrap().upgrade, "{line}");
    }
    let mut second = headers(&[("connection", "keep-alive")]);
    second.append(CONNECTION, HeaderValue::from_static("Upgrade"));
    assert!(ConnectionOptions::read(&second).unwrap().upgrade);
    for line in ["", "upgraded", "up grade", "\"upgrade\"", "upgrade;q=1", "keep-alive; upgrade"] {
        let headers = headers(&[("connection", line)]);
        assert!(!ConnectionOptions::read(&headers).unwrap().upgrade, "{line}");
    }
}

#[test]
fn naming_what_is_not_of_one_hop_is_refused_and_the_field_is_told() {
    for (line, told) in [
        ("close, Host", "host"),
        ("cookie", "cookie"),
        ("Sec-WebSocket-Key", "sec-websocket-key"),
        ("keep-alive, Content-Length", "content-length"),
    ] {
        let error = ConnectionOptions::read(&headers(&[("connection", line)])).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn trailers_are_asked_for_only_when_the_client_takes_them() {
    for (te, takes) in
        [("trailers", true), ("gzip, Trailers", true), ("gzip", false), ("trailers;q=0", false)]
    {
        let mut asked = headers(&[("te", te), ("connection", "te")]);
        let options = ConnectionOptions::read(&asked).unwrap();
        assert_eq!(options.strip(&mut asked), takes, "{te}");
        assert!(asked.is_empty(), "{asked:?}");
    }
    let mut set = HeaderMap::new();
    accept_trailers(&mut set);
    assert_eq!(set, headers(&[("te", "trailers"), ("connection", "te")]));
}

#[test]
fn an_upstream_cannot_strike_out_the_length_or_the_handshake() {
    let mut answer = headers(&[
        ("connection", "close, content-length, sec-websocket-accept, x-internal"),
        ("content-length", "5"),
        ("sec-websocket-accept", "x"),
        ("x-internal", "1"),
        ("proxy-authenticate", "Basic"),
    ]);
    strip_answer(&mut answer);
    assert_eq!(answer, headers(&[("content-length", "5"), ("sec-websocket-accept", "x")]));
    assert!(!answer.contains_key(HOST) && !answer.contains_key(COOKIE));
    assert!(answer.contains_key(CONTENT_LENGTH));
}
