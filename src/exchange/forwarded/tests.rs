//! Who the client is: never what an untrusted client says of itself, always what Bowline saw.

use std::path::Path;

use http::header::{CONNECTION, HOST};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::head::Head;
use super::super::hygiene::ConnectionOptions;
use super::*;
use crate::config::Forwarded;
use crate::plan::Plan;

fn trusted(networks: &str) -> Networks {
    let yaml = format!("trusted_proxies: [ {networks} ]\n");
    let (config, mut mistakes) = config::parse("test", &yaml, &|_| None);
    Plan::build(&config, Path::new(""), &mut mistakes).trusted
}

/// What clients reached.
const REACHED: &str = "198.51.100.1:443";

fn peer(ip: &str) -> Sender {
    Sender::new(SocketAddr::new(ip.parse().unwrap(), 4711), REACHED.parse().ok(), false, false)
}

/// Applies a sender, and puts what it adds beside what was said.
fn applied(
    sender: &Sender,
    headers: &mut HeaderMap,
    authority: &str,
    kind: Forwarded,
    trusted: &Networks,
) {
    let mut fields = OutboundFields::new(std::mem::take(headers));
    sender.apply(&mut fields, authority, kind, trusted);
    merge(&fields, headers);
}

fn passed(headers: &mut HeaderMap, received: Version, via: &str) {
    let mut fields = OutboundFields::new(std::mem::take(headers));
    let (config, mut mistakes) = config::parse("test", &format!("via: {via}\n"), &|_| None);
    pass_via(&mut fields, received, &Plan::build(&config, Path::new(""), &mut mistakes));
    merge(&fields, headers);
}

fn merge(fields: &OutboundFields, headers: &mut HeaderMap) {
    for (name, value) in fields.iter() {
        headers.append(name, value.clone());
    }
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(&latin1(value)).unwrap(),
        );
    }
    headers
}

/// Header bytes over 0x7f are one byte each on the wire.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

#[test]
fn the_upstream_learns_address_scheme_and_host() {
    let mut set = HeaderMap::new();
    applied(&peer("192.0.2.1"), &mut set, "chat.example:8080", Forwarded::Both, &trusted(""));
    assert_eq!(
        set,
        headers(&[
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "chat.example:8080"),
            ("forwarded", "for=192.0.2.1;proto=http;host=\"chat.example:8080\""),
        ])
    );
    let secure = Sender::new("[2001:db8::1]:9".parse().unwrap(), REACHED.parse().ok(), true, false);
    let mut set = HeaderMap::new();
    applied(&secure, &mut set, "", Forwarded::Both, &trusted(""));
    assert_eq!(all(&set, "x-forwarded-for"), ["2001:db8::1"]);
    assert_eq!(all(&set, "x-forwarded-proto"), ["https"]);
    assert_eq!(all(&set, "forwarded"), ["for=\"[2001:db8::1]\";proto=https"]);
}

#[test]
fn an_ipv4_client_of_an_ipv6_socket_is_told_as_ipv4() {
    let mut set = HeaderMap::new();
    applied(&peer("::ffff:192.0.2.1"), &mut set, "", Forwarded::XForwarded, &trusted(""));
    assert_eq!(all(&set, "x-forwarded-for"), ["192.0.2.1"]);
}

#[test]
fn each_kind_sets_its_own_headers_and_no_other() {
    for (kind, x, rfc7239) in [
        (Forwarded::Both, true, true),
        (Forwarded::XForwarded, true, false),
        (Forwarded::Rfc7239, false, true),
        (Forwarded::None, false, false),
    ] {
        let mut set = headers(&[("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=6.6.6.6")]);
        applied(&peer("192.0.2.1"), &mut set, "a.example", kind, &trusted(""));
        assert_eq!(all(&set, "x-forwarded-for"), ["192.0.2.1"][..usize::from(x)], "{kind:?}");
        assert_eq!(set.contains_key("forwarded"), rfc7239, "{kind:?}");
        assert!(!format!("{set:?}").contains("6.6.6.6"), "{kind:?}");
    }
}

#[test]
fn every_spelling_of_a_claim_is_dropped_from_a_stranger_and_nothing_beside() {
    let claims = [
        "forwarded",
        "x-forwarded-for",
        "x_forwarded_for",
        "x.forwarded.for",
        "x-forwarded_for",
        "x-forwarded",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-client-cert",
        "x-real-ip",
        "x_real_ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-originating-ip",
        "x-original-forwarded-for",
        "x-original-url",
        "x-rewrite-url",
        "x-remote-user",
        "remote-user",
        "remote_user",
        "client-ip",
        "true-client-ip",
        "cf-connecting-ip",
    ];
    let others = [
        "forwarded-by",
        "from",
        "remote-users",
        "x-client",
        "x-forward-to",
        "x-real",
        "x-real-ipsum",
        "x-realm-ip",
        "x-request-id",
    ];
    let mut set = HeaderMap::new();
    for name in claims.iter().chain(&others) {
        set.insert(HeaderName::from_static(name), HeaderValue::from_static("6.6.6.6"));
    }
    applied(&peer("192.0.2.1"), &mut set, "", Forwarded::None, &trusted("10.0.0.0/8"));
    let mut left: Vec<&str> = set.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, others);
}

#[test]
fn a_trusted_proxys_list_is_continued_on_one_line() {
    let mut set = headers(&[
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-for", "10.0.0.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "outside.example"),
        ("forwarded", "for=192.0.2.7"),
    ]);
    applied(&peer("10.0.0.1"), &mut set, "inside", Forwarded::Both, &trusted("10.0.0.0/8"));
    assert_eq!(all(&set, "x-forwarded-for"), ["192.0.2.7, 10.0.0.9, 10.0.0.1"]);
    assert_eq!(all(&set, "x-forwarded-proto"), ["https"]);
    assert_eq!(all(&set, "x-forwarded-host"), ["outside.example"]);
    assert_eq!(all(&set, "forwarded"), ["for=192.0.2.7, for=10.0.0.1;proto=http;host=\"inside\""]);
}

#[test]
fn the_scheme_is_http_or_https_and_never_ws() {
    for (said, told) in [("ws", "http"), ("WSS", "https"), ("https", "https"), ("http", "http")] {
        let mut set = headers(&[("x-forwarded-proto", said)]);
        applied(&peer("10.0.0.1"), &mut set, "", Forwarded::XForwarded, &trusted("10.0.0.0/8"));
        assert_eq!(all(&set, "x-forwarded-proto"), [told], "{said}");
    }
}

#[test]
fn the_client_is_the_first_from_the_right_that_no_trusted_proxy_is() {
    let nets = trusted("10.0.0.0/8, '::1', 2001:db8::/32");
    for (from, lines, client) in [
        ("192.0.2.1", vec!["6.6.6.6"], "192.0.2.1"),
        ("10.0.0.1", vec![], "10.0.0.1"),
        ("10.0.0.1", vec!["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", vec!["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", vec!["6.6.6.6, 192.0.2.7 , 10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", vec!["6.6.6.6", "192.0.2.7", "10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", vec!["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", vec!["::ffff:192.0.2.7"], "192.0.2.7"),
        ("2001:db8::1", vec!["192.0.2.7, ::1"], "192.0.2.7"),
        // What is no address is nobody: the walk ends at the hop that said it.
        ("10.0.0.1", vec!["6.6.6.6, unknown"], "10.0.0.1"),
        ("10.0.0.1", vec!["6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2"),
        // Bytes that are not ASCII must not hide what a trusted proxy has appended to them, nor
        // let the walk go on to a line that the client has written.
        ("10.0.0.1", vec!["\u{ff}, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", vec!["6.6.6.6", "\u{ff}, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", vec!["6.6.6.6", "\u{ff}"], "10.0.0.1"),
    ] {
        let mut said = HeaderMap::new();
        for line in &lines {
            said.append(X_FORWARDED_FOR, HeaderValue::from_bytes(&latin1(line)).unwrap());
        }
        let expected: IpAddr = client.parse().unwrap();
        assert_eq!(peer(from).client(&said, &nets), expected, "{from} {lines:?}");
    }
}

#[test]
fn via_says_which_version_came_in_and_continues_the_list() {
    let mut set = HeaderMap::new();
    passed(&mut set, Version::HTTP_11, "bowline");
    assert_eq!(all(&set, "via"), ["1.1 bowline"]);
    let mut set = headers(&[("via", "1.1 a"), ("via", "1.0 b (caf\u{e9})")]);
    passed(&mut set, Version::HTTP_10, "edge");
    assert_eq!(set.get_all("via").iter().count(), 1);
    assert_eq!(set.get("via").unwrap().as_bytes(), latin1("1.1 a, 1.0 b (caf\u{e9}), 1.0 edge"));
}

const SET: [&str; 7] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-real-ip",
    "connection",
    "x-any",
    "te",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_bowline_sets_is_there_whatever_connection_names(
        named in subsequence(SET.to_vec(), 0..=SET.len()),
        forged in subsequence(SET.to_vec(), 0..=SET.len()),
        host in select(vec!["a.example", "a.example:8080", "[::1]:80", "x_y.example"]),
    ) {
        let mut request = HeaderMap::new();
        request.insert(HOST, HeaderValue::from_static(host));
        for name in forged.iter().filter(|name| **name != "connection") {
            request.append(HeaderName::from_static(name), HeaderValue::from_static("forged"));
        }
        request.append(CONNECTION, HeaderValue::from_str(&named.join(" ,")).unwrap());

        // The order of an exchange: what was of the hop goes, then Bowline says its own.
        let options = ConnectionOptions::read(&request).unwrap();
        options.strip(&mut request);
        applied(&peer("192.0.2.1"), &mut request, host, Forwarded::Both, &trusted(""));
        passed(&mut request, Version::HTTP_11, "bowline");
        let head = Head {
            authority: host.to_owned(),
            host: String::new(),
            expects_continue: false,
        };
        head.put_host(&mut request);

        prop_assert_eq!(all(&request, "host"), [host]);
        prop_assert_eq!(all(&request, "via"), ["1.1 bowline"]);
        prop_assert_eq!(all(&request, "x-forwarded-for"), ["192.0.2.1"]);
        prop_assert_eq!(all(&request, "x-forwarded-proto"), ["http"]);
        prop_assert_eq!(all(&request, "x-forwarded-host"), [host]);
        prop_assert_eq!(
            all(&request, "forwarded"),
            [format!("for=192.0.2.1;proto=http;host=\"{host}\"")]
        );
        let x_any = forged.contains(&"x-any") && !named.contains(&"x-any");
        prop_assert_eq!(request.contains_key("x-any"), x_any);
        prop_assert!(!request.contains_key(CONNECTION) && !request.contains_key("te"));
        prop_assert!(!request.contains_key("x-real-ip"));
    }
}

#[test]
fn an_address_is_written_as_the_standard_library_does() {
    let four = (0..=255).map(|octet| IpAddr::from([octet, 255 - octet, octet / 10, octet % 100]));
    let six = ["::1", "2001:db8::a:b"].into_iter().filter_map(|text| text.parse().ok());
    for ip in four.chain(six) {
        assert_eq!(value(ip), ip.to_string());
    }
}

#[test]
fn the_ends_of_a_connection_are_the_clients_own_as_far_as_it_is_known() {
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.9, 10.0.0.2"));
    let networks = trusted("10.0.0.0/8");
    let source = |peer_ip: &str, headers: &HeaderMap| {
        let Ends { source, destination } = peer(peer_ip).ends(headers, &networks);
        assert_eq!(destination.to_string(), REACHED);
        source.to_string()
    };
    assert_eq!(source("203.0.113.7", &headers), "203.0.113.7:4711", "nobody's word counts");
    assert_eq!(source("::ffff:203.0.113.7", &headers), "203.0.113.7:4711");
    assert_eq!(source("10.0.0.1", &headers), "203.0.113.9:0");
    assert_eq!(source("10.0.0.1", &HeaderMap::new()), "10.0.0.1:0");
}
