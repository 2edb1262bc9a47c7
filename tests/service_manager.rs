//! What a service manager gives and hears: sockets that it has opened, and how things stand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use support::process::Process;
use support::{BOUND, Upstream, Wire, handshake, wait_for};

fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("service_manager");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn written(name: &str, listener: &str, upstream: SocketAddr, extra: &str) -> PathBuf {
    let file = folder().join(format!("{name}.yaml"));
    let yaml = format!(
        "workers: 2\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners: [ {{ address: \"{listener}\" }} ]\n\
         routes: [ {{ name: r, upstream: up }} ]\nupstreams: {{ up: {{ endpoints: [ \"{upstream}\" ] }} }}\n\
         {extra}\n"
    );
    fs::write(&file, yaml).unwrap();
    file
}

/// systemd's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(name: &str) -> Self {
        // Relative to nothing and short: an address has room for 107 bytes.
        let path = std::env::temp_dir().join(format!("bowline-{name}-{}", std::process::id()));
        fs::remove_file(&path).ok();
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        Self { socket, path }
    }

    fn start(&self, name: &str, file: &std::path::Path, environment: &str) -> Process {
        let commands = format!("export NOTIFY_SOCKET={} {environment}; ", self.path.display());
        Process::start_in(name, file, &commands, Stdio::null())
    }

    fn hears(&self) -> String {
        let mut message = [0; 1024];
        let length = self.socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// The next message that is not the watchdog's.
    fn hears_news(&self) -> String {
        loop {
            let message = self.hears();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}

fn readiness(process: &Process) -> u16 {
    let mut admin = Wire::connect(process.admin());
    admin.send(format!("GET /readyz HTTP/1.1\r\nHost: {}\r\n\r\n", process.admin()));
    admin.answer().status
}

#[test]
fn systemd_hears_of_the_start_of_reloads_and_of_the_end() {
    let (manager, upstream) = (Manager::new("phases"), Upstream::new());
    let file =
        written("phases", "127.0.0.1:0", upstream.address, "drain: { timeout: 20s, delay: 5s }");
    let mut process = manager.start("phases", &file, "");
    assert!(manager.hears().starts_with("READY=1\nSTATUS=serving; descriptors: "));
    process.signal("HUP");
    let began = manager.hears();
    let (reloading, at) = began.trim_end().split_once("\nMONOTONIC_USEC=").unwrap();
    assert_eq!(reloading, "RELOADING=1");
    assert!(at.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.hears(), "READY=1\nSTATUS=serving\n");
    // What is wrong changes nothing, and whoever asks systemd sees it.
    fs::write(&file, "listeners: 1\n").unwrap();
    process.signal("HUP");
    assert!(manager.hears().starts_with("RELOADING=1\n"));
    assert!(manager.hears().starts_with("READY=1\nSTATUS=serving; the last reload failed"));
    process.signal("TERM");
    // 5 s and 20 s as configured, and ten more.
    assert_eq!(manager.hears(), "STOPPING=1\nSTATUS=draining\n");
    assert_eq!(manager.hears(), "EXTEND_TIMEOUT_USEC=35000000\n");
    process.signal("TERM");
    assert!(process.end().success());
}

#[test]
fn the_watchdog_is_fed_while_the_workers_are_awake_and_while_they_drain() {
    let (manager, upstream) = (Manager::new("watchdog"), Upstream::new());
    let file = written("watchdog", "127.0.0.1:0", upstream.address, "");
    let mut process = manager.start("watchdog", &file, "WATCHDOG_USEC=100000");
    assert!(manager.hears_news().starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(manager.hears(), "WATCHDOG=1\n");
    }
    let mut client = process.client();
    client.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    process.signal("TERM");
    assert!(manager.hears_news().starts_with("STOPPING=1\n"));
    assert!(manager.hears_news().starts_with("EXTEND_TIMEOUT_USEC="));
    for _ in 0..3 {
        assert_eq!(manager.hears(), "WATCHDOG=1\n");
    }
    drop((client, server));
    assert!(process.end().success());
}

/// Starts it with a socket that listens already, under the name `web`.
fn activated(name: &str, file: &std::path::Path, socket: TcpListener) -> Process {
    let commands = "exec 3<&0; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web; ";
    Process::start_in(name, file, commands, Stdio::from(OwnedFd::from(socket)))
}

fn answers(address: SocketAddr, upstream: &Upstream) {
    let mut client = Wire::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().status, 204);
}

#[test]
fn a_passed_socket_is_listened_on_by_its_name_and_who_came_before_the_start_is_served() {
    let upstream = Upstream::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut early = Wire::connect(address);
    early.send("GET / HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n");
    let file = written("named", "systemd:web", upstream.address, "");
    let process = activated("named", &file, socket);
    assert_eq!(process.address, address);
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    assert_eq!(early.answer().status, 204);
    for _ in 0..10 {
        answers(address, &upstream);
    }
}

#[test]
fn a_passed_socket_is_listened_on_by_its_address_and_found_again_after_a_reload_without_it() {
    let upstream = Upstream::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let file = written("addressed", &address.to_string(), upstream.address, "");
    let with = fs::read_to_string(&file).unwrap();
    let process = activated("addressed", &file, socket);
    answers(address, &upstream);
    let reloads = "bowline_config_reloads_total{result=\"done\"}";
    let reload = |yaml: &str| {
        let before = process.metric(reloads);
        fs::write(&file, yaml).unwrap();
        process.signal("HUP");
        wait_for("the reload", || process.metric(reloads) > before);
    };
    reload(&with.replace(&address.to_string(), "127.0.0.1:0"));
    reload(&with);
    answers(address, &upstream);
}

#[test]
fn a_socket_that_nobody_passed_is_named_with_the_mend() {
    let file = written("nobody", "systemd:web", support::nobody(), "");
    let output = Command::new(env!("CARGO_BIN_EXE_bowline"))
        .args(["run", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot listen on systemd:web: no such socket was passed"), "{told}");
    assert!(told.contains("FileDescriptorName=web"), "{told}");
}

#[test]
fn a_passed_socket_that_nobody_wants_is_told() {
    let upstream = Upstream::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let file = written("unwanted", "127.0.0.1:0", upstream.address, "");
    let process = activated("unwanted", &file, socket);
    assert!(
        process.logged().contains(&format!("no listener uses the passed socket web ({address})"))
    );
}

#[test]
fn who_sends_connections_hears_first_that_there_is_no_more_to_come() {
    let upstream = Upstream::new();
    let file = written("delay", "127.0.0.1:0", upstream.address, "drain: { delay: 1m }");
    let mut process = Process::start_with("delay", &file, None);
    assert_eq!(readiness(&process), 200);
    process.signal("TERM");
    wait_for("not ready", || readiness(&process) == 503);
    // Whoever has not heard it yet is served.
    answers(process.address, &upstream);
    process.signal("TERM");
    assert!(process.end().success());
}
