//! The policy as a browser will read it, field by field.

use std::path::Path;

use super::*;
use crate::plan::Plan;

fn planned(keys: &str) -> (Plan, String) {
    let yaml = format!(
        "listeners: [ {{ address: '127.0.0.1:1' }} ]\nroutes: [ {{ upstream: a, cors: {{ {keys} }} }} ]\n\
         upstreams: {{ a: {{ builtin: echo }} }}\n"
    );
    let (config, mut mistakes) = crate::config::parse("test", &yaml, &|_| None);
    let plan = Plan::build(&config, Path::new(""), &mut mistakes);
    (plan, mistakes.to_string())
}

fn policy(keys: &str) -> Cors {
    let (plan, mistakes) = planned(keys);
    assert_eq!(mistakes, "", "{keys}");
    plan.routes.all()[0].cors.clone().expect("a policy")
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// Fields as sorted `name: value` lines.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

fn shared(
    keys: &str,
    request: &[(&'static str, &str)],
    answer: &[(&'static str, &str)],
) -> Vec<String> {
    let policy = policy(keys);
    let mut answer = headers(answer);
    Share::new(&policy, &headers(request)).put(&mut answer);
    lines(&answer)
}

const LISTED: &str = "origins: [ https://app.example, 'https://*.apps.example', 'null' ]";

#[test]
fn a_listed_page_may_read_and_another_may_not() {
    for origin in ["https://app.example", "https://one.apps.example", "null"] {
        assert_eq!(
            shared(LISTED, &[("origin", origin)], &[]),
            [format!("access-control-allow-origin: {origin}").as_str(), "vary: origin"]
        );
    }
    for request in [
        &[][..],
        &[("origin", "http://app.example")],
        &[("origin", "https://app.example/")],
        &[("origin", "https://app.example:8443")],
        &[("origin", "https://apps.example")],
        &[("origin", "https://app.example.evil")],
        &[("origin", "*")],
        &[("origin", "")],
        &[("origin", "https://app.example"), ("origin", "https://app.example")],
    ] {
        assert_eq!(shared(LISTED, request, &[]), ["vary: origin"], "{request:?}");
    }
}

#[test]
fn credentials_are_said_only_to_pages_that_may() {
    let keys = &format!("{LISTED}, credentials: true, expose: [ X-One, X-Two ]");
    assert_eq!(
        shared(keys, &[("origin", "https://app.example")], &[]),
        [
            "access-control-allow-credentials: true",
            "access-control-allow-origin: https://app.example",
            "access-control-expose-headers: X-One, X-Two",
            "vary: origin",
        ]
    );
    assert_eq!(shared(keys, &[("origin", "https://evil.example")], &[]), ["vary: origin"]);
}

#[test]
fn a_policy_that_is_the_same_for_everybody_does_not_vary() {
    let keys = "origins: any, expose: any";
    for request in [&[][..], &[("origin", "https://evil.example")]] {
        assert_eq!(
            shared(keys, request, &[]),
            ["access-control-allow-origin: *", "access-control-expose-headers: *"]
        );
    }
}

#[test]
fn the_upstreams_own_policy_is_replaced_and_its_vary_kept() {
    let theirs = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-origin", "https://evil.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "x-secret"),
        ("access-control-allow-private-network", "true"),
        ("x-other", "1"),
        ("vary", "Accept-Encoding"),
        ("vary", "Cookie"),
    ];
    let merged = "vary: Accept-Encoding, Cookie, origin";
    assert_eq!(
        shared(LISTED, &[("origin", "https://app.example")], &theirs),
        ["access-control-allow-origin: https://app.example", merged, "x-other: 1"]
    );
    assert_eq!(
        shared(LISTED, &[("origin", "https://evil.example")], &theirs),
        [merged, "x-other: 1"]
    );
    for there in ["*", "Origin", "accept, ORIGIN"] {
        assert_eq!(shared(LISTED, &[], &[("vary", there)]), [format!("vary: {there}")]);
    }
}

const PREFLIGHT: [(&str, &str); 3] = [
    ("origin", "https://app.example"),
    ("access-control-request-method", "PUT"),
    ("access-control-request-headers", "authorization,x-one"),
];

fn preflight(keys: &str, method: &Method, request: &[(&'static str, &str)]) -> Option<Vec<String>> {
    let (policy, request) = (policy(keys), headers(request));
    let answer = Share::new(&policy, &request).preflight(method, &request)?;
    Some(answer.map_or_else(|refused| vec![refused.as_str().to_owned()], |answer| lines(&answer)))
}

#[test]
fn a_preflight_is_told_the_policy() {
    let vary = "vary: origin, access-control-request-method, access-control-request-headers";
    let told = |keys: &str| preflight(keys, &Method::OPTIONS, &PREFLIGHT).expect("a preflight");
    assert_eq!(
        told(LISTED),
        [
            "access-control-allow-methods: GET, HEAD, POST",
            "access-control-allow-origin: https://app.example",
            vary
        ]
    );
    let all = format!(
        "{LISTED}, methods: [ GET, PUT ], headers: [ Authorization, X-One ], credentials: true, \
         max_age: 10m, expose: X-Two"
    );
    assert_eq!(
        told(&all),
        [
            "access-control-allow-credentials: true",
            "access-control-allow-headers: Authorization, X-One",
            "access-control-allow-methods: GET, PUT",
            "access-control-allow-origin: https://app.example",
            "access-control-max-age: 600",
            vary
        ]
    );
    assert_eq!(
        told("origins: any, methods: any, headers: any"),
        [
            "access-control-allow-headers: authorization, x-one",
            "access-control-allow-methods: PUT",
            "access-control-allow-origin: *",
            vary
        ]
    );
}

#[test]
fn what_is_no_preflight_goes_on_and_one_of_another_page_is_refused() {
    let refused = Some(vec![Refused.as_str().to_owned()]);
    let mut foreign = PREFLIGHT;
    foreign[0].1 = "https://evil.example";
    assert_eq!(preflight(LISTED, &Method::OPTIONS, &foreign), refused);
    foreign[0].1 = "";
    assert_eq!(preflight(LISTED, &Method::OPTIONS, &foreign), refused);
    for (method, request) in [
        (Method::OPTIONS, &PREFLIGHT[..1]),
        (Method::OPTIONS, &PREFLIGHT[1..]),
        (Method::OPTIONS, &[]),
        (Method::GET, &PREFLIGHT),
    ] {
        assert_eq!(preflight(LISTED, &method, request), None, "{method} {request:?}");
    }
    // What is no name is not said back.
    let odd = [PREFLIGHT[0], ("access-control-request-method", "P UT"), PREFLIGHT[2]];
    let told = preflight("origins: any, methods: any", &Method::OPTIONS, &odd).unwrap();
    assert!(!told.iter().any(|line| line.contains("P UT")), "{told:?}");
    let odd = [PREFLIGHT[0], PREFLIGHT[1], ("access-control-request-headers", "a b")];
    let told = preflight("origins: any, headers: any", &Method::OPTIONS, &odd).unwrap();
    assert!(!told.iter().any(|line| line.contains("a b")), "{told:?}");
}

#[test]
fn a_policy_that_browsers_refuse_or_that_shares_too_much_is_a_mistake() {
    for (keys, told) in [
        ("methods: GET", "whose pages?"),
        ("origins: []", "no origin is listed"),
        ("origins: same", "`same` needs no CORS"),
        ("origins: '*'", "write `any`"),
        ("origins: any, credentials: true", "list the origins"),
        ("origins: https://a, credentials: true, expose: any", "list the headers"),
        ("origins: https://a, methods: put", "a method in capitals"),
        ("origins: https://a, methods: [ any, PUT ]", "keep it alone"),
        ("origins: https://a, headers: 'x y'", "is not a header"),
        ("origins: https://a, headers: '*'", "write `any`"),
    ] {
        let (_, mistakes) = planned(keys);
        assert!(mistakes.contains(told), "{keys}: {mistakes}");
    }
}
