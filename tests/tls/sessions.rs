//! Sessions that are taken up again: across reloads and processes, and not past a verdict.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::harness::{Authority, Folder, anonymous, ask, content, serving, trusting_in};
use crate::support::process::Process;
use crate::support::{Bowline, wait_for};

fn yaml(folder: &Folder, upstream: SocketAddr, tls: &str, extra: &str) -> String {
    format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- address: 127.0.0.1:0\n  \
         tls: {{ certificates: [ {} ] {tls} }}\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{upstream}\" ] }} }}\n{extra}\n",
        folder.entry("a")
    )
}

fn keys_file(path: &Path, keys: &[u8]) {
    let lines = keys.iter().map(|byte| format!("{}\n", BASE64.encode(&[*byte; 80])));
    fs::write(path, lines.collect::<String>()).unwrap();
}

#[test]
fn sessions_of_both_versions_are_resumed_across_a_reload() {
    let folder = Folder::new("resumed");
    folder.issue("a", &["a.example"]);
    let upstream = content();
    let process = Process::start("tls-resumed", &yaml(&folder, upstream, "", ""), None);
    let clients =
        [&TLS12, &TLS13].map(|version| Arc::new(trusting_in(&[version]).with_no_client_auth()));
    let resumed = |client| ask(process.address, client, "a.example").unwrap().resumed;
    for client in &clients {
        assert!(!resumed(client));
        assert!(resumed(client));
    }
    // A reload reads all certificates anew.
    folder.issue("a", &["a.example", "b.example"]);
    fs::write(&process.file, yaml(&folder, upstream, "", "via: other")).unwrap();
    process.signal("HUP");
    wait_for("the reload", || process.logged().contains("configuration reloaded"));
    for (client, version) in clients.iter().zip(["1.2", "1.3"]) {
        assert!(resumed(client));
        let series =
            format!("bowline_tls_handshakes_total{{version=\"{version}\",resumed=\"true\"}}");
        assert_eq!(process.metric(&series), 2.0);
        // Of another name it is another session.
        assert!(!ask(process.address, client, "b.example").unwrap().resumed);
    }
}

#[test]
fn two_processes_with_the_same_keys_resume_each_others_sessions() {
    let folder = Folder::new("shared");
    folder.issue("a", &["a.example"]);
    let (keys, upstream) = (folder.0.join("tickets.keys"), content());
    keys_file(&keys, &[1]);
    let tls = format!(", ticket_keys_file: \"{}\"", keys.display());
    let start = |name, tls: &str| Process::start(name, &yaml(&folder, upstream, tls, ""), None);
    let (one, two) = (start("tls-keys-1", &tls), start("tls-keys-2", &tls));
    let loner = start("tls-keys-3", "");
    let client = anonymous();
    let resumed = |process: &Process| ask(process.address, &client, "a.example").unwrap().resumed;
    assert!(!resumed(&one));
    for _ in 0..3 {
        assert!(resumed(&two) && resumed(&one));
    }
    assert!(!resumed(&loner));
    // That was the last ticket: another one, then the newest key goes first and the old one stays.
    resumed(&one);
    keys_file(&keys, &[2, 1]);
    for process in [&one, &two] {
        wait_for("the new key", || process.logged().contains("renewed: new TLS handshakes use it"));
    }
    assert!(resumed(&two));
    // What is not a key is told, and the keys that were read before stay.
    fs::write(&keys, "nonsense\n").unwrap();
    let series = format!("bowline_tls_reload_success{{file=\"{}\"}}", keys.display());
    wait_for("the complaint", || one.metric(&series) == 0.0);
    assert!(one.logged().contains("holds no ticket keys"), "{}", one.logged());
    assert!(resumed(&one));
}

#[test]
fn a_session_of_a_port_that_asks_nobody_opens_none_that_asks() {
    let folder = Folder::new("crossed");
    let authority = Authority::new("ours");
    folder.issue("a", &["a.example"]);
    folder.write("ca.pem", &authority.pem());
    let keys = folder.0.join("tickets.keys");
    keys_file(&keys, &[1]);
    let open = format!(", ticket_keys_file: \"{}\"", keys.display());
    let ca = folder.0.join("ca.pem");
    let asking = |mode: &str| {
        let more = format!("{open}, client_auth: {{ mode: {mode}, ca: \"{}\" }}", ca.display());
        serving(content(), &[folder.entry("a")], &more)
    };
    let from = [serving(content(), &[folder.entry("a")], &open), asking("optional")];
    let to = asking("required");
    for from in &from {
        for version in [&TLS12, &TLS13] {
            let client = Arc::new(trusting_in(&[version]).with_no_client_auth());
            assert!(!ask(from.address, &client, "a.example").unwrap().resumed);
            assert!(ask(from.address, &client, "a.example").unwrap().resumed);
            ask(to.address, &client, "a.example").expect_err("it has no certificate");
        }
    }
    to.wait_metric("bowline_tls_failures_total{cause=\"client_certificate\"}", 4.0);
}

#[test]
fn a_session_ends_with_the_certificate_that_began_it() {
    let folder = Folder::new("ends");
    let authority = Authority::new("ours");
    folder.issue("a", &["a.example"]);
    folder.write("ca.pem", &authority.pem());
    folder.write("crl.pem", &authority.revokes(&[]));
    let (ca, crl) = (folder.0.join("ca.pem"), folder.0.join("crl.pem"));
    let more = format!(", client_auth: {{ ca: \"{}\", crl: \"{}\" }}", ca.display(), crl.display());
    let bowline = Bowline::with(&yaml(&folder, content(), &more, ""));
    let (good, bad) = (authority.client("good", 1), authority.client("bad", 2));
    let clients =
        [&TLS12, &TLS13].map(|version| (good.shown_in(&[version]), bad.shown_in(&[version])));
    for client in clients.iter().flat_map(|(good, bad)| [good, bad]) {
        assert!(!ask(bowline.address, client, "a.example").unwrap().resumed);
        assert!(ask(bowline.address, client, "a.example").unwrap().resumed);
    }
    folder.write("crl.pem", &authority.revokes(&[2]));
    wait_for("the list", || ask(bowline.address, &clients[0].1, "a.example").is_err());
    for (good, bad) in &clients {
        ask(bowline.address, bad, "a.example").expect_err("it is revoked");
        // Judged anew, and then resumed again.
        assert!(!ask(bowline.address, good, "a.example").unwrap().resumed);
        assert!(ask(bowline.address, good, "a.example").unwrap().resumed);
    }
}
