//! The program as people and scripts meet it: exit codes, what it says and where, signals. No
//! panic ever reaches a user, whatever is asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::too_many_lines, reason = "tables")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use support::{BOUND, Upstream, Wire, nobody, wait_for};

/// A folder of its own for each test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("bowline-cli-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(self, name: &str, text: &str) -> Self {
        fs::write(self.0.join(name), text).unwrap();
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// What a command said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    // The environment of whoever runs this changes nothing.
    for name in ["BOWLINE_LOG", "RUST_LOG", "COLUMNS", "FORCE_COLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}

/// Runs a command that ends by itself.
fn bowline(folder: &Folder, arguments: &[&str]) -> Said {
    let output = command(&folder.0, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let said = Said {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    };
    assert!(!said.err.contains("panicked"), "{arguments:?}: {said:?}");
    said
}

/// A Bowline that serves until it is told otherwise; killed when dropped.
struct Serving {
    child: Child,
    address: SocketAddr,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Serving {
    fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let mut command = command(&folder.0, arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let reader = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut serving = Self { child, address, lines, seen: Vec::new() };
        let line = serving.line(" listening address=");
        serving.address = line.rsplit('=').next().unwrap().parse().unwrap();
        serving
    }

    /// The next line on stderr that holds `part`.
    fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(BOUND);
            let line = line.unwrap_or_else(|_| panic!("no line with {part:?} in {:?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end; nothing that was said on the way is a panic.
    fn end(&mut self) -> ExitStatus {
        wait_for("the process to end", || self.child.try_wait().unwrap().is_some());
        self.seen.extend(self.lines.iter());
        assert!(!self.seen.iter().any(|line| line.contains("panicked")), "{:?}", self.seen);
        self.child.wait().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A configuration of one listener on a free port and one upstream.
fn small(listener: &str, upstream: SocketAddr) -> String {
    format!(
        "workers: 1\nlisteners: [ {{ {listener} }} ]\nroutes: [ {{ upstream: web }} ]\n\
         upstreams: {{ web: {{ endpoints: [ \"{upstream}\" ] }} }}\n"
    )
}

fn answering() -> SocketAddr {
    Upstream::serving(|mut wire| {
        wire.head();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhere");
    })
}

/// A GET through `address`; the answer's body.
fn get(address: SocketAddr) -> String {
    let mut client = Wire::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    client.answer().text()
}

// --- check ---------------------------------------------------------------------------------------

#[test]
fn a_right_file_is_in_order() {
    let folder = Folder::new().with("a.yaml", &small("address: 127.0.0.1:0", nobody()));
    let said = bowline(&folder, &["check", "a.yaml"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out, "a.yaml: in order (1 listener, 1 route, 1 upstream)\n");
}

#[test]
fn ten_mistakes_of_shape_and_meaning_are_told_at_once_each_at_its_place() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/invalid");
    let text = fs::read_to_string(fixtures.join("shape_and_meaning.yaml")).unwrap();
    let folder = Folder::new().with("shape_and_meaning.yaml", &text);
    let expected = fs::read_to_string(fixtures.join("shape_and_meaning.txt")).unwrap();
    assert_eq!(expected.lines().count(), 10);
    let said = bowline(&folder, &["check", "shape_and_meaning.yaml"]);
    assert_eq!((said.code, said.out.as_str()), (64, ""));
    assert_eq!(said.err, expected);
    // To run is to check first.
    let run = bowline(&folder, &["run", "--config", "shape_and_meaning.yaml"]);
    assert_eq!((run.code, run.err), (64, said.err));
}

#[test]
fn a_file_that_cannot_be_read_is_one_line_with_the_mend() {
    let folder = Folder::new().with("binary.yaml", "a: 1\n").with("empty.yaml", "");
    fs::write(folder.0.join("binary.yaml"), b"a: 1\nb: \xff\n").unwrap();
    for (name, told) in [
        ("none.yaml", "none.yaml: there is no such file; check the path, or create the file\n"),
        (".", ".: this is a folder; name the file in it\n"),
        ("binary.yaml", "binary.yaml: line 2 is not UTF-8 text; save the file as UTF-8\n"),
        (
            "empty.yaml",
            "empty.yaml:1:1: the file says nothing; write at least `listeners`, `routes` and `upstreams`\n",
        ),
    ] {
        for arguments in
            [&["check", name][..], &["run", "-c", name], &["explain", name, "GET", "/"]]
        {
            let said = bowline(&folder, arguments);
            assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (64, "", told));
        }
    }
}

#[test]
fn without_a_file_and_without_arguments_the_mend_is_told() {
    let said = bowline(&Folder::new(), &[]);
    assert_eq!(said.code, 64);
    assert_eq!(
        said.err,
        "bowline: there is no config.yaml here: give --config FILE, or --listen ADDR --upstream URL\n"
    );
}

#[test]
fn a_bad_certificate_is_named_with_its_mend() {
    let make = || rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let (one, other) = (make(), make());
    let folder = Folder::new()
        .with("one.pem", &one.cert.pem())
        .with("one.key", &one.signing_key.serialize_pem())
        .with("other.key", &other.signing_key.serialize_pem())
        .with("text.pem", "not a certificate\n");
    for (cert, key, told) in [
        (
            "one.pem",
            "other.key",
            "the key in other.key does not belong to the certificate in one.pem: check that both are of one issue",
        ),
        ("none.pem", "one.key", "cannot read none.pem: No such file or directory"),
        ("one.pem", "none.key", "cannot read none.key: No such file or directory"),
        (
            "text.pem",
            "one.key",
            "text.pem holds no certificate: it needs `-----BEGIN CERTIFICATE-----`",
        ),
        (
            "one.pem",
            "one.pem",
            "one.pem holds no private key: it needs a `-----BEGIN PRIVATE KEY-----`",
        ),
    ] {
        let tls = format!(
            "address: 127.0.0.1:0, tls: {{ certificates: [ {{ cert: {cert}, key: {key} }} ] }}"
        );
        fs::write(folder.0.join("tls.yaml"), small(&tls, nobody())).unwrap();
        for arguments in [&["check", "tls.yaml"][..], &["run", "-c", "tls.yaml"]] {
            let said = bowline(&folder, arguments);
            assert_eq!((said.code, said.err.lines().count()), (64, 1), "{said:?}");
            assert!(said.err.starts_with("tls.yaml:2:"), "{said:?}");
            assert!(said.err.contains(told), "{said:?}");
        }
    }
    let neither = "address: 127.0.0.1:0, tls: { certificates: [ { cert: no.pem, key: no.key } ] }";
    fs::write(folder.0.join("tls.yaml"), small(neither, nobody())).unwrap();
    let said = bowline(&folder, &["check", "tls.yaml"]);
    assert_eq!(said.err.lines().count(), 2, "both files are told: {said:?}");

    fs::write(
        folder.0.join("tls.yaml"),
        small(
            "address: 127.0.0.1:0, tls: { certificates: [ { cert: one.pem, key: one.key } ] }",
            nobody(),
        ),
    )
    .unwrap();
    assert_eq!(bowline(&folder, &["check", "tls.yaml"]).code, 0);
}

// --- run -----------------------------------------------------------------------------------------

#[test]
fn a_port_in_use_is_named_with_its_mend() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = Folder::new();
    let listen = address.to_string();
    let said = bowline(&folder, &["run", "--listen", &listen, "--upstream", "127.0.0.1:1"]);
    assert_eq!((said.code, said.out.as_str()), (69, ""));
    assert_eq!(
        said.err,
        format!(
            "bowline: cannot listen on {address}: the port is in use; stop the other program \
             (`ss -ltnp 'sport = :{}'` names it) or choose another port\n",
            address.port()
        )
    );
}

#[test]
fn two_bowlines_do_not_share_a_port() {
    let folder = Folder::new();
    let upstream = nobody().to_string();
    let first = Serving::start(&folder, &["--listen", "127.0.0.1:0", "--upstream", &upstream]);
    let listen = first.address.to_string();
    let said = bowline(&folder, &["--listen", &listen, "--upstream", &upstream]);
    assert_eq!(said.code, 69, "{said:?}");
    assert!(said.err.contains("the port is in use"), "{said:?}");
}

#[test]
fn a_privileged_port_is_named_with_its_mend() {
    if TcpListener::bind("127.0.0.1:999").is_ok() {
        println!("left out: this user may bind ports below 1024; accept/bind.rs tests the line");
        return;
    }
    let said = bowline(&Folder::new(), &["run", "-l", "127.0.0.1:999", "-u", "127.0.0.1:1"]);
    assert_eq!(said.code, 69);
    assert!(said.err.contains("cannot listen on 127.0.0.1:999"), "{said:?}");
    assert!(said.err.contains("setcap"), "{said:?}");
}

#[test]
fn listen_and_upstream_serve_without_any_file() {
    let upstream = answering().to_string();
    let folder = Folder::new();
    for arguments in [
        &["run", "--listen", "127.0.0.1:0", "--upstream", &upstream][..],
        &["-l", "localhost:0", "-u", &format!("http://{upstream}")],
        &["--listen", "127.0.0.1:0", "--upstream", &upstream, &format!("ws://{}", nobody())],
    ] {
        let serving = Serving::start(&folder, arguments);
        assert_eq!(get(serving.address), "here", "{arguments:?}");
    }
}

#[test]
fn without_a_command_the_file_here_is_served() {
    let text = small("address: 127.0.0.1:0", answering());
    let folder = Folder::new().with("config.yaml", &text).with("other.yaml", &text);
    for arguments in [&[][..], &["run"], &["-c", "other.yaml"]] {
        assert_eq!(get(Serving::start(&folder, arguments).address), "here", "{arguments:?}");
    }
}

#[test]
fn wrong_arguments_are_a_line_and_the_usage() {
    let folder = Folder::new();
    for (arguments, told) in [
        (&["nonsense"][..], "unrecognized subcommand 'nonsense'"),
        (&["run", "--listen", ":0"], "--upstream"),
        (&["run", "--upstream", "127.0.0.1:1"], "--listen"),
        (&["run", "-c", "a", "--listen", ":0", "-u", "a:1"], "cannot be used with"),
        (&["check", "a", "b"], "unexpected argument 'b'"),
        (&["completions", "sh"], "invalid value 'sh'"),
        (&["explain"], "required arguments"),
    ] {
        let said = bowline(&folder, arguments);
        assert_eq!((said.code, said.out.as_str()), (64, ""), "{arguments:?}");
        assert!(said.err.contains(told), "{arguments:?}: {said:?}");
    }
    for (arguments, told) in [
        (
            &["-l", "nonsense", "-u", "a:1"][..],
            "command line: listeners[0].address: `nonsense` is not an address to listen on",
        ),
        (
            &["-l", ":0", "-u", "ftp://a"],
            "command line: upstreams.upstream.endpoints[0]: `ftp://` is not a scheme Bowline can dial",
        ),
    ] {
        let said = bowline(&folder, arguments);
        assert_eq!((said.code, said.err.lines().count()), (64, 1), "{said:?}");
        assert!(said.err.starts_with(told), "{said:?}");
    }
}

#[test]
fn a_signal_ends_it_and_is_no_failure() {
    let folder = Folder::new();
    let upstream = nobody().to_string();
    for name in ["TERM", "INT"] {
        let mut serving = Serving::start(&folder, &["-l", "127.0.0.1:0", "-u", &upstream]);
        serving.signal(name);
        assert_eq!(serving.end().code(), Some(0), "{name}");
    }
}

#[test]
fn a_hangup_is_no_end() {
    let upstream = answering().to_string();
    let mut serving = Serving::start(&Folder::new(), &["-l", "127.0.0.1:0", "-u", &upstream]);
    serving.signal("HUP");
    serving.line("SIGHUP");
    assert_eq!(get(serving.address), "here");
}

#[test]
fn the_second_signal_ends_at_once_what_the_first_waits_for() {
    let upstream = Upstream::new();
    let address = upstream.address.to_string();
    let mut serving = Serving::start(&Folder::new(), &["-l", "127.0.0.1:0", "-u", &address]);
    let mut client = Wire::connect(serving.address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    client.head();

    serving.signal("TERM");
    serving.line("draining");
    assert!(serving.is_running(), "an answer is under way, and the deadline far");
    server.send("still");
    assert_eq!(client.exactly(5), b"still");

    let began = Instant::now();
    serving.signal("TERM");
    assert_eq!(serving.end().code(), Some(0));
    // The deadline is 30 s by default.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    client.rest();
}

// --- explain -------------------------------------------------------------------------------------

const EXPLAINED: &str = "\
listeners:
  - { address: 127.0.0.1:8080, limits: { uri: 64B } }
  - { name: second, address: 127.0.0.1:8081 }
routes:
  - { name: chat, match: { host: chat.example, path: /ws, websocket: true }, upstream: chat }
  - { match: { host: \"*.example\", method: POST }, upstream: web, max_body: 1KiB }
  - { match: { path: /demo, headers: { x-beta: \"1\" } }, upstream: echo, timeouts: { idle: 5m } }
  - { match: { path: /local }, upstream: local }
upstreams:
  chat: { endpoints: [ \"10.0.0.1:9001\", \"10.0.0.2:9001\" ], balance: least_connections }
  web:
    endpoints: [ \"10.0.0.3:8080\", { address: \"10.0.0.4:8080\", weight: 2, backup: true } ]
    balance: maglev
    hash_by: { header: X-User }
    slow_start: 30s
    sticky: { engineio: { name: node } }
  echo: { builtin: echo }
  local:
    endpoints: [ \"unix:/run/app.sock\", \"10.0.0.5:80\" ]
    source_addresses: [ 10.0.0.8, 10.0.0.9 ]
    proxy_protocol: v2
    tls: { server_name: app.internal, handshake_timeout: 2s, insecure_skip_verify: true }
trusted_proxies: [ 10.9.9.0/24 ]
";

#[test]
fn explain_tells_what_a_request_would_meet() {
    let folder = Folder::new().with("a.yaml", EXPLAINED);
    let long = format!("http://chat.example/{}", "a".repeat(64));
    let cases: [(&[&str], &str); 15] = [
        (
            &["GET", "http://chat.example/local"],
            "listener  127.0.0.1:8080\nrequest   plain HTTP\nroute     /local\nguards    none\n\
             upstream  local (unix:/run/app.sock, https://10.0.0.5:80 by least_connections)\n\
             from      10.0.0.8, 10.0.0.9\nbefore    a PROXY header, v2\n\
             TLS       certificates are NOT verified, asked for as app.internal, handshake 2s\n\
             timeouts  connect 5s, response 120s, body 60s\n",
        ),
        (
            &["GET", "ws://chat.example/ws/room"],
            "listener  127.0.0.1:8080\nrequest   WebSocket upgrade\nroute     chat\n\
             guards    origins (same) pass: no Origin, so no browser\n\
             upstream  chat (10.0.0.1:9001, 10.0.0.2:9001 by least_connections)\n\
             timeouts  connect 5s, handshake 10s; then idle off, half_close 30s\n",
        ),
        (
            &["POST", "http://a.b.example:8081/any?x=1"],
            "listener  127.0.0.1:8081 second\nrequest   plain HTTP\nroute     *.example/\n\
             guards    max_body 1024 bytes\n\
             upstream  web (10.0.0.3:8080, 10.0.0.4:8080 weight 2 backup by maglev of header x-user, slow start 30s)\n\
             sticky    engineio, cookie node\n\
             timeouts  connect 5s, response 120s, body 60s\n",
        ),
        (
            &["get", "ws://other/demo", "-H", "X-Beta: 1"],
            "listener  127.0.0.1:8080\nrequest   WebSocket upgrade\nroute     /demo\n\
             guards    origins (same) pass: no Origin, so no browser\n\
             upstream  echo (built in: echo)\n\
             timeouts  connect 5s, handshake 10s; then idle 300s, half_close 30s\n",
        ),
        (
            &["GET", "ws://chat.example/ws", "-H", "Origin: http://chat.example"],
            "listener  127.0.0.1:8080\nrequest   WebSocket upgrade\nroute     chat\n\
             guards    origins (same) pass\n\
             upstream  chat (10.0.0.1:9001, 10.0.0.2:9001 by least_connections)\n\
             timeouts  connect 5s, handshake 10s; then idle off, half_close 30s\n",
        ),
        (
            &["GET", "ws://chat.example/ws", "-H", "Origin: http://evil.example"],
            "listener  127.0.0.1:8080\nrequest   WebSocket upgrade\nroute     chat\n\
             guards    origins (same) refuse\n\
             answer    403 Forbidden by Bowline: pages of this origin may not open WebSockets here\n",
        ),
        (
            &[
                "GET",
                "ws://other/demo",
                "-H",
                "x-beta: 1",
                "-H",
                "Origin: https://other",
                "--from",
                "10.9.9.9",
            ],
            "listener  127.0.0.1:8080\nrequest   WebSocket upgrade\nroute     /demo\n\
             guards    origins (same) pass\nupstream  echo (built in: echo)\n\
             timeouts  connect 5s, handshake 10s; then idle 300s, half_close 30s\n",
        ),
        (
            &["GET", "http://chat.example/ws"],
            "listener  127.0.0.1:8080\nrequest   plain HTTP\n\
             answer    404 by Bowline: no route takes this host and path\n",
        ),
        (
            &["GET", "ws://nowhere/"],
            "listener  127.0.0.1:8080\nrequest   WebSocket upgrade\n\
             answer    404 by Bowline: no route takes this host and path\n",
        ),
        (
            &["GET", "wss://chat.example/ws"],
            "listener  127.0.0.1:8080\n\
             note      no listener speaks this URL's scheme; shown as if this one did\n\
             request   WebSocket upgrade\nroute     chat\n\
             guards    origins (same) pass: no Origin, so no browser\n\
             upstream  chat (10.0.0.1:9001, 10.0.0.2:9001 by least_connections)\n\
             timeouts  connect 5s, handshake 10s; then idle off, half_close 30s\n",
        ),
        (
            &["TRACE", "http://chat.example/"],
            "listener  127.0.0.1:8080\nanswer    405 Method Not Allowed by Bowline: TRACE is not forwarded\n",
        ),
        (
            &["GET", &long],
            "listener  127.0.0.1:8080\n\
             answer    414 URI Too Long by Bowline: the request target is over 64 bytes\n",
        ),
        (
            &["POST", "ws://chat.example/ws"],
            "listener  127.0.0.1:8080\n\
             answer    400 Bad Request by Bowline: a WebSocket handshake is a GET\n",
        ),
        (
            &["GET", "ws://chat.example/ws", "-H", "Sec-WebSocket-Key: x"],
            "listener  127.0.0.1:8080\n\
             answer    400 Bad Request by Bowline: Sec-WebSocket-Key is not one key of 16 bytes in base64\n",
        ),
        (
            &["GET", "/ws", "-H", "Host: chat.example", "-H", "Connection: cookie"],
            "listener  127.0.0.1:8080\n\
             answer    400 Bad Request by Bowline: Connection names cookie, which is not of one hop\n",
        ),
    ];
    for (request, told) in cases {
        let said = bowline(&folder, &[&["explain", "a.yaml"], request].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{request:?}");
        assert_eq!(said.out, told, "{request:?}");
    }
}

#[test]
fn what_cannot_be_asked_about_is_one_line() {
    let folder = Folder::new().with("a.yaml", EXPLAINED);
    for (request, told) in [
        (&["GET", "ftp://a/"][..], "`ftp://` is not http, https, ws or wss"),
        (&["GET", "http://a b/"], "`http://a b/` is not a URL"),
        (&["GET", ""], "`` is not a URL"),
        (&["G ET", "http://a/"], "`G ET` is not a method"),
        (
            &["GET", "http://a/", "-H", "nonsense"],
            "`nonsense` is not a header: write 'Name: value'",
        ),
        (&["GET", "http://a/", "-H", "a b: c"], "`a b: c` is not a header"),
    ] {
        let said = bowline(&folder, &[&["explain", "a.yaml"], request].concat());
        assert_eq!((said.code, said.out.as_str()), (64, ""), "{request:?}");
        assert_eq!(said.err.lines().count(), 1, "{said:?}");
        assert!(said.err.starts_with("bowline explain: "), "{said:?}");
        assert!(said.err.contains(told), "{said:?}");
    }
}

const GUARDED: &str = "\
listeners: [ { address: 127.0.0.1:8080, deny: [ 192.0.2.0/24 ] } ]
routes:
  - { name: api, upstream: web, allow: [ 10.0.0.0/8, 192.0.2.0/24 ], cors: { origins: https://app.example } }
  - { name: ws, match: { path: /ws }, upstream: web, origins: https://app.example, origin_mode: report }
upstreams: { web: { builtin: echo } }
trusted_proxies: [ 10.0.0.1 ]
";

#[test]
fn explain_shows_what_stands_before_an_upstream() {
    let folder = Folder::new().with(
        "a.yaml",
        r#"
listeners: [ { address: 127.0.0.1:8080 } ]
routes: [ { match: { path: /all }, upstream: all }, { match: { path: /one }, upstream: one } ]
upstreams:
  all:
    endpoints: [ 10.0.0.1:1 ]
    upgrades: { rate: 500, in_progress: 30, wait: 3s }
    max_connections: { endpoint: 100, upstream: 150 }
    queue: { size: 20 }
    retries: { attempts: 2, budget: 10% }
    breaker: {}
    rebalance: { max_skew: 1.1 }
  one: { endpoints: [ 10.0.0.1:1 ], retries: { attempts: 1 } }
"#,
    );
    for (path, told) in [
        (
            "all",
            "gates     upgrades 500 a second, 50 at once, wait 3s; 30 upgrades in progress, wait 3s; \
             max_connections 100 to an endpoint; max_connections 150 to all; queue of 20, wait 1s; \
             2 attempts, retries 10% and 10; breaker at 50% of 20 or more in 10s, pause 5s\n\
             rebalance over 1.1 of the mean, 1%/min\n",
        ),
        ("one", "gates     no retries\ntimeouts"),
    ] {
        let said = bowline(&folder, &["explain", "a.yaml", "GET", &format!("ws://a/{path}")]);
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        assert!(said.out.contains(told), "{}", said.out);
    }
}

#[test]
fn explain_shows_the_verdict_of_each_guard() {
    let folder = Folder::new().with("a.yaml", GUARDED);
    let preflight = "Access-Control-Request-Method: PUT";
    let (app, evil) = ("Origin: https://app.example", "Origin: https://evil.example");
    for (request, told) in [
        (
            &["GET", "http://a/", "--from", "192.0.2.7"][..],
            "guards    allow, deny (192.0.2.7) refuse\nanswer    403 Forbidden by Bowline: this address is denied\n",
        ),
        (
            &["GET", "http://a/"],
            "guards    allow, deny (give --from) refuse\n\
             answer    403 Forbidden by Bowline: this address is not among those that are allowed\n",
        ),
        (
            &["GET", "http://a/", "--from", "10.0.0.1", "-H", "X-Forwarded-For: 192.0.2.7"],
            "guards    allow, deny (192.0.2.7) refuse\nanswer    403 Forbidden by Bowline: this address is denied\n",
        ),
        (
            &["GET", "http://a/", "--from", "10.0.0.2", "-H", app],
            "guards    allow, deny (10.0.0.2) pass; cors (https://app.example) share the answer\nupstream",
        ),
        (
            &["GET", "http://a/", "--from", "10.0.0.2", "-H", evil],
            "guards    allow, deny (10.0.0.2) pass; cors (https://app.example) do not share the answer\nupstream",
        ),
        (
            &["OPTIONS", "http://a/", "--from", "10.0.0.2", "-H", app, "-H", preflight],
            "cors (https://app.example) answer the preflight\n\
             answer    204 No Content by Bowline: the policy of this route\n",
        ),
        (
            &["OPTIONS", "http://a/", "--from", "10.0.0.2", "-H", evil, "-H", preflight],
            "cors (https://app.example) refuse\n\
             answer    403 Forbidden by Bowline: pages of this origin may not ask here\n",
        ),
        (
            &["GET", "ws://a/ws", "-H", evil],
            "allow, deny (give --from) pass; origins (https://app.example) would refuse, and only report\nupstream",
        ),
    ] {
        let said = bowline(&folder, &[&["explain", "a.yaml"], request].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{request:?}");
        assert!(said.out.contains(told), "{request:?}: {}", said.out);
    }
}

#[test]
fn explain_shows_the_quotas_that_count_a_request_in_their_order() {
    let folder = Folder::new().with(
        "a.yaml",
        "listeners: [ { address: 127.0.0.1:8080 } ]\nupstreams: { up: { builtin: echo } }\n\
         quotas: [ { per: all, requests: 1000/s, sockets: 9 }, { requests: 50/s, except: [ 10.0.0.0/8 ] } ]\n\
         routes: [ { upstream: up, quotas: [ { per: { header: X-Key }, requests: 600/min, upgrades: 5/h } ] } ]\n",
    );
    for (request, told) in [
        (
            &["GET", "http://a/", "--from", "192.0.2.7", "-H", "X-Key: one"][..],
            "guards    quotas count (600/min per header x-key, 50/s per client_ip, 1000/s for all)\n",
        ),
        (&["GET", "http://a/", "--from", "10.0.0.1"], "guards    quotas count (1000/s for all)\n"),
        (
            &["GET", "ws://a/", "-H", "X-Key: one"],
            "guards    quotas count (5/h per header x-key, 9 sockets for all)",
        ),
    ] {
        let said = bowline(&folder, &[&["explain", "a.yaml"], request].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{request:?}");
        assert!(said.out.contains(told), "{request:?}: {}", said.out);
    }
}

// --- what it prints ------------------------------------------------------------------------------

#[test]
fn help_reads_well() {
    let folder = Folder::new();
    let help = bowline(&folder, &["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    let first: Vec<&str> = help.out.lines().take(15).collect();
    assert_eq!(
        first,
        [
            "A reverse proxy and load balancer whose first citizen is the WebSocket",
            "",
            "Usage: bowline [OPTIONS]",
            "       bowline <COMMAND>",
            "",
            "Commands:",
            "  run          Serve (also without a command)",
            "  check        Read a configuration and name every mistake in it; exit 0 or 64",
            "  cert         Make certificates to try TLS with: an authority, and what it issues",
            "  diff         Tell what NEW would change where OLD is in force; exit 0 when nothing, else 1",
            "  reload       Have a running Bowline read its configuration again",
            "  explain      Tell which listener, route and upstream a request would meet, without sending it",
            "  schema       Print the JSON Schema of the configuration",
            "  completions  Print a completion script for a shell",
            "  help         Print this message or the help of the given subcommand(s)",
        ]
    );
    for command in ["run", "check", "diff", "reload", "explain", "schema", "completions"] {
        let help = bowline(&folder, &[command, "--help"]);
        assert_eq!((help.code, help.err.as_str()), (0, ""));
        let usage = format!("Usage: bowline {command}");
        assert!(help.out.contains(&usage), "{help:?}");
    }
    let version = bowline(&folder, &["--version"]);
    assert_eq!(version.out, format!("bowline {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_schema_is_json_and_holds_what_the_reference_describes() {
    let folder = Folder::new();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = fs::read_to_string(page).unwrap();
    assert_eq!(bowline(&folder, &["schema", "--markdown"]).out, page);

    let schema: serde_json::Value =
        serde_json::from_str(&bowline(&folder, &["schema"]).out).unwrap();
    let parts = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    let mut keys = 0;
    for part in parts {
        let Some(properties) = part["properties"].as_object() else { continue };
        assert_eq!(part["additionalProperties"], false, "an unknown key is a mistake: {part}");
        for (key, property) in properties {
            let described = property["description"].as_str().unwrap_or_default();
            let sentence = described.split(". ").next().unwrap().trim_end_matches('.');
            assert!(!sentence.is_empty(), "{key} has no description");
            assert!(page.contains(&format!("| `{key}` |")), "{key} is not in the reference");
            assert!(page.contains(sentence), "the reference does not say of {key}: {sentence}");
            keys += 1;
        }
    }
    assert!(keys > 40, "only {keys} keys");
}

#[test]
fn completions_are_there_for_every_usual_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let said = bowline(&Folder::new(), &["completions", shell]);
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        assert!(said.out.contains("explain") && said.out.contains("bowline"), "{shell}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let folder = Folder::new().with("a.yaml", EXPLAINED);
    for arguments in [
        &["schema"][..],
        &["schema", "--markdown"],
        &["completions", "bash"],
        &["--help"],
        &["check", "a.yaml"],
        &["explain", "a.yaml", "GET", "ws://chat.example/ws"],
    ] {
        let mut command = command(&folder.0, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
    // As people write it.
    let piped = format!("'{}' schema | head -1", env!("CARGO_BIN_EXE_bowline"));
    let output = Command::new("sh").args(["-c", &piped]).output().unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b"{\n"[..], &b""[..]));
}

#[test]
fn nobody_reading_the_errors_either_is_no_panic() {
    let folder = Folder::new();
    let mut command = command(&folder.0, &["check", "none.yaml"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(64));
}

#[test]
fn a_log_that_nobody_reads_stops_no_request() {
    let folder = Folder::new();
    let upstream = answering().to_string();
    let mut command = command(&folder.0, &["-l", "127.0.0.1:0", "-u", &upstream]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut reader = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    drop(reader);
    let address = line.trim_end().rsplit('=').next().unwrap().parse().unwrap();
    for _ in 0..3 {
        assert_eq!(get(address), "here");
    }
    assert!(child.try_wait().unwrap().is_none(), "it ended with its reader");
    child.kill().unwrap();
    child.wait().unwrap();
}
