//! How far proxies are believed, and what of a list is theirs.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::config;
use crate::plan::Plan;

fn trusted() -> Networks {
    let yaml = "trusted_proxies: [ 10.0.0.0/8, '::1' ]\n";
    let (config, mut mistakes) = config::parse("test", yaml, &|_| None);
    Plan::build(&config, std::path::Path::new(""), &mut mistakes).trusted
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

fn walk(from: &str, headers: &HeaderMap) -> Walk {
    Walk::new(from.parse().unwrap(), headers, &trusted())
}

#[test]
fn forwarded_is_walked_as_the_older_field_is() {
    for (from, lines, client) in [
        ("192.0.2.1", vec!["for=6.6.6.6"], "192.0.2.1"),
        ("10.0.0.1", vec![], "10.0.0.1"),
        ("10.0.0.1", vec!["for=192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", vec!["For=192.0.2.7;proto=https"], "192.0.2.7"),
        ("10.0.0.1", vec!["proto=https; FOR=\"192.0.2.7:4711\""], "192.0.2.7"),
        ("10.0.0.1", vec!["for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
        ("10.0.0.1", vec!["for=\"[2001:db8::1]\""], "2001:db8::1"),
        ("10.0.0.1", vec!["for=\"192.0.2.7:_port\""], "192.0.2.7"),
        ("10.0.0.1", vec!["for=6.6.6.6, for=192.0.2.7 , for=10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", vec!["for=6.6.6.6", "for=192.0.2.7", "for=10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", vec!["for=10.0.0.3"], "10.0.0.3"),
        ("10.0.0.1", vec!["for=\"\\1\\92.0.2.7\""], "192.0.2.7"),
        // Who is hidden is nobody: the walk ends at the proxy that said so.
        ("10.0.0.1", vec!["for=6.6.6.6, for=unknown"], "10.0.0.1"),
        ("10.0.0.1", vec!["for=6.6.6.6, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", vec!["for=6.6.6.6, proto=https"], "10.0.0.1"),
        ("10.0.0.1", vec!["for=6.6.6.6, for=1.1.1.1;for=2.2.2.2"], "10.0.0.1"),
        // A client's own words must not swallow the proxy's.
        ("10.0.0.1", vec!["for=\"6.6.6.6, for=192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", vec!["host=\"\\\", for=192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", vec!["for=6.6.6.6, for=192.0.2.7;host=\"a, for=10.0.0.9\""], "192.0.2.7"),
        ("10.0.0.1", vec!["for=192.0.2.7;host=\"\\\", for=10.0.0.9\""], "192.0.2.7"),
    ] {
        let mut said = HeaderMap::new();
        for line in &lines {
            said.append(FORWARDED, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let expected: IpAddr = client.parse().unwrap();
        assert_eq!(walk(from, &said).client, expected, "{from} {lines:?}");
    }
}

#[test]
fn an_address_may_have_a_port() {
    for (said, expected) in [
        ("192.0.2.7:4711", Some("192.0.2.7")),
        ("[2001:db8::7]:4711", Some("2001:db8::7")),
        ("[2001:db8::7]", Some("2001:db8::7")),
        ("2001:db8::7", Some("2001:db8::7")),
        ("[192.0.2.7]", None),
        ("unknown", None),
        ("", None),
    ] {
        let expected = expected.map(|address| address.parse::<IpAddr>().unwrap());
        assert_eq!(address(said.as_bytes()).map(|(ip, _)| ip), expected, "{said}");
    }
}

#[test]
fn forwarded_counts_only_where_no_older_field_is() {
    let both = headers(&[("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=6.6.6.6")]);
    assert_eq!(walk("10.0.0.1", &both).client, "192.0.2.7".parse::<IpAddr>().unwrap());
    let said = headers(&[("x-forwarded-proto", "http"), ("forwarded", "for=6.6.6.6;proto=https")]);
    let walk = walk("10.0.0.1", &said);
    assert_eq!(walk.client, "10.0.0.1".parse::<IpAddr>().unwrap());
    assert_eq!(walk.asked(&said, "a").scheme, Some(Scheme::Http));
}

#[test]
fn scheme_and_host_are_those_of_the_proxy_next_to_the_client() {
    let (http, https) = (Some(Scheme::Http), Some(Scheme::Https));
    for (lines, scheme, authority) in [
        (vec![], None, "host"),
        (vec![("x-forwarded-proto", "https")], https, "host"),
        (vec![("x-forwarded-proto", "WSS")], https, "host"),
        (vec![("x-forwarded-proto", "ws")], http, "host"),
        (vec![("x-forwarded-proto", "gopher")], None, "host"),
        (vec![("x-forwarded-host", "shop.example:8443")], None, "shop.example:8443"),
        (vec![("x-forwarded-host", "")], None, "host"),
        // One trusted proxy: only the last element is its own.
        (vec![("x-forwarded-proto", "http, https")], https, "host"),
        (vec![("x-forwarded-host", "evil.example, shop.example")], None, "shop.example"),
        // Two of them: the one next to the client, and not what stands before.
        (
            vec![
                ("x-forwarded-for", "192.0.2.7, 10.0.0.2"),
                ("x-forwarded-proto", "gopher, https, http"),
                ("x-forwarded-host", "evil.example, shop.example, inner"),
            ],
            https,
            "shop.example",
        ),
        // Two of them, of which the inner one replaces or keeps.
        (
            vec![("x-forwarded-for", "192.0.2.7, 10.0.0.2"), ("x-forwarded-proto", "https")],
            https,
            "host",
        ),
        (vec![("forwarded", "for=192.0.2.7;proto=https;host=\"a:8443\"")], https, "a:8443"),
        (vec![("forwarded", "proto=http;host=b, for=192.0.2.7;proto=https")], https, "host"),
        (
            vec![("forwarded", "for=192.0.2.7;proto=https;host=a, for=10.0.0.2;proto=http;host=b")],
            https,
            "a",
        ),
    ] {
        let said = headers(&lines);
        let asked = walk("10.0.0.1", &said).asked(&said, "host");
        let expected = Asked { scheme, authority: authority.to_owned() };
        assert_eq!(asked, expected, "{lines:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Whatever a client wrote, what the proxy appended stands.
    #[test]
    fn nothing_that_stands_left_changes_what_a_proxy_appended(
        forged in "[ -~]{0,40}",
        address in prop::array::uniform4(any::<u8>()),
        quoted in any::<bool>(),
    ) {
        let client = IpAddr::from(address);
        prop_assume!(!trusted().contains(client));
        let own = if quoted { format!("host=\"a,b\";for=\"{client}\"") } else { format!("for={client}") };
        let mut said = HeaderMap::new();
        said.insert(FORWARDED, HeaderValue::from_str(&format!("{forged}, {own}")).unwrap());
        prop_assert_eq!(walk("10.0.0.1", &said).client, client);
        let mut said = HeaderMap::new();
        said.insert(X_FORWARDED_FOR, HeaderValue::from_str(&format!("{forged}, {client}")).unwrap());
        prop_assert_eq!(walk("10.0.0.1", &said).client, client);
    }
}

#[test]
fn a_port_is_known_where_a_proxy_says_it() {
    for (said, port) in [
        ("203.0.113.9", 0),
        ("203.0.113.9:4711", 4711),
        ("203.0.113.9:_hidden", 0),
        ("203.0.113.9:65536", 0),
        ("2001:db8::9", 0),
        ("[2001:db8::9]", 0),
        ("[2001:db8::9]:4711", 4711),
    ] {
        assert_eq!(address(said.as_bytes()).map(|(_, port)| port), Some(port), "{said}");
    }
}
