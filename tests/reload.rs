//! Reloads: what is asked for in which way, what changes, and what nobody must feel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use support::process::Process;
use support::{SWITCHING, Upstream, Wire, handshake, node, wait_for};

/// What a configuration of these tests says beyond its upstreams.
const FRONT: &str = "workers: 2\nadmin: { address: 127.0.0.1:0 }\nwebsocket: { frames: opaque }\n";

fn yaml(listeners: &[SocketAddr], upstream: SocketAddr, extra: &str) -> String {
    let listeners: Vec<_> =
        listeners.iter().map(|address| format!("{{ address: \"{address}\" }}")).collect();
    format!(
        "{FRONT}listeners: [ {} ]\nroutes: [ {{ name: r, upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{upstream}\" ] }} }}\n{extra}\n",
        listeners.join(", ")
    )
}

/// A port that is free, so that a listener has the same address in every version of a file. On an
/// address of this process's own: nobody else takes the port meanwhile.
fn free() -> SocketAddr {
    let id = std::process::id();
    let own = std::net::Ipv4Addr::new(127, 1 + (id >> 8) as u8 % 254, id as u8, 1);
    std::net::TcpListener::bind((own, 0)).unwrap().local_addr().unwrap()
}

/// Opens a tunnel: its client's end and its upstream's.
fn tunnel(bowline: SocketAddr, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = Wire::connect(bowline);
    client.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    server.send(SWITCHING);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    (client, server)
}

fn echoes((client, server): &mut (Wire, Wire)) {
    client.send(b"up");
    assert_eq!(server.exactly(2), b"up");
    server.send(b"down");
    assert_eq!(client.exactly(4), b"down");
}

/// Who answers at `address`.
fn who(address: SocketAddr) -> String {
    let mut client = Wire::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    String::from_utf8(client.answer().body).unwrap()
}

fn bowline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bowline")).args(arguments).output().unwrap()
}

/// `bowline reload` to a running one: its status and all it says.
fn reload(process: &Process, more: &[&str]) -> (i32, String) {
    let admin = process.admin().to_string();
    let said = bowline(&[&["reload", "--admin", &admin], more].concat());
    let text = [said.stdout, said.stderr].concat();
    (said.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn sighup_moves_new_requests_and_no_open_socket() {
    let (old, new) = (Upstream::new(), node("new"));
    let listener = free();
    let process = Process::start("sighup", &yaml(&[listener], old.address, ""), None);
    let mut sockets: Vec<_> = (0..20).map(|_| tunnel(listener, &old)).collect();
    fs::write(&process.file, yaml(&[listener], new, "")).unwrap();
    process.signal("HUP");
    wait_for("the new upstream", || process.logged().contains("configuration reloaded"));
    assert_eq!(who(listener), "new");
    sockets.iter_mut().for_each(echoes);
    assert_eq!(process.metric("bowline_config_reload_success"), 1.0);
    assert_eq!(process.metric("bowline_config_reloads_total{result=\"done\"}"), 1.0);
    // Workers let go of the old plan when they next look round.
    wait_for("one plan in use", || process.metric("bowline_config_generations") == 1.0);
    sockets.iter_mut().for_each(echoes);
}

#[test]
fn a_changed_file_is_read_however_it_was_changed() {
    let (listener, names) = (free(), ["first", "second", "third", "fourth"].map(node));
    let text = |at: usize| yaml(&[listener], names[at], "");
    let process = Process::start("watched", &text(0), None);
    assert_eq!(who(listener), "first");
    // In place, as `cat >` does.
    fs::write(&process.file, text(1)).unwrap();
    wait_for("the second", || who(listener) == "second");
    // By a rename, as editors do.
    let beside = process.file.with_extension("yaml.new");
    fs::write(&beside, text(2)).unwrap();
    fs::rename(&beside, &process.file).unwrap();
    wait_for("the third", || who(listener) == "third");
    // Half of it: refused, and then the rest comes.
    let whole = text(3);
    fs::write(&process.file, &whole[..whole.len() / 2]).unwrap();
    wait_for("a refusal", || process.logged().contains("configuration not reloaded"));
    assert_eq!(who(listener), "third");
    assert_eq!(process.metric("bowline_config_reload_success"), 0.0);
    fs::write(&process.file, whole).unwrap();
    wait_for("the fourth", || who(listener) == "fourth");
    assert_eq!(process.metric("bowline_config_reload_success"), 1.0);
}

#[test]
fn a_folder_that_a_link_swaps_is_noticed() {
    let (listener, names) = (free(), ["one", "two"].map(node));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("swapped");
    fs::remove_dir_all(&folder).ok();
    for (version, name) in ["v1", "v2"].into_iter().zip(names) {
        fs::create_dir_all(folder.join(version)).unwrap();
        fs::write(folder.join(version).join("config.yaml"), yaml(&[listener], name, "")).unwrap();
    }
    symlink("v1", folder.join("data")).unwrap();
    let process = Process::start_with("swapped", &folder.join("data/config.yaml"), None);
    assert_eq!(who(listener), "one");
    symlink("v2", folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("data")).unwrap();
    wait_for("the second", || who(listener) == "two");
    drop(process);
}

#[test]
fn listeners_come_and_go_and_the_kept_one_is_never_bound_again() {
    let (kept, gone, fresh) = (free(), free(), free());
    let upstream = Upstream::new();
    let process = Process::start("listeners", &yaml(&[kept, gone], upstream.address, ""), None);
    let mut sockets = [tunnel(kept, &upstream), tunnel(gone, &upstream)];
    let limited = yaml(&[kept, fresh], upstream.address, "").replacen(
        &format!("\"{kept}\""),
        &format!("\"{kept}\", limits: {{ connections: 2 }}"),
        1,
    );
    fs::write(&process.file, limited).unwrap();
    assert_eq!(
        reload(&process, &[]),
        (0, format!("+ listener {fresh}\n- listener {gone}\n~ listener {kept}\n"))
    );
    wait_for("the listener to close", || std::net::TcpStream::connect(gone).is_err());
    sockets.iter_mut().for_each(echoes);
    drop(tunnel(fresh, &upstream));
    // Who was in before the limit came counts too.
    let _second = tunnel(kept, &upstream);
    let mut third = Wire::connect(kept);
    assert!(!third.has_more(), "one too many was let in");
}

#[test]
fn a_port_in_use_or_a_mistake_changes_nothing_and_is_told_where_it_was_asked() {
    let (listener, taken) = (free(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let (old, new) = (node("old"), node("new"));
    let process = Process::start("refused", &yaml(&[listener], old, ""), None);
    let taken = taken.local_addr().unwrap();
    // Written beside it, so that only what is asked for reads it.
    for (text, code, told) in [
        (yaml(&[listener, taken], new, ""), 64, "the port is in use"),
        (yaml(&[listener], new, "drain: { spread: 5h }\nlog: { levle: info }"), 64, ".yaml:"),
        (String::new(), 64, "listeners"),
    ] {
        fs::write(&process.file, text).unwrap();
        let (status, said) = reload(&process, &[]);
        assert_eq!(status, code, "{said}");
        assert!(said.contains(told), "{said}");
        assert_eq!(who(listener), "old");
    }
    assert!(process.metric("bowline_config_reloads_total{result=\"refused\"}") >= 3.0);
    fs::remove_file(&process.file).unwrap();
    let (status, said) = reload(&process, &[]);
    assert_eq!(status, 64, "{said}");
    assert_eq!(who(listener), "old");
}

#[test]
fn a_dry_run_and_a_diff_tell_what_would_change_and_change_nothing() {
    let listener = free();
    let (old, new) = (node("old"), node("new"));
    let process = Process::start("dry", &yaml(&[listener], old, ""), None);
    let before = process.file.with_extension("before.yaml");
    fs::copy(&process.file, &before).unwrap();
    let text = yaml(&[listener], new, "log: { level: warn }").replace("workers: 2", "workers: 3");
    let changes = format!(
        "~ upstream up\n+ endpoint up/{new}\n- endpoint up/{old}\n~ log.level\n\
         ! workers (takes effect with a restart)\n"
    );
    let after = process.file.with_extension("after.yaml");
    fs::write(&after, &text).unwrap();
    let said = bowline(&["diff", before.to_str().unwrap(), after.to_str().unwrap()]);
    assert_eq!((said.status.code(), said.stdout), (Some(1), changes.clone().into_bytes()));
    let same = bowline(&["diff", before.to_str().unwrap(), before.to_str().unwrap()]);
    assert_eq!((same.status.code(), same.stdout), (Some(0), Vec::new()));
    fs::write(&process.file, &text).unwrap();
    let (status, said) = reload(&process, &["--dry-run"]);
    // Unless the change of the file was noticed first.
    if said != "! workers (takes effect with a restart)\n" {
        assert_eq!((status, said), (0, changes));
    }
}

#[test]
fn who_may_come_no_more_is_refused_on_the_connection_that_is_open_too() {
    let (listener, server) = (free(), node("it"));
    let text = yaml(&[listener], server, "");
    let process = Process::start("deny", &text, None);
    let mut client = Wire::connect(listener);
    let mut status = || {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.answer().status
    };
    assert_eq!(status(), 200);
    let address = format!("{{ address: \"{listener}\"");
    let denied = text.replace(&address, &format!("{address}, deny: [ 127.0.0.0/8 ]"));
    fs::write(&process.file, denied).unwrap();
    let (code, said) = reload(&process, &[]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(status(), 403);
}

#[test]
fn two_hundred_reloads_fail_no_request_and_close_no_socket() {
    let (listener, upstream) = (free(), Upstream::new());
    let server = node("it");
    let text = |number: usize| {
        let route = format!(
            "{{ name: ws, match: {{ path: /ws }}, upstream: live }}, {{ name: n{number}, match: {{ path: /n{number} }}, upstream: up }}, "
        );
        let up = format!("upstreams: {{ live: {{ endpoints: [ \"{}\" ] }}, ", upstream.address);
        yaml(&[listener], server, "")
            .replace("routes: [ ", &format!("routes: [ {route}"))
            .replace("upstreams: { ", &up)
    };
    let process = Process::start("many", &text(0), None);
    let mut sockets: Vec<_> = (0..200).map(|_| tunnel(listener, &upstream)).collect();
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Wire::connect(listener);
                while !done.load(Ordering::Relaxed) {
                    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                    assert_eq!(client.answer().body, b"it");
                    asked.fetch_add(1, Ordering::Relaxed);
                    // The reloads need some of the machine too.
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let address = process.admin();
        for number in 1..=200 {
            fs::write(&process.file, text(number)).unwrap();
            let mut admin = Wire::connect(address);
            admin.send(format!("POST /reload HTTP/1.1\r\nHost: {address}\r\n\r\n"));
            let answer = admin.answer();
            assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&answer.body));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 200);
    sockets.iter_mut().for_each(echoes);
    wait_for("one plan in use", || process.metric("bowline_config_generations") == 1.0);
    assert_eq!(process.metric("bowline_tunnels{route=\"ws\"}"), 200.0);
}

/// The code of a Close, once one comes; pings before it are passed over.
fn close_code(wire: &mut Wire) -> u16 {
    loop {
        let header = wire.exactly(2);
        let payload = wire.exactly(usize::from(header[1]));
        if header[0] == 0x88 {
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

#[test]
fn tunnels_of_what_is_gone_are_drained_at_a_pace_or_kept_and_the_others_feel_nothing() {
    for (word, drains) in [("drain", true), ("keep", false)] {
        let (listener, stays, goes) = (free(), Upstream::new(), Upstream::new());
        let extra = format!("drain: {{ spread: 1s, on_removed: {word} }}");
        let text = |endpoints: &str, route: &str| {
            yaml(&[listener], stays.address, &extra)
                .replace("websocket: { frames: opaque }\n", "websocket: { close_timeout: 1s }\n")
                .replace(
                    &format!("upstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}", stays.address),
                    &format!("upstreams: {{ up: {{ endpoints: [ {endpoints} ], balance: round_robin }} }}"),
                )
                .replace("routes: [ ", &format!("routes: [ {route}"))
        };
        let both = format!("\"{}\", \"{}\"", stays.address, goes.address);
        let other = "{ name: other, match: { path: /other }, upstream: up }, ";
        let process = Process::start(&format!("removed-{word}"), &text(&both, other), None);
        let open = |path: &str| {
            let mut client = Wire::connect(listener);
            client.send(handshake(path, ""));
            let mut at = None;
            wait_for("an upstream to be dialled", || {
                at = stays.try_accept().map(|wire| (wire, true));
                at = at.take().or_else(|| goes.try_accept().map(|wire| (wire, false)));
                at.is_some()
            });
            let (mut server, stays) = at.unwrap();
            server.head();
            server.send(SWITCHING);
            assert!(client.head().starts_with("HTTP/1.1 101 "));
            (client, server, stays)
        };
        let mut sockets: Vec<_> = (0..20).map(|_| open("/ws")).collect();
        let mut others: Vec<_> = (0..10).map(|_| open("/other")).collect();
        assert_eq!(sockets.iter().filter(|(_, _, stays)| *stays).count(), 10);
        fs::write(&process.file, text(&format!("\"{}\"", stays.address), "")).unwrap();
        let (status, said) = reload(&process, &[]);
        assert_eq!(status, 0, "{said}");
        assert!(said.contains(&format!("- endpoint up/{}", goes.address)), "{said}");
        assert!(said.contains("- route other"), "{said}");
        // A message each way: pings of the other side may stand before it.
        let lives = |client: &mut Wire, server: &mut Wire| {
            client.send(b"\x81\x82\0\0\0\0hi");
            assert_eq!(server.exactly(8)[..2], [0x81, 0x82]);
        };
        for (client, server, stays) in &mut sockets {
            if drains && !*stays {
                assert_eq!(close_code(client), 1012);
            } else {
                lives(client, server);
            }
        }
        for (client, server, _) in &mut others {
            if drains {
                assert_eq!(close_code(client), 1012);
            } else {
                lives(client, server);
            }
        }
    }
}

#[test]
fn a_reload_changes_the_gates_of_an_upstream_and_forgets_nobody() {
    let (listener, upstream) = (free(), Upstream::new());
    let text = |gates: &str| {
        yaml(&[listener], upstream.address, "").replace(" ] } }", &format!(" ], {gates} }} }}"))
    };
    let process = Process::start("gates", &text("max_connections: { upstream: 2 }"), None);
    let change = |gates: &str| {
        fs::write(&process.file, text(gates)).unwrap();
        let (status, said) = reload(&process, &[]);
        assert_eq!(status, 0, "{said}");
        assert!(said.contains("~ upstream up"), "{said}");
    };
    let refused = |named: &str| {
        let mut client = Wire::connect(listener);
        client.send(handshake("/ws", ""));
        let answer = client.answer();
        assert_eq!(answer.status, 503, "{}", answer.head);
        assert!(answer.header("proxy-status").unwrap().contains(named), "{}", answer.head);
    };
    let mut sockets: Vec<_> = (0..2).map(|_| tunnel(listener, &upstream)).collect();
    refused("max_connections.upstream: 2");
    // Three more with the old two, which count on.
    change("max_connections: { upstream: 5 }, queue: { size: 1, wait: 1m }");
    sockets.extend((0..3).map(|_| tunnel(listener, &upstream)));
    let mut waiting = Wire::connect(listener);
    waiting.send(handshake("/ws", ""));
    let queued = "bowline_upstream_queued_total{upstream=\"up\"}";
    wait_for("one to wait", || process.metric(queued) == 1.0);
    refused("and the queue is full");
    // Who waits lives by the plan that it came under, and is let in by an end of one that is older.
    change("max_connections: { upstream: 4 }");
    refused("max_connections.upstream: 4");
    sockets.remove(0);
    let mut server = upstream.accept();
    server.head();
    server.send(SWITCHING);
    assert!(waiting.head().starts_with("HTTP/1.1 101 "));
    sockets.push((waiting, server));
    refused("max_connections.upstream: 4");
    // One upgrade at a time, counted from those that were under way before.
    change("upgrades: { in_progress: 1, wait: 50ms }");
    let mut under_way = Wire::connect(listener);
    under_way.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    refused("upgrades.in_progress: 1");
    change("upgrades: { in_progress: 2, wait: 50ms }");
    sockets.push(tunnel(listener, &upstream));
    change("upgrades: { in_progress: 1, wait: 60ms }");
    refused("upgrades.in_progress: 1");
    server.send(SWITCHING);
    assert!(under_way.head().starts_with("HTTP/1.1 101 "));
    sockets.push((under_way, server));
    change("upgrades: { rate: 1, burst: 1, wait: 0s }");
    sockets.push(tunnel(listener, &upstream));
    refused("upgrades.rate");
    change("keep_alive: {}");
    sockets.extend((0..5).map(|_| tunnel(listener, &upstream)));
    sockets.iter_mut().for_each(echoes);
}
