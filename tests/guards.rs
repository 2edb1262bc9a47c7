//! Who may pass, over real sockets: what a client sees when it may not, and that no upstream is
//! dialled then.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use support::{Answer, Bowline, SWITCHING, Upstream, handshake, header, wait_for};

/// One listener, one route `r` with `guards` (route keys) to `upstream`; `extra` is further
/// top-level YAML.
fn proxy(upstream: &Upstream, guards: &str, extra: &str) -> Bowline {
    Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
         routes: [ {{ name: r, upstream: up{guards} }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n{extra}\n",
        upstream.address
    ))
}

/// Asserts that a handshake with these fields becomes a tunnel.
fn opens(bowline: &Bowline, upstream: &Upstream, fields: &str) {
    let mut client = bowline.client();
    client.send(handshake("/ws", fields));
    let mut server = upstream.accept();
    server.head();
    server.send(SWITCHING);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{fields}: {head}");
}

/// The answer to a handshake that Bowline refuses by itself.
fn refused(bowline: &Bowline, upstream: &Upstream, fields: &str) -> Answer {
    let mut client = bowline.client();
    client.send(handshake("/ws", fields));
    let answer = client.answer();
    assert_eq!(answer.status, 403, "{fields}: {}", answer.head);
    assert_eq!(answer.header("connection"), Some("close"), "{fields}: {}", answer.head);
    assert!(client.is_closed(), "{fields}");
    assert!(upstream.is_untouched(), "{fields}: the upstream was dialled");
    answer
}

// --- Origin --------------------------------------------------------------------------------------

#[test]
fn with_no_configuration_only_pages_of_the_same_origin_open_websockets() {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, "", "");
    // The Host of these handshakes is test.example, over plain TCP.
    for fields in [
        "",
        "Cookie: session=1\r\n",
        "Origin: http://test.example\r\n",
        "Origin: http://test.example:80\r\n",
        "Origin: http://TEST.example.\r\n",
        "Sec-Fetch-Site: same-origin\r\nOrigin: http://test.example\r\n",
    ] {
        opens(&bowline, &upstream, fields);
    }
    let foreign = "pages of this origin may not open WebSockets here";
    let null = "a page without an origin of its own (null) may not open WebSockets here";
    let malformed = "the Origin is not one origin";
    for (fields, reason) in [
        ("Origin: https://evil.example\r\nCookie: session=1\r\n", foreign),
        ("Origin: https://test.example\r\n", foreign),
        ("Origin: http://test.example:8080\r\n", foreign),
        ("Origin: http://test.example.evil.com\r\n", foreign),
        ("Origin: http://a.test.example\r\n", foreign),
        ("Origin: null\r\n", null),
        ("Origin: file://\r\n", null),
        ("Origin: \r\n", malformed),
        ("Origin: http://test.example/\r\n", malformed),
        ("Origin: http://test.example http://test.example\r\n", malformed),
        ("Origin: test.example\r\n", malformed),
        ("Origin: http://test.example\r\nOrigin: http://test.example\r\n", "more than one Origin"),
        // Nobody trusts this client to say how it came.
        ("Origin: https://test.example\r\nX-Forwarded-Proto: https\r\n", foreign),
        ("Origin: http://evil.example\r\nX-Forwarded-Host: evil.example\r\n", foreign),
    ] {
        let answer = refused(&bowline, &upstream, fields);
        assert!(answer.text().contains(reason), "{fields}: {}", answer.text());
        assert_eq!(
            answer.header("proxy-status"),
            Some(format!("bowline; error=http_request_denied; details=\"{reason}\"").as_str())
        );
    }
    bowline.wait_metric("bowline_failures_total{route=\"r\",cause=\"origin_refused\"}", 14.0);
    bowline.wait_metric("bowline_upgrades_total{route=\"r\",outcome=\"refused\"}", 14.0);
    assert_eq!(bowline.metric("bowline_origin_reports_total{route=\"r\"}"), 0.0);
}

#[test]
fn a_plain_request_of_another_origin_is_not_the_walls_business() {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, "", "");
    let mut client = bowline.client();
    client.send("GET / HTTP/1.1\r\nHost: test.example\r\nOrigin: https://evil.example\r\n\r\n");
    let mut server = upstream.accept();
    assert_eq!(header(&server.head(), "origin"), Some("https://evil.example"));
    server.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.answer().status, 204);
}

#[test]
fn a_request_sent_ahead_behind_a_refused_handshake_is_not_served() {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, "", "");
    let mut client = bowline.client();
    let ahead = "GET /admin HTTP/1.1\r\nHost: test.example\r\n\r\n";
    client.send(format!("{}{ahead}", handshake("/ws", "Origin: http://evil.example\r\n")));
    assert_eq!(client.answer().status, 403);
    assert!(client.is_closed());
    assert!(upstream.is_untouched());
}

#[test]
fn a_list_of_origins_is_the_whole_list() {
    let upstream = Upstream::new();
    let list = ", origins: [ \"https://chat.example.com\", \"https://*.apps.example.com\" ]";
    let bowline = proxy(&upstream, list, "");
    opens(&bowline, &upstream, "");
    opens(&bowline, &upstream, "Origin: https://chat.example.com\r\n");
    opens(&bowline, &upstream, "Origin: https://one.apps.example.com\r\n");
    for origin in ["https://apps.example.com", "https://a.b.apps.example.com", "null"] {
        refused(&bowline, &upstream, &format!("Origin: {origin}\r\n"));
    }
    // Not in the list, though it is the request's own.
    refused(&bowline, &upstream, "Origin: http://test.example\r\n");
    let with_same = ", origins: [ same, \"null\", \"capacitor://localhost\" ]";
    let bowline = proxy(&upstream, with_same, "");
    for origin in ["http://test.example", "null", "file://", "capacitor://localhost"] {
        opens(&bowline, &upstream, &format!("Origin: {origin}\r\n"));
    }
    refused(&bowline, &upstream, "Origin: https://chat.example.com\r\n");
}

#[test]
fn any_is_no_wall_at_all() {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, ", origins: any", "");
    for fields in
        ["Origin: https://evil.example\r\n", "Origin: null\r\n", "Origin: ?\r\nOrigin: !\r\n"]
    {
        opens(&bowline, &upstream, fields);
    }
}

#[test]
fn report_lets_through_and_counts() {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, ", origin_mode: report", "");
    opens(&bowline, &upstream, "Origin: http://test.example\r\n");
    assert_eq!(bowline.metric("bowline_origin_reports_total{route=\"r\"}"), 0.0);
    opens(&bowline, &upstream, "Origin: https://evil.example\r\n");
    opens(&bowline, &upstream, "Origin: null\r\n");
    bowline.wait_metric("bowline_origin_reports_total{route=\"r\"}", 2.0);
    assert_eq!(bowline.metric("bowline_failures_total{route=\"r\",cause=\"origin_refused\"}"), 0.0);
}

/// What was logged since, by this whole test program.
fn log() -> &'static Arc<Mutex<Vec<u8>>> {
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    LOG.get_or_init(|| {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&lines);
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || Lines(Arc::clone(&writer)))
            .init();
        lines
    })
}

#[test]
fn who_was_refused_and_why_is_told() {
    log();
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, ", deny: [ 10.9.9.9 ]", "trusted_proxies: [ 127.0.0.1 ]");
    refused(&bowline, &upstream, "Origin: https://told.example\r\nX-Forwarded-For: 192.0.2.7\r\n");
    refused(&bowline, &upstream, "Origin: caf\u{e9}\tx\r\n");
    refused(&bowline, &upstream, "X-Forwarded-For: 10.9.9.9\r\n");
    for parts in [
        &[
            "a WebSocket of another origin was refused",
            "client=192.0.2.7",
            "host=\"test.example\"",
            "route=\"r\"",
            "origin=https://told.example",
            "reason=\"pages of this origin",
        ][..],
        // Whatever a client says, it is one line of plain letters.
        &["origin=caf\\xc3\\xa9\\tx", "reason=\"the Origin is not one origin\""],
        &["a client was refused by its address", "client=10.9.9.9", "this address is denied"],
    ] {
        wait_for(&format!("a line with {parts:?}"), || {
            let text = String::from_utf8(log().lock().unwrap().clone()).unwrap();
            text.lines().any(|line| parts.iter().all(|part| line.contains(part)))
        });
    }
}

#[test]
fn behind_a_trusted_proxy_the_origin_is_compared_with_what_the_client_asked() {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, "", "trusted_proxies: [ 127.0.0.0/8 ]");
    for fields in [
        "Origin: https://test.example\r\nX-Forwarded-Proto: https\r\n",
        "Origin: https://shop.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n",
        "Origin: https://shop.example:8443\r\n\
         Forwarded: for=192.0.2.7;proto=https;host=\"shop.example:8443\"\r\n",
        // The proxy has not said the scheme: either one.
        "Origin: https://test.example\r\n",
        "Origin: http://test.example\r\n",
        "Origin: https://shop.example\r\nX-Forwarded-Host: evil.example, shop.example\r\n",
    ] {
        opens(&bowline, &upstream, fields);
    }
    for fields in [
        "Origin: http://test.example\r\nX-Forwarded-Proto: https\r\n",
        "Origin: https://test.example\r\nX-Forwarded-Proto: http\r\n",
        "Origin: https://test.example\r\nX-Forwarded-Host: shop.example\r\n",
        "Origin: https://evil.example\r\nX-Forwarded-Host: evil.example, shop.example\r\n",
        "Origin: https://test.example:8443\r\n",
        "Origin: https://evil.example\r\n",
    ] {
        refused(&bowline, &upstream, fields);
    }
}

// --- Paths ---------------------------------------------------------------------------------------

#[test]
fn no_spelling_of_a_path_walks_around_what_guards_it() {
    let upstream = Upstream::new();
    let bowline = Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
         routes: [ {{ name: a, match: {{ path: /admin }}, upstream: up, deny: [ 0.0.0.0/0 ] }},\n  \
         {{ name: all, upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n",
        upstream.address
    ));
    let asks = |target: &str| {
        let mut client = bowline.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        client
    };
    for (target, status) in [
        ("/admin", 403),
        ("//admin", 403),
        ("/x/../admin", 403),
        ("/./admin/x?y", 403),
        ("/%61dmin", 403),
        ("/%2e/admin", 403),
        ("/x/%2e%2E/admin", 403),
        ("http://a/x/../admin", 403),
        // Servers differ in these, so nobody is to see them.
        ("/x/..%2fadmin", 400),
        ("/%2fadmin", 400),
        ("/x\\..\\admin", 400),
        ("/admin;a=b", 400),
        ("/x/..;/admin", 400),
        ("/x/..%2Fadmin/..;/x", 400),
        ("/x/..;/admin/..%2Fx", 400),
        ("/..%5c..%5cadmin", 400),
        ("/../admin", 400),
        ("/%zz", 400),
        ("/admin%00", 400),
    ] {
        assert_eq!(asks(target).answer().status, status, "{target}");
        assert!(upstream.is_untouched(), "{target}");
    }
    // What routes see is what the upstream gets; what is all the same to them stays as it is.
    for (target, seen) in [
        ("/x//y/./%7Ez/..?q=//a/../%61", "/x/y/?q=//a/../%61"),
        ("/scope%2fname;v=1", "/scope%2Fname;v=1"),
        ("/administration", "/administration"),
    ] {
        let _client = asks(target);
        let mut server = upstream.accept();
        assert!(server.head().starts_with(&format!("GET {seen} HTTP/1.1\r\n")), "{target}");
        server.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    }
}

// --- allow and deny ------------------------------------------------------------------------------

/// The status of a GET with these fields; the upstream answers 204 when it is asked.
fn status(bowline: &Bowline, upstream: &Upstream, fields: &str) -> u16 {
    let mut client = bowline.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: test.example\r\n{fields}\r\n"));
    let reason = client.until(" ");
    assert_eq!(reason, "HTTP/1.1 ", "an answer");
    client.until("\r\n")[..3].parse().inspect(|_| drop(upstream.try_accept())).unwrap()
}

#[test]
fn who_may_not_come_gets_403_by_listener_and_by_route() {
    let upstream = Upstream::new();
    let denied = "this address is denied";
    let others = "this address is not among those that are allowed";
    for (listener, route, reason) in [
        ("", ", deny: [ 127.0.0.0/8 ]", denied),
        ("", ", deny: [ 127.0.0.1 ], allow: [ 127.0.0.1 ]", denied),
        ("", ", allow: [ 10.0.0.0/8 ]", others),
        (", deny: [ 127.0.0.0/8 ]", "", denied),
        (", allow: [ 10.0.0.0/8 ]", "", others),
        (", allow: [ 127.0.0.1 ]", ", deny: [ 127.0.0.1 ]", denied),
        (", deny: [ 127.0.0.1 ]", ", allow: [ 127.0.0.1 ]", denied),
    ] {
        let bowline = Bowline::with(&format!(
            "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0{listener} }} ]\n\
             routes: [ {{ name: r, upstream: up{route} }} ]\n\
             upstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n",
            upstream.address
        ));
        let mut client = bowline.client();
        client.send("GET / HTTP/1.1\r\nHost: test.example\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n");
        let answer = client.answer();
        assert_eq!(answer.status, 403, "{listener} {route}");
        assert!(answer.text().contains(reason), "{listener} {route}: {}", answer.text());
        assert!(client.is_closed());
        refused(&bowline, &upstream, "");
        let series = "bowline_failures_total{route=\"r\",cause=\"address_refused\"}";
        bowline.wait_metric(series, 2.0);
        bowline.wait_metric("bowline_upgrades_total{route=\"r\",outcome=\"refused\"}", 1.0);
    }
}

#[test]
fn behind_trusted_proxies_lists_look_at_the_client_that_they_name() {
    let upstream = Upstream::serving(|mut wire| {
        wire.head();
        wire.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    });
    let trusting = "trusted_proxies: [ 127.0.0.1, 10.0.0.0/8 ]";
    let bowline = Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0, deny: [ 6.6.6.0/24 ] }} ]\n\
         routes: [ {{ name: r, upstream: up, allow: [ 192.0.2.0/24, 6.6.6.0/24 ] }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{upstream}\" ] }} }}\n{trusting}\n"
    ));
    let nobody = Upstream::new();
    for (fields, expected) in [
        ("X-Forwarded-For: 192.0.2.7\r\n", 204),
        ("X-Forwarded-For: 192.0.2.7:4711\r\n", 204),
        ("X-Forwarded-For: 192.0.2.7, 10.0.0.3\r\n", 204),
        ("X-Forwarded-For: 6.6.6.6\r\n", 403),
        // What the client itself wrote stands left.
        ("X-Forwarded-For: 192.0.2.7, 6.6.6.6\r\n", 403),
        ("X-Forwarded-For: 192.0.2.7, 203.0.113.9\r\n", 403),
        ("X-Forwarded-For: 192.0.2.7, unknown\r\n", 403),
        ("Forwarded: for=192.0.2.7\r\n", 204),
        ("Forwarded: for=192.0.2.7, for=\"[2001:db8::1]:1\"\r\n", 403),
        ("X-Forwarded-For: 6.6.6.6\r\nForwarded: for=192.0.2.7\r\n", 403),
        // The proxy itself is not allowed.
        ("", 403),
    ] {
        assert_eq!(status(&bowline, &nobody, fields), expected, "{fields}");
    }
}

// --- CORS ----------------------------------------------------------------------------------------

const CORS: &str = ", cors: { origins: [ \"https://app.example\" ], methods: [ GET, PUT ], headers: X-One, \
    expose: X-Two, credentials: true, max_age: 1h }";

/// The answer to `request` when the upstream says `answer`.
fn shared(bowline: &Bowline, upstream: &Upstream, request: &str, answer: &str) -> Answer {
    let mut client = bowline.client();
    client.send(request);
    let mut server = upstream.accept();
    server.head();
    server.send(answer);
    client.answer()
}

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: api.example\r\n{fields}\r\n")
}

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_preflight_is_answered_without_the_upstream() {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, CORS, "");
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /any HTTP/1.1\r\nHost: api.example\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-one\r\n\r\n"
        )
    };
    let mut client = bowline.client();
    client.send(preflight("https://app.example"));
    let answer = client.answer();
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", Some("https://app.example")),
        ("access-control-allow-credentials", Some("true")),
        ("access-control-allow-methods", Some("GET, PUT")),
        ("access-control-allow-headers", Some("X-One")),
        ("access-control-max-age", Some("3600")),
        ("access-control-expose-headers", None),
        ("content-length", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    // The connection goes on.
    client.send(preflight("https://evil.example"));
    let answer = client.answer();
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(
        answer.header("proxy-status").unwrap().contains("pages of this origin may not ask here")
    );
    assert!(upstream.is_untouched());
    bowline.wait_metric("bowline_failures_total{route=\"r\",cause=\"cors_refused\"}", 1.0);
}

#[test]
fn an_options_request_that_is_no_preflight_reaches_the_upstream() {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, CORS, "");
    for fields in ["", "Origin: https://app.example\r\n", "Access-Control-Request-Method: PUT\r\n"]
    {
        let request = format!("OPTIONS / HTTP/1.1\r\nHost: api.example\r\n{fields}\r\n");
        assert_eq!(shared(&bowline, &upstream, &request, EMPTY).status, 200, "{fields}");
    }
}

#[test]
fn the_answers_policy_is_bowlines_and_not_the_upstreams() {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, CORS, "");
    let theirs = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\n\
        Access-Control-Allow-Credentials: true\r\nVary: Accept-Encoding\r\n\r\n";
    let answer = shared(&bowline, &upstream, &get("Origin: https://app.example\r\n"), theirs);
    assert_eq!(
        support::headers(&answer.head, "access-control-allow-origin"),
        ["https://app.example"]
    );
    assert_eq!(support::headers(&answer.head, "access-control-allow-credentials"), ["true"]);
    assert_eq!(answer.header("access-control-expose-headers"), Some("X-Two"));
    assert_eq!(support::headers(&answer.head, "vary"), ["Accept-Encoding, origin"]);
    for fields in ["", "Origin: https://evil.example\r\n", "Origin: null\r\n"] {
        let answer = shared(&bowline, &upstream, &get(fields), theirs);
        assert!(!answer.head.to_lowercase().contains("access-control"), "{}", answer.head);
        assert_eq!(support::headers(&answer.head, "vary"), ["Accept-Encoding, origin"], "{fields}");
    }
    // A page may read why its request failed, too.
    drop(upstream);
    let mut client = bowline.client();
    client.send(get("Origin: https://app.example\r\n"));
    let answer = client.answer();
    assert!(answer.status >= 500, "{}", answer.head);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
}

#[test]
fn without_a_policy_the_upstreams_own_passes() {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, "", "");
    let theirs = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\n\r\n";
    let answer = shared(&bowline, &upstream, &get("Origin: https://evil.example\r\n"), theirs);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("vary"), None);
}

#[test]
fn cors_lets_no_websocket_in() {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, CORS, "");
    refused(&bowline, &upstream, "Origin: https://app.example\r\n");
    opens(&bowline, &upstream, "Origin: http://test.example\r\n");
}
