//! Endpoints that are found: in the DNS, of this process's making and of a real server, and in files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use support::dns::{Dns, Trouble};
use support::process::Process;
use support::{Bowline, SWITCHING, Upstream, Wire, handshake, wait_for};

/// An address of this process's own: on it a port is free on the others of its kind, too.
fn own(last: u8) -> IpAddr {
    let id = std::process::id();
    Ipv4Addr::new(127, 1 + (id >> 8) as u8 % 254, id as u8, last).into()
}

/// A port that nobody has on [`own`] addresses.
fn free() -> u16 {
    TcpListener::bind((own(1), 0)).unwrap().local_addr().unwrap().port()
}

/// A server there that answers every request with its own address.
fn named(address: impl Into<SocketAddr>) -> SocketAddr {
    let mut address = address.into();
    if address.port() == 0 {
        address = TcpListener::bind(address).unwrap().local_addr().unwrap();
    }
    Upstream::serving_at(address, move |mut wire| {
        while wire.has_more() {
            wire.head();
            let name = address.to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", name.len());
            if !wire.try_send(head + &name) {
                return;
            }
        }
    })
}

/// What a question costs in these tests: it is asked anew after 0.2 s, and has 0.9 s.
fn resolver(dns: SocketAddr) -> String {
    format!("resolver: {{ servers: [ \"{dns}\" ], timeout: 900ms, min_ttl: 200ms, max_ttl: 1s }}\n")
}

/// One upstream of `endpoints`, whose turns are taken strictly.
fn yaml(endpoints: &str, extra: &str) -> String {
    format!(
        "workers: 2\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ name: r, upstream: up }} ]\n\
         upstreams: {{ up: {{ {endpoints}, balance: round_robin }} }}\n{extra}\n"
    )
}

fn ask(address: SocketAddr) -> (u16, String) {
    let mut client = Wire::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = client.answer();
    (answer.status, answer.text())
}

/// How often who answers, of so many requests.
fn shares(address: SocketAddr, requests: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        let (status, name) = ask(address);
        assert_eq!(status, 200, "{name}");
        *shares.entry(name).or_default() += 1;
    }
    shares
}

fn names(of: &[SocketAddr]) -> BTreeSet<String> {
    of.iter().map(SocketAddr::to_string).collect()
}

/// Waits until these answer, and nobody else.
fn wait_for_answers(address: SocketAddr, of: &[SocketAddr]) {
    wait_for(&format!("answers of {of:?}"), || {
        let who: BTreeSet<_> = (0..2 * of.len()).map(|_| ask(address).1).collect();
        who == names(of)
    });
}

const SIZE: &str = "bowline_upstream_endpoints{upstream=\"up\"}";
const SUCCESS: &str = "bowline_discovery_success{upstream=\"up\"}";
const FAILURES: &str = "bowline_discovery_failures_total{upstream=\"up\"}";

#[test]
fn every_address_of_a_name_is_an_endpoint_and_changes_are_followed() {
    let (dns, port) = (Dns::new(0), free());
    let v6: IpAddr = "::1".parse().unwrap();
    let all = [own(1), own(2), own(3), v6].map(|ip| named((ip, port)));
    let written = named((own(4), 0));
    dns.is("chat.test", &[own(1), own(2), v6]);
    let endpoints = format!("endpoints: [ \"{written}\", \"dns://chat.test:{port}\" ]");
    let bowline = Bowline::with(&yaml(&endpoints, &resolver(dns.address)));
    // The first request already meets all of them: sources are heard before the listeners accept.
    let who: BTreeSet<_> = (0..4).map(|_| ask(bowline.address).1).collect();
    assert_eq!(who, names(&[all[0], all[1], all[3], written]));
    assert_eq!(bowline.metric(SIZE), 4.0);
    dns.is("chat.test", &[own(2), own(3)]);
    wait_for_answers(bowline.address, &[all[1], all[2], written]);
    assert_eq!(bowline.metric(SIZE), 3.0);
    assert_eq!((bowline.metric(SUCCESS), bowline.metric(FAILURES)), (1.0, 0.0));
}

#[test]
fn what_is_found_at_the_start_is_warm_and_who_joins_later_begins_slowly() {
    let (dns, port) = (Dns::new(0), free());
    let [first, second, later] = [1, 2, 3].map(|last| named((own(last), port)));
    let written = named((own(4), 0));
    dns.is("chat.test", &[first.ip(), second.ip()]);
    let endpoints =
        format!("slow_start: 1h, endpoints: [ \"{written}\", \"dns://chat.test:{port}\" ]");
    let bowline = Bowline::with(&yaml(&endpoints, &resolver(dns.address)));
    assert!(shares(bowline.address, 30).into_values().all(|count| count == 10));
    dns.is("chat.test", &[first.ip(), second.ip(), later.ip()]);
    bowline.wait_metric(SIZE, 4.0);
    // A tenth of its share; a quarter would be 20.
    let shares = shares(bowline.address, 80);
    let newcomer = shares.get(&later.to_string()).copied().unwrap_or_default();
    assert!(newcomer < 10 && shares[&first.to_string()] > 20, "{shares:?}");
}

#[test]
fn srv_records_bring_ports_weights_and_backups() {
    let dns = Dns::new(0);
    let [heavy, light, backup] = [1, 2, 3].map(|last| named((own(last), 0)));
    for (name, address) in [("a.test", heavy), ("b.test", light), ("c.test", backup)] {
        dns.is(name, &[address.ip()]);
    }
    let services = [
        (10, 30_000, heavy.port(), "a.test"),
        (10, 10_000, light.port(), "b.test"),
        (20, 60_000, backup.port(), "c.test"),
    ];
    dns.services("_ws._tcp.chat.test", &services);
    let endpoints = "endpoints: [ \"dns+srv://_ws._tcp.chat.test\" ]";
    let bowline = Bowline::with(&yaml(endpoints, &resolver(dns.address)));
    let expected = BTreeMap::from([(heavy.to_string(), 60), (light.to_string(), 20)]);
    let shares = shares(bowline.address, 80);
    // 30,000 of the heaviest, 60,000, are 128 of 256; 10,000 are 43.
    let off = shares.iter().map(|(name, count)| count.abs_diff(expected[name])).max().unwrap();
    assert!(shares.len() == 2 && off <= 2, "{shares:?}");
    assert_eq!(bowline.metric(SIZE), 3.0);
    // When nothing better is left, the backup is none any more.
    dns.services("_ws._tcp.chat.test", &services[2..]);
    wait_for_answers(bowline.address, &[backup]);
}

#[test]
fn while_the_dns_fails_in_whatever_way_the_last_endpoints_stay() {
    let (dns, port) = (Dns::new(0), free());
    let [first, second] = [own(1), own(2)].map(|ip| named((ip, port)));
    let kinds =
        [Trouble::ServFail, Trouble::NxDomain, Trouble::Empty, Trouble::Silence, Trouble::Noise];
    dns.is("chat.test", &[first.ip()]);
    let endpoints = format!("endpoints: [ \"dns://chat.test:{port}\" ]");
    let extra = format!("admin: {{ address: 127.0.0.1:0 }}\n{}", resolver(dns.address));
    let process = Process::start("dns-fails", &yaml(&endpoints, &extra), None);
    wait_for("the first answer", || process.metric(SUCCESS) == 1.0);
    let told = |what: &str| process.logged().matches(what).count();
    for (round, trouble) in kinds.into_iter().enumerate() {
        let (now, next) = if round % 2 == 0 { (first, second) } else { (second, first) };
        let failures = process.metric(FAILURES);
        dns.has(Some(trouble));
        // More than one: the state is told once, however often it is met.
        wait_for(&format!("{trouble:?}"), || process.metric(FAILURES) >= failures + 2.0);
        assert_eq!(process.metric(SUCCESS), 0.0, "{trouble:?}");
        assert_eq!(ask(process.address), (200, now.to_string()), "{trouble:?}");
        assert_eq!(told("endpoints cannot be found"), round + 1, "{}", process.logged());
        dns.has(None);
        dns.is("chat.test", &[next.ip()]);
        wait_for_answers(process.address, &[next]);
        assert_eq!(process.metric(SUCCESS), 1.0);
        assert_eq!(told("endpoints can be found again"), round + 1);
    }
    assert!(!process.logged().contains("hickory"), "{}", process.logged());
}

#[test]
fn a_server_that_stumbles_over_one_kind_of_address_takes_nothing_away() {
    let (dns, port) = (Dns::new(0), free());
    let address = named((own(1), port));
    dns.is("a.test", &[own(1)]);
    dns.services("_ws._tcp.test", &[(1, 1, port, "a.test"), (1, 1, port, "gone.test")]);
    let bowline =
        Bowline::with(&yaml("endpoints: [ \"dns+srv://_ws._tcp.test\" ]", &resolver(dns.address)));
    // A target that does not exist is left out, and the other one is there.
    assert_eq!(ask(bowline.address), (200, address.to_string()));
    assert_eq!((bowline.metric(SIZE), bowline.metric(SUCCESS)), (1.0, 1.0));
}

#[test]
fn whoever_has_no_answer_at_the_start_begins_without_endpoints_and_gets_them_later() {
    let (dns, port) = (Dns::new(0), free());
    let address = named((own(1), port));
    dns.is("chat.test", &[own(1)]);
    dns.has(Some(Trouble::Silence));
    let endpoints = format!("endpoints: [ \"dns://chat.test:{port}\" ]");
    let bowline = Bowline::with(&yaml(&endpoints, &resolver(dns.address)));
    assert_eq!(ask(bowline.address).0, 503);
    assert_eq!((bowline.metric(SIZE), bowline.metric(SUCCESS)), (0.0, 0.0));
    dns.has(None);
    wait_for_answers(bowline.address, &[address]);
    bowline.wait_metric(SUCCESS, 1.0);
}

/// Opens a WebSocket, at whichever of `upstreams` it lands; its index is what comes with both ends.
fn open(bowline: SocketAddr, upstreams: &[&Upstream]) -> (usize, Wire, Wire) {
    let mut client = Wire::connect(bowline);
    client.send(handshake("/ws", ""));
    let mut landed = None;
    wait_for("an upstream to be dialled", || {
        let mut there = upstreams.iter().enumerate();
        landed = there.find_map(|(at, one)| Some((at, one.try_accept()?)));
        landed.is_some()
    });
    let (at, mut server) = landed.unwrap();
    server.head();
    server.send(SWITCHING);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    (at, client, server)
}

/// A message each way.
fn lives(client: &mut Wire, server: &mut Wire) {
    client.send(b"\x81\x82\0\0\0\0hi");
    assert_eq!(server.exactly(8)[..2], [0x81, 0x82]);
    server.send(b"\x81\x02ho");
    assert_eq!(client.exactly(4), b"\x81\x02ho");
}

#[test]
fn sockets_to_an_address_that_vanished_are_drained_and_all_others_are_untouched_and_counted() {
    let (dns, port) = (Dns::new(0), free());
    let [stays, goes, comes] = [1, 2, 3].map(|last| Upstream::at((own(last), port).into()));
    dns.is("chat.test", &[own(1), own(2)]);
    let endpoints = format!("endpoints: [ \"dns://chat.test:{port}\" ]");
    let extra = format!(
        "{}websocket: {{ heartbeat: {{ interval: off }}, close_timeout: 1s }}\ndrain: {{ spread: 1s }}\n",
        resolver(dns.address)
    );
    let text = yaml(&endpoints, &extra).replace("round_robin", "least_connections");
    let bowline = Bowline::with(&text);
    let mut sockets: Vec<_> = (0..20).map(|_| open(bowline.address, &[&stays, &goes])).collect();
    assert_eq!(sockets.iter().filter(|(at, ..)| *at == 0).count(), 10);
    dns.is("chat.test", &[own(1), own(3)]);
    for (at, client, server) in &mut sockets {
        if *at == 0 {
            lives(client, server);
        } else {
            // A Close with 1012 at both ends.
            let header = client.exactly(4);
            assert_eq!((header[0], u16::from_be_bytes([header[2], header[3]])), (0x88, 1012));
        }
    }
    sockets.retain(|(at, ..)| *at == 0);
    let tunnels = |last| {
        format!(
            "bowline_endpoint_tunnels{{upstream=\"up\",endpoint=\"{}\"}}",
            SocketAddr::new(own(last), port)
        )
    };
    assert_eq!(bowline.metric(&tunnels(1)), 10.0);
    // The ten that stayed count: the next ten all go to the newcomer.
    let fresh: Vec<_> = (0..10).map(|_| open(bowline.address, &[&stays, &comes])).collect();
    assert!(fresh.iter().all(|(at, ..)| *at == 1));
    sockets.iter_mut().for_each(|(_, client, server)| lives(client, server));
    // What left is forgotten once its last socket is gone, whoever else is still there.
    wait_for("the endpoint to be forgotten", || !bowline.metrics.encode().contains(&tunnels(2)));
}

#[test]
fn sockets_to_an_address_that_vanished_live_on_where_the_configuration_says_so() {
    let (dns, port) = (Dns::new(0), free());
    let [stays, goes] = [1, 2].map(|last| Upstream::at((own(last), port).into()));
    dns.is("chat.test", &[own(1), own(2)]);
    let endpoints = format!("endpoints: [ \"dns://chat.test:{port}\" ]");
    let extra = format!(
        "{}websocket: {{ heartbeat: {{ interval: off }} }}\ndrain: {{ spread: 0s, on_removed: keep }}\n",
        resolver(dns.address)
    );
    let bowline = Bowline::with(&yaml(&endpoints, &extra));
    let mut sockets: Vec<_> = (0..4).map(|_| open(bowline.address, &[&stays, &goes])).collect();
    dns.is("chat.test", &[own(1)]);
    bowline.wait_metric(SIZE, 1.0);
    // New ones go to who is there; the old ones feel nothing.
    assert!((0..4).all(|_| open(bowline.address, &[&stays, &goes]).0 == 0));
    sockets.iter_mut().for_each(|(_, client, server)| lives(client, server));
    assert_eq!(sockets.iter().filter(|(at, ..)| *at == 1).count(), 2);
}

#[test]
fn a_hundred_changes_fail_no_request_and_close_no_socket() {
    let (dns, port) = (Dns::new(0), free());
    let [a, b, c] = [1, 2, 3].map(|last| named((own(last), port)).ip());
    let sockets_of = Upstream::at((own(4), port).into());
    let written = sockets_of.address;
    // Every question is answered with another list.
    let lists: [&[IpAddr]; 4] = [&[a, b], &[b, c], &[a, b, c], &[c]];
    let turns: Vec<_> = lists.into_iter().cycle().take(110).collect();
    dns.turns("web.test", &turns);
    let text = format!(
        "workers: 2\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
         routes: [ {{ upstream: web }}, {{ match: {{ path: /ws }}, upstream: live }} ]\n\
         upstreams: {{ web: {{ endpoints: [ \"dns://web.test:{port}\" ] }}, live: {{ endpoints: [ \"{written}\" ] }} }}\n{}",
        resolver(dns.address).replace("200ms", "100ms")
    );
    let bowline = Bowline::with(&text);
    let mut sockets: Vec<_> = (0..50).map(|_| support::tunnel(&bowline, &sockets_of)).collect();
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = bowline.client();
                while !done.load(Ordering::Relaxed) {
                    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                    assert_eq!(client.answer().status, 200);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Two questions a time, and slower on a busy machine: twenty bounds of a wait.
        for share in 1..=20 {
            let upto = share * 10;
            wait_for("ten more questions", || dns.asked() >= upto);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 100);
    for (client, server) in &mut sockets {
        client.send(b"up");
        assert_eq!(server.exactly(2), b"up");
    }
    // Changes are no configurations.
    assert_eq!(bowline.metric("bowline_config_generations"), 1.0);
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("discovery").join(name);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn list(of: &[SocketAddr]) -> String {
    of.iter().map(|one| format!("- \"{one}\"\n")).collect()
}

fn bowline(arguments: &[&str]) -> (i32, String) {
    let said = Command::new(env!("CARGO_BIN_EXE_bowline")).args(arguments).output().unwrap();
    let text = [said.stdout, said.stderr].concat();
    (said.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// `bowline reload` to a running one.
fn reload(process: &Process) -> String {
    let (status, said) = bowline(&["reload", "--admin", &process.admin().to_string()]);
    assert_eq!(status, 0, "{said}");
    said
}

#[test]
fn a_file_of_endpoints_is_followed_and_its_mistakes_change_nothing() {
    let folder = folder("file");
    let [a, b, c] = [1, 2, 3].map(|last| named((own(last), 0)));
    let file = folder.join("list.yaml");
    fs::write(&file, list(&[a])).unwrap();
    let config = folder.join("config.yaml");
    // Found from the folder of the configuration.
    let text = yaml("endpoints_file: list.yaml", "admin: { address: 127.0.0.1:0 }");
    fs::write(&config, text).unwrap();
    let process = Process::start_with("endpoints-file", &config, None);
    assert_eq!(ask(process.address), (200, a.to_string()));
    // In place, and with a weight.
    fs::write(&file, format!("{}- {{ address: \"{b}\", weight: 3 }}\n", list(&[a]))).unwrap();
    wait_for_answers(process.address, &[a, b]);
    assert_eq!(shares(process.address, 8)[&b.to_string()], 6);
    // Broken, half-written, empty, gone: what holds is what was good last.
    let kinds: [(&str, Option<&str>, &str); 4] = [
        ("broken", Some("- 10.0.0.1:1\n- { adress: x }\n"), "list.yaml:2:5"),
        ("half", Some("- \"127.0.0"), "list.yaml:1:"),
        ("empty", Some("[]"), "the list is empty"),
        ("gone", None, "there is no such file"),
    ];
    for (round, (what, text, told)) in kinds.into_iter().enumerate() {
        match text {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        wait_for(what, || process.logged().contains(told));
        assert_eq!(process.metric(SUCCESS), 0.0, "{what}");
        assert!(process.metric(FAILURES) >= 1.0 + round as f64, "{what}");
        assert_eq!(shares(process.address, 8).len(), 2, "{what}");
        // Mended before the next one, by a rename as editors do.
        let now = if round % 2 == 0 { [a, c] } else { [a, b] };
        fs::write(folder.join("next"), list(&now)).unwrap();
        fs::rename(folder.join("next"), &file).unwrap();
        wait_for("the mended list", || process.metric(SUCCESS) == 1.0);
        wait_for_answers(process.address, &now);
        if round % 2 == 0 {
            fs::write(&file, list(&[a, b])).unwrap();
            wait_for_answers(process.address, &[a, b]);
        }
    }
}

#[test]
fn a_folder_that_a_link_swaps_and_a_list_in_json_are_noticed() {
    let folder = folder("swap");
    let [a, b] = [1, 2].map(|last| named((own(last), 0)));
    for (version, text) in [("v1", list(&[a])), ("v2", format!("[ {{ \"address\": \"{b}\" }} ]"))] {
        fs::create_dir_all(folder.join(version)).unwrap();
        fs::write(folder.join(version).join("list"), text).unwrap();
    }
    symlink("v1", folder.join("data")).unwrap();
    let file = folder.join("data/list");
    let bowline = Bowline::with(&yaml(&format!("endpoints_file: {}", file.display()), ""));
    assert_eq!(ask(bowline.address), (200, a.to_string()));
    symlink("v2", folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("data")).unwrap();
    wait_for_answers(bowline.address, &[b]);
}

#[test]
fn a_reload_keeps_what_was_found_and_waits_for_what_is_new() {
    let (dns, port) = (Dns::new(0), free());
    let [first, second, written] = [1, 2, 3].map(|last| named((own(last), port)));
    dns.is("one.test", &[first.ip()]);
    dns.is("two.test", &[second.ip()]);
    let extra = format!("admin: {{ address: 127.0.0.1:0 }}\n{}", resolver(dns.address));
    let text = |name: &str, more: &str| {
        yaml(&format!("endpoints: [ \"dns://{name}:{port}\"{more} ]"), &extra)
    };
    let listener = SocketAddr::new(own(9), free());
    let text =
        |name: &str, more: &str| text(name, more).replacen("127.0.0.1:0", &listener.to_string(), 1);
    let process = Process::start("discovery-reload", &text("one.test", ""), None);
    wait_for("the first answer", || process.metric(SUCCESS) == 1.0);
    dns.has(Some(Trouble::Silence));
    wait_for("silence to be told", || process.metric(SUCCESS) == 0.0);
    // Something else changes: the list stays, and nobody waits for it.
    fs::write(&process.file, text("one.test", &format!(", \"{written}\""))).unwrap();
    assert_eq!(reload(&process), format!("~ upstream up\n+ endpoint up/{written}\n"));
    assert_eq!(shares(listener, 8).into_keys().collect::<BTreeSet<_>>(), names(&[first, written]));
    // Another resolver begins anew, and has the old list until it hears more.
    let other = text("one.test", "").replace("max_ttl: 1s", "max_ttl: 2s");
    fs::write(&process.file, other).unwrap();
    reload(&process);
    assert_eq!(ask(listener), (200, first.to_string()));
    dns.has(None);
    wait_for("an answer", || process.metric(SUCCESS) == 1.0);
    // What is new is asked for before the old one goes.
    fs::write(&process.file, text("two.test", "")).unwrap();
    let said = reload(&process);
    assert!(said.contains(&format!("+ source up/dns://two.test:{port}\n")), "{said}");
    assert!(said.contains(&format!("- source up/dns://one.test:{port}\n")), "{said}");
    assert_eq!(ask(listener), (200, second.to_string()));
    // And the old one is asked for no more.
    dns.is("one.test", &[]);
    dns.is("two.test", &[first.ip()]);
    wait_for_answers(listener, &[first]);
    assert_eq!(process.metric(SUCCESS), 1.0);
}

#[test]
fn a_reload_to_a_name_that_is_not_found_is_refused_and_drains_nobody() {
    let (dns, upstream, listener) = (Dns::new(0), Upstream::new(), SocketAddr::new(own(9), free()));
    let extra = format!("admin: {{ address: 127.0.0.1:0 }}\n{}", resolver(dns.address));
    let text = |endpoints: &str| {
        yaml(&format!("endpoints: [ {endpoints} ]"), &extra).replacen(
            "127.0.0.1:0",
            &listener.to_string(),
            1,
        )
    };
    let written = format!("\"{}\"", upstream.address);
    let process = Process::start("discovery-unfound", &text(&written), None);
    let (_, mut client, mut server) = open(listener, &[&upstream]);
    fs::write(&process.file, text("\"dns://misspelt.test:1\"")).unwrap();
    let admin = process.admin().to_string();
    let (status, said) = bowline(&["reload", "--admin", &admin]);
    assert_ne!(status, 0, "{said}");
    assert!(said.contains("upstream `up` would have no endpoints"), "{said}");
    lives(&mut client, &mut server);
    let drained = process.metric("bowline_tunnels{route=\"r\"}");
    assert_eq!(drained, 1.0);
    // Beside an address that is written down it may be found later.
    fs::write(&process.file, text(&format!("{written}, \"dns://misspelt.test:1\""))).unwrap();
    reload(&process);
    lives(&mut client, &mut server);
}

#[test]
fn check_reads_lists_and_resolves_nothing_and_explain_says_where_endpoints_come_from() {
    let folder = folder("cli");
    let config = folder.join("config.yaml");
    let path = config.to_str().unwrap();
    let text = |resolver: &str| {
        yaml(
            "endpoints: [ \"10.0.0.1:1\", { address: \"dns://chat.test:9001\", backup: true } ], endpoints_file: list.yaml",
            resolver,
        )
    };
    fs::write(&config, text("resolver: { servers: [ 127.0.0.1 ] }")).unwrap();
    let (status, said) = bowline(&["check", path]);
    assert!(status == 64 && said.contains("there is no such file"), "{said}");
    let file = folder.join("list.yaml");
    fs::write(&file, "- 10.0.0.2:1\n- dns://a.test:1\n- 10.0.0.3\n").unwrap();
    let (status, said) = bowline(&["check", path]);
    assert_eq!(status, 64, "{said}");
    assert!(said.contains("list.yaml:2:3: `dns://a.test:1` cannot stand in a file"), "{said}");
    assert!(said.contains("list.yaml:3:3: `10.0.0.3` has no port"), "{said}");
    fs::write(&file, "- 10.0.0.2:1\n").unwrap();
    let (status, said) = bowline(&["check", path]);
    assert_eq!(status, 0, "{said}");
    let (_, said) = bowline(&["explain", path, "GET", "http://a/"]);
    let expected = format!(
        "(10.0.0.1:1, dns://chat.test:9001 backup, file {} by round_robin)",
        file.display()
    );
    assert!(said.contains(&expected), "{said}");
    let other = folder.join("other.yaml");
    fs::write(&other, text("").replace("9001", "9002")).unwrap();
    let (_, said) = bowline(&["diff", path, other.to_str().unwrap()]);
    assert_eq!(
        said,
        "~ upstream up\n+ source up/dns://chat.test:9002\n- source up/dns://chat.test:9001\n~ resolver\n"
    );
}

/// dnsmasq(8) with hosts of a file; ends with the test.
struct Dnsmasq {
    child: Child,
    hosts: PathBuf,
}

impl Dnsmasq {
    /// `None` where it is not installed.
    fn start(folder: &Path, address: SocketAddr, hosts: &str, more: &[&str]) -> Option<Self> {
        let file = folder.join("hosts");
        fs::write(&file, hosts).unwrap();
        let program = ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq", "/usr/local/sbin/dnsmasq"];
        let program = program.into_iter().find(|path| Path::new(path).exists())?;
        let child = Command::new(program)
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
            .args(["--bind-interfaces", "--local=/test/", "--local-ttl=0", "--pid-file="])
            .arg(format!("--listen-address={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--addn-hosts={}", file.display()))
            .args(more)
            .spawn()
            .unwrap();
        Some(Self { child, hosts: file })
    }

    fn says(&self, hosts: &str) {
        fs::write(&self.hosts, hosts).unwrap();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn dnsmasq_is_followed_through_changes_its_end_and_its_return() {
    let (folder, port) = (folder("dnsmasq"), free());
    let [a, b] = [1, 2].map(|last| named((own(last), port)));
    let line = |of: &[SocketAddr], name: &str| -> String {
        of.iter().map(|one| format!("{} {name}\n", one.ip())).collect()
    };
    let service = named((own(3), 0));
    let hosts = |of: &[SocketAddr]| line(of, "chat.test") + &line(&[service], "target.test");
    let srv = format!("--srv-host=_ws._tcp.chat.test,target.test,{},1,5", service.port());
    let address = SocketAddr::new(own(53), free());
    let Some(dns) = Dnsmasq::start(&folder, address, &hosts(&[a]), &[&srv]) else {
        eprintln!("left out: dnsmasq is not installed");
        return;
    };
    let endpoints =
        format!("endpoints: [ \"dns://chat.test:{port}\", \"dns+srv://_ws._tcp.chat.test\" ]");
    let bowline = Bowline::with(&yaml(&endpoints, &resolver(address)));
    wait_for_answers(bowline.address, &[a, service]);
    dns.says(&hosts(&[a, b]));
    wait_for_answers(bowline.address, &[a, b, service]);
    let failures = bowline.metric(FAILURES);
    drop(dns);
    wait_for("its end to be noticed", || bowline.metric(FAILURES) >= failures + 2.0);
    wait_for_answers(bowline.address, &[a, b, service]);
    let many: String =
        (0..200).map(|n| format!("127.99.{}.{} many.test\n", n / 100, n % 100 + 1)).collect();
    let _back = Dnsmasq::start(&folder, address, &(hosts(&[b]) + &many), &[&srv]).unwrap();
    wait_for_answers(bowline.address, &[b, service]);
    // More answers than one datagram holds come over TCP.
    let many = format!("endpoints: [ \"dns://many.test:{port}\" ]");
    let bowline = Bowline::with(&yaml(&many, &resolver(address)));
    bowline.wait_metric(SIZE, 200.0);
}
