//! The examples, as a reader of the README meets them: every configuration loads, binds and sends
//! requests where its comments say, and every program is run, with Bowline between it and its clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;

use bowline::config;
use bowline::plan::{ListenOn, Plan};
use bowline::server::Server;
use support::{BOUND, Bowline, Wire, handshake, nobody, wait_for};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

#[test]
fn every_configuration_loads_and_binds() {
    let certificates = certificates("every");
    for file in files("examples/config", "yaml") {
        let mut plan = plan(&file, &[("CERT_DIR", &certificates)]);
        plan.listeners.iter_mut().for_each(|one| one.on = ListenOn::parse("127.0.0.1:0").unwrap());
        plan.admin = plan.admin.map(|_| "127.0.0.1:0".parse().unwrap());
        if let Err(error) = Server::bind(plan) {
            panic!("{}: {error}", file.display());
        }
    }
}

#[test]
fn every_configuration_begins_by_saying_what_it_is_for() {
    for file in files("examples/config", "yaml") {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{}", file.display());
    }
}

#[test]
fn every_program_says_how_it_is_run_and_fits_on_a_page() {
    for file in files("examples", "rs") {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(head.contains(&format!("cargo run --example {name}")), "{name}");
        assert!(text.lines().count() < 80, "{name}");
    }
}

#[test]
fn requests_go_where_the_comments_say() {
    let certificates = certificates("explain");
    let mqtt = "Sec-WebSocket-Protocol: v3, mqtt";
    let graphql = "Sec-WebSocket-Protocol: graphql-ws";
    for (file, url, header, expected) in [
        ("one", "ws://127.0.0.1:8080/any", "", "upstream  app ("),
        ("one", "http://127.0.0.1:8080/", "", "upstream  app ("),
        ("balanced", "ws://a.example/ws/room", "", "by least_connections)"),
        ("balanced", "http://a.example/api", "", "by round_robin)"),
        ("balanced", "http://a.example/", "", "404"),
        ("health", "ws://a.example/ws", "", "upstream  chat ("),
        ("health", "http://a.example/ws", "", "upstream  chat ("),
        ("health", "http://a.example/", "", "upstream  web ("),
        ("discovery", "ws://a.example/ws", "", ":9001 backup, dns://chat.internal:9001 by"),
        ("discovery", "ws://a.example/live", "", "(dns+srv://_ws._tcp.live.internal by"),
        ("discovery", "http://a.example/", "", "(file /etc/bowline/web.json by"),
        ("tls", "wss://localhost:8443/", "", "0.0.0.0:8443 with TLS"),
        ("http2", "ws://a.example/legacy", "", "upstream  app ("),
        ("mutual-tls", "wss://localhost:8443/", "", "0.0.0.0:8443 with TLS"),
        ("hosts", "ws://chat.example.com:8080/", "", "upstream  chat ("),
        ("hosts", "http://chat.example.com/admin", "", "upstream  site ("),
        ("hosts", "http://example.com/", "", "upstream  site ("),
        ("hosts", "http://www.example.com/", "", "upstream  site ("),
        ("hosts", "http://a.example.com/", "", "upstream  tenants ("),
        ("hosts", "http://b.a.example.com/", "", "upstream  tenants ("),
        ("hosts", "http://example.org/", "", "404"),
        ("paths", "ws://a.example/chat/room", "", "upstream  chat ("),
        ("paths", "http://a.example/chat", "", "upstream  web ("),
        ("paths", "ws://a.example/live", mqtt, "upstream  mqtt ("),
        ("paths", "ws://a.example/live", graphql, "upstream  graphql ("),
        ("paths", "ws://a.example/live", "", "upstream  web ("),
        ("paths", "http://a.example/api/users", "", "upstream  api ("),
        ("paths", "http://a.example/apis", "", "upstream  web ("),
        ("paths", "http://a.example/api/events", "", "upstream  events ("),
        ("paths", "http://a.example/api/events/1", "", "upstream  api ("),
        ("paths", "ws://a.example/rooms/12/socket", "", "upstream  chat ("),
        ("paths", "ws://a.example/rooms/x/socket", "", "upstream  web ("),
        ("behind-proxy", "ws://a.example/", "", "upstream  app ("),
        ("timeouts", "ws://a.example/ws", "", "idle 100s, half_close 30s"),
        ("timeouts", "http://a.example/reports/1", "", "response 600s, body 60s"),
        ("timeouts", "ws://a.example/", "", "idle off"),
        ("json-logs", "ws://a.example/echo", "", "route     sockets"),
        ("json-logs", "http://a.example/", "", "route     pages"),
        ("env", "ws://localhost:8080/any", "", "upstream  app (127.0.0.1:9001"),
    ] {
        let file = folder().join("examples/config").join(format!("{file}.yaml"));
        let mut explain = Command::new(env!("CARGO_BIN_EXE_bowline"));
        explain.arg("explain").arg(&file).args(["GET", url]);
        if !header.is_empty() {
            explain.args(["-H", header]);
        }
        explain.env_clear().env("CERT_DIR", &certificates);
        let output = explain.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(expected), "{} {url} {header}\n{told}{complaint}", file.display());
    }
}

#[test]
fn the_timeouts_that_are_written_down_are_all_there_are_and_the_defaults() {
    let file = folder().join("examples/config/timeouts.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let schema = config::schema();
    for key in schema["$defs"]["Timeouts"]["properties"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("\n  {key}: ")), "{key}");
    }
    let (written, least) =
        (plan(&file, &[]), plan(&folder().join("examples/config/one.yaml"), &[]));
    let everything = |plan: &Plan| {
        let route = plan.routes.all().last().unwrap().timeouts;
        let upstream = plan.upstreams[0].keep_alive.idle;
        format!("{route:?} {upstream:?} {:?} {:?}", plan.listeners[0].header_timeout, plan.drain)
    };
    assert_eq!(everything(&written), everything(&least));
}

#[test]
fn what_differs_comes_from_the_environment() {
    let file = folder().join("examples/config/env.yaml");
    let set = [("PORT", "8081"), ("BACKEND", "10.0.0.1:9001"), ("WORKERS", "3"), ("IDLE", "5m")];
    let plan = plan(&file, &set);
    assert_eq!(plan.listeners[0].on, ListenOn::parse("127.0.0.1:8081").unwrap());
    assert_eq!(plan.upstreams[0].endpoints[0].label, "10.0.0.1:9001");
    assert_eq!(plan.workers, 3);
    assert_eq!(plan.routes.all()[0].timeouts.idle.unwrap().as_secs(), 300);
}

#[test]
fn json_logs_are_one_object_a_line_with_requests_on_standard_output() {
    let text = fs::read_to_string(folder().join("examples/config/json-logs.yaml")).unwrap();
    let file = scratch("json-logs").join("json-logs.yaml");
    fs::write(&file, text.replace("127.0.0.1:8080", "127.0.0.1:0")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
    command.arg("run").arg("--config").arg(&file).env_remove("BOWLINE_LOG").env_remove("RUST_LOG");
    let mut bowline = Running::start(command.stderr(Stdio::piped()));
    let (log, logged) = mpsc::channel();
    let stderr = bowline.child.stderr.take().unwrap();
    thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| drop(log.send(line)));
    });
    let address = loop {
        let line = json(&logged.recv_timeout(BOUND).unwrap());
        if let Some(address) = line["address"].as_str() {
            break address.parse().unwrap();
        }
    };

    let mut client = Wire::connect(address);
    client.send("GET /nothing?token=secret HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let status = client.answer().status;
    let line = bowline.line();
    assert!(!line.contains("secret"), "{line}");
    assert_eq!(json(&line)["status"], status, "{line}");
    assert_eq!(json(&line)["route"], "pages", "{line}");

    let mut client = Wire::connect(address);
    client.send(handshake("/echo", ""));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(json(&bowline.line())["route"], "sockets");
    drop(client);
    assert!(json(&bowline.line())["reason"].is_string());
    bowline.interrupt();
    assert!(bowline.ended().success());
    logged.into_iter().for_each(|line| drop(json(&line)));
}

#[test]
fn a_crowd_counts_its_echoes_through_bowline() {
    let mut echo = Running::example("echo", &["127.0.0.1:0"]);
    let bowline = Bowline::in_front_of(echo.address());
    let mut crowd = Running::example("crowd", &[&format!("ws://{}/", bowline.address), "5", "2"]);
    let told = crowd.rest();
    assert!(told.contains("clients   5 of 5 opened\n"), "{told}");
    assert!(told.contains("messages  10 sent, 10 answered\n"), "{told}");
    assert!(told.contains("latency   p50 "), "{told}");
    assert!(crowd.ended().success());
}

#[test]
fn a_crowd_that_is_turned_away_says_so() {
    let mut crowd = Running::example("crowd", &[&format!("ws://{}/", nobody()), "3", "1"]);
    let told = crowd.rest();
    assert!(told.contains("clients   0 of 3 opened\n"), "{told}");
    assert!(told.contains("messages  0 sent, 0 answered\n"), "{told}");
    assert_eq!(crowd.ended().code(), Some(1));
}

#[test]
fn two_people_chat_through_bowline() {
    let mut chat = Running::example("chat", &["127.0.0.1:0"]);
    let bowline = Bowline::in_front_of(chat.address());
    let (mut one, mut two) = (open(bowline.address, "/"), open(bowline.address, "/"));
    one.send(Message::text("hello")).unwrap();
    assert_eq!(one.read().unwrap(), Message::text("1: hello"));
    assert_eq!(two.read().unwrap(), Message::text("1: hello"));
    two.send(Message::text("good day")).unwrap();
    assert_eq!(one.read().unwrap(), Message::text("2: good day"));
    assert_eq!(two.read().unwrap(), Message::text("2: good day"));
}

#[test]
fn an_embedded_bowline_serves_until_it_is_interrupted() {
    let mut embed = Running::example("embed", &[]);
    let address = embed.address();
    let mut client = Wire::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    let mut socket = open(address, "/echo");
    socket.send(Message::text("hello")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("hello"));
    drop(socket);
    embed.interrupt();
    let told = embed.rest();
    assert!(told.contains("bowline_upgrades_total"), "{told}");
    assert!(told.ends_with("ended\n"), "{told}");
    assert!(embed.ended().success());
}

/// A program that runs; ended when dropped.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn example(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(programs().join(name));
        Self::start(command.args(arguments).env_remove("PORT"))
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.recv_timeout(BOUND).expect("the program said nothing")
    }

    /// Of `listening on SCHEME://ADDRESS/`.
    fn address(&mut self) -> SocketAddr {
        let line = self.line();
        let (_, address) = line.split_once("://").unwrap_or_else(|| panic!("{line}"));
        address.trim_end_matches('/').parse().unwrap()
    }

    /// Everything until it closes its output, each line within the bound.
    fn rest(&mut self) -> String {
        let mut told = String::new();
        loop {
            match self.lines.recv_timeout(BOUND) {
                Ok(line) => told += &(line + "\n"),
                Err(mpsc::RecvTimeoutError::Disconnected) => return told,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("still running after {told}"),
            }
        }
    }

    /// Ctrl-C.
    fn interrupt(&self) {
        let kill = format!("kill -INT {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the program's end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is only waited for.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Where the built examples are. `cargo test --test examples` alone builds none, and one that is older
/// than its source would show nothing; where all is built this takes a moment.
fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let this = env::current_exe().unwrap();
        let profile = this.ancestors().nth(2).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "--quiet", "--examples", "--target-dir"]);
        cargo.arg(profile.parent().unwrap()).current_dir(folder());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the examples do not compile");
        profile.join("examples")
    })
}

/// A WebSocket that reads with a bound.
fn open(address: SocketAddr, path: &str) -> WebSocket<TcpStream> {
    let stream = Wire::connect(address).stream;
    tungstenite::client(format!("ws://{address}{path}"), stream).unwrap().0
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn plan(file: &Path, variables: &[(&str, &str)]) -> Plan {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let text = fs::read_to_string(file).unwrap();
    let env = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let (config, mut mistakes) = config::parse(file.to_str().unwrap(), &text, &env);
    let plan = Plan::build(&config, file.parent().unwrap(), &mut mistakes);
    assert!(mistakes.is_empty(), "{mistakes}");
    plan
}

/// A folder with a fresh certificate and a ticket key, as the examples of TLS want them.
fn certificates(name: &str) -> String {
    let folder = scratch(name);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for file in ["server.pem", "ca.pem"] {
        fs::write(folder.join(file), made.cert.pem()).unwrap();
    }
    fs::write(folder.join("server.key"), made.signing_key.serialize_pem()).unwrap();
    fs::write(folder.join("tickets.keys"), [7; 80]).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// A folder of this test's own, inside the ignored target folder.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples").join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Every file of a kind, so that none can be forgotten.
fn files(inside: &str, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder().join(inside)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == kind)).collect();
    files.sort();
    assert!(!files.is_empty(), "nothing in {inside}");
    files
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
