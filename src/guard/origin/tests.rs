//! Who gets through the wall, case by case and against another reading of it.

use http::HeaderValue;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn site(text: &str) -> Site {
    match Origin::parse(text) {
        Some(Origin::Site(site)) => site,
        other => panic!("{text}: {other:?}"),
    }
}

fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(ORIGIN, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    headers
}

fn same() -> Origins {
    Origins::Listed(vec![OriginRule::Same])
}

fn verdict(
    lines: &[&str],
    origins: &Origins,
    scheme: Option<Scheme>,
    authority: &str,
) -> Result<(), Refused> {
    judge(&headers(lines), origins, || Asked { scheme, authority: authority.to_owned() })
}

#[test]
fn a_page_of_the_same_scheme_host_and_port_passes_and_no_other() {
    let (http, https) = (Some(Scheme::Http), Some(Scheme::Https));
    for (scheme, authority, origin, passes) in [
        (https, "chat.example.com", "https://chat.example.com", true),
        (https, "chat.example.com:443", "https://chat.example.com", true),
        (https, "chat.example.com", "https://chat.example.com:443", true),
        (https, "CHAT.example.com.", "https://chat.example.com", true),
        (https, "chat.example.com", "https://chat.example.com.", true),
        (https, "chat.example.com", "http://chat.example.com", false),
        (https, "chat.example.com", "https://chat.example.com:8443", false),
        (https, "chat.example.com:8443", "https://chat.example.com:8443", true),
        (https, "chat.example.com:8443", "https://chat.example.com", false),
        (https, "chat.example.com", "https://example.com", false),
        (https, "chat.example.com", "https://chat.example.com.evil.com", false),
        (https, "chat.example.com", "https://evilchat.example.com", false),
        (https, "chat.example.com", "https://a.chat.example.com", false),
        (http, "127.0.0.1:8080", "http://127.0.0.1:8080", true),
        (http, "127.0.0.1:8080", "http://localhost:8080", false),
        (http, "127.0.0.1:8080", "https://127.0.0.1:8080", false),
        (http, "localhost", "http://localhost:80", true),
        (http, "localhost", "http://localhost:443", false),
        (http, "[::1]:8080", "http://[::1]:8080", true),
        (http, "[0:0::1]:8080", "http://[::1]:8080", true),
        (http, "a", "capacitor://a", false),
        (http, "", "http://a", false),
        // Nobody knows: either scheme, yet the port that goes with it.
        (None, "chat.example.com", "https://chat.example.com", true),
        (None, "chat.example.com", "http://chat.example.com", true),
        (None, "chat.example.com:8080", "https://chat.example.com", false),
        (None, "chat.example.com:443", "http://chat.example.com", false),
        (None, "chat.example.com", "capacitor://chat.example.com", false),
        (None, "chat.example.com", "https://evil.example", false),
    ] {
        let expected = if passes { Ok(()) } else { Err(Refused::Foreign) };
        assert_eq!(
            verdict(&[origin], &same(), scheme, authority),
            expected,
            "{scheme:?} {authority} {origin}"
        );
    }
}

#[test]
fn what_is_not_one_origin_is_refused_and_a_client_without_one_passes() {
    for (lines, expected) in [
        (&[][..], Ok(())),
        (&["http://a"], Ok(())),
        (&["http://a", "http://a"], Err(Refused::Twice)),
        (&["http://a", "http://b"], Err(Refused::Twice)),
        (&[""], Err(Refused::Malformed)),
        (&["http://a/"], Err(Refused::Malformed)),
        (&["http://a http://b"], Err(Refused::Malformed)),
        (&["a"], Err(Refused::Malformed)),
        (&["http://\u{e9}"], Err(Refused::Malformed)),
        (&["null"], Err(Refused::Null)),
        (&["file://"], Err(Refused::Null)),
    ] {
        assert_eq!(verdict(lines, &same(), Some(Scheme::Http), "a"), expected, "{lines:?}");
        assert_eq!(verdict(lines, &Origins::Any, Some(Scheme::Http), "a"), Ok(()), "{lines:?}");
    }
}

#[test]
fn a_list_takes_what_it_names_and_nothing_else() {
    let rules = Origins::Listed(vec![
        OriginRule::Exact(site("https://chat.example.com")),
        OriginRule::Below(site("https://apps.example.com:8443")),
        OriginRule::Exact(site("capacitor://localhost")),
    ]);
    for (origin, passes) in [
        ("https://chat.example.com", true),
        ("https://chat.example.com:443", true),
        ("http://chat.example.com", false),
        ("https://chat.example.com:444", false),
        ("https://x.chat.example.com", false),
        ("https://one.apps.example.com:8443", true),
        ("https://one.apps.example.com", false),
        ("http://one.apps.example.com:8443", false),
        ("https://apps.example.com:8443", false),
        ("https://.apps.example.com:8443", false),
        ("https://a.b.apps.example.com:8443", false),
        ("https://oneapps.example.com:8443", false),
        ("https://one.apps.example.com.evil.com:8443", false),
        ("capacitor://localhost", true),
        // The request's own origin is in the list or it is not.
        ("https://host", false),
    ] {
        let expected = if passes { Ok(()) } else { Err(Refused::Foreign) };
        assert_eq!(verdict(&[origin], &rules, Some(Scheme::Https), "host"), expected, "{origin}");
    }
    assert_eq!(verdict(&["null"], &rules, Some(Scheme::Https), "host"), Err(Refused::Null));
    let null = Origins::Listed(vec![OriginRule::Null]);
    assert_eq!(verdict(&["null"], &null, None, "host"), Ok(()));
    assert_eq!(verdict(&["file://"], &null, None, "host"), Ok(()));
    assert_eq!(verdict(&["http://host"], &null, None, "host"), Err(Refused::Foreign));
}

/// The same wall by another builder: both sides written out as browsers write origins, and compared
/// as texts.
fn by_text(origin: &str, scheme: Option<Scheme>, authority: &str) -> bool {
    let written = |scheme: &str| {
        let standard = if scheme == "https" { ":443" } else { ":80" };
        let host = authority.to_ascii_lowercase();
        format!("{scheme}://{}", host.strip_suffix(standard).unwrap_or(&host))
    };
    match scheme {
        Some(scheme) => origin == written(scheme.as_str()),
        None => origin == written("http") || origin == written("https"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn same_origin_is_what_texts_say_too(
        scheme in select(vec![None, Some(Scheme::Http), Some(Scheme::Https)]),
        page in select(vec!["http", "https"]),
        page_host in select(vec!["a.example", "b.example", "a", "[::1]", "127.0.0.1"]),
        page_port in select(vec!["", ":81", ":8443", ":443", ":80"]),
        host in select(vec!["a.example", "A.Example", "b.example", "a", "[::1]", "127.0.0.1"]),
        port in select(vec!["", ":80", ":443", ":81", ":8443"]),
    ) {
        // Browsers leave the standard port out.
        let standard = if page == "https" { ":443" } else { ":80" };
        prop_assume!(page_port != standard);
        let origin = format!("{page}://{page_host}{page_port}");
        let authority = format!("{host}{port}");
        let ours = verdict(&[&origin], &same(), scheme, &authority).is_ok();
        prop_assert_eq!(ours, by_text(&origin, scheme, &authority), "{} {}", origin, authority);
    }

    #[test]
    fn any_field_is_judged_and_never_a_panic(
        bytes in proptest::collection::vec(0x20_u8..=0xff, 0..40),
        authority in ".{0,20}",
    ) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            headers.insert(ORIGIN, value);
        }
        let asked = || Asked { scheme: None, authority: authority.clone() };
        let verdict = judge(&headers, &same(), asked);
        prop_assert!(headers.contains_key(ORIGIN) || verdict.is_ok());
    }
}
