//! Certificates that change while they are served: what takes effect, and what nobody must feel.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;

use super::harness::{Folder, Tls, anonymous, ask, content, head, serving, shake};
use crate::support::process::Process;
use crate::support::{Bowline, SWITCHING, Upstream, Wire, handshake, wait_for};

/// What the listener shows to who asks for a.example.
fn shown(address: SocketAddr) -> Vec<u8> {
    ask(address, &anonymous(), "a.example").unwrap().certificate.to_vec()
}

/// One with an admin listener.
fn kept(folder: &Folder) -> Bowline {
    Bowline::with(&format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- address: 127.0.0.1:0\n  \
         tls: {{ certificates: [ {} ] }}\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n",
        folder.entry("a"),
        content()
    ))
}

fn series(name: &str, file: &Path) -> String {
    format!("{name}{{file=\"{}\"}}", file.display())
}

fn ready(bowline: &Bowline) -> (u16, String) {
    let admin = bowline.admin.unwrap();
    let mut client = Wire::connect(admin);
    client.send(format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
    let answer = client.answer();
    (answer.status, answer.text())
}

#[test]
fn a_certificate_is_renewed_under_a_thousand_sockets_and_none_of_them_closes() {
    const SOCKETS: usize = 1_000;
    rlimit::increase_nofile_limit(8_192).unwrap();
    let folder = Folder::new("thousand");
    let old = folder.issue("a", &["a.example"]);
    let upstream = Upstream::new();
    let yaml = format!(
        "workers: 2\nadmin: {{ address: 127.0.0.1:0 }}\nwebsocket: {{ frames: opaque }}\n\
         listeners:\n- address: 127.0.0.1:0\n  tls: {{ certificates: [ {} ] }}\n\
         routes: [ {{ name: r, upstream: up }} ]\nupstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n",
        folder.entry("a"),
        upstream.address
    );
    let process = Process::start("tls-thousand", &yaml, None);
    let config = anonymous();
    let mut sockets: Vec<(Tls, Wire)> = (0..SOCKETS)
        .map(|_| {
            let stream = TcpStream::connect(process.address).unwrap();
            let mut client = shake(stream, &config, "a.example").unwrap();
            let upgrade = handshake("/ws", "").replace("test.example", "a.example");
            client.write_all(upgrade.as_bytes()).unwrap();
            let mut server = upstream.accept();
            server.head();
            server.send(SWITCHING);
            assert!(head(&mut client).starts_with("HTTP/1.1 101 "));
            (client, server)
        })
        .collect();
    let new = folder.issue("a", &["a.example"]);
    assert_ne!(old, new);
    let now = || {
        let stream = TcpStream::connect(process.address).unwrap();
        super::harness::certificate(&shake(stream, &anonymous(), "a.example").unwrap())
    };
    wait_for("the new certificate", || now() == new);
    assert_eq!(process.metric("bowline_tunnels{route=\"r\"}"), SOCKETS as f64);
    for (client, server) in &mut sockets {
        client.write_all(b"up").unwrap();
        assert_eq!(server.exactly(2), b"up");
        server.send("down");
        let mut back = [0; 4];
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"down");
    }
    assert_eq!(process.metric("bowline_tunnels{route=\"r\"}"), SOCKETS as f64);
    assert!(!process.logged().contains("configuration reloaded"));
}

#[test]
fn a_certificate_behind_links_is_renewed_when_they_point_elsewhere() {
    let folder = Folder::new("links");
    // As Kubernetes mounts a secret: the files lead through `..data` to a folder of each version.
    let issue = |version: &str| {
        fs::create_dir_all(folder.0.join(version)).unwrap();
        folder.issue(&format!("{version}/a"), &["a.example"])
    };
    let first = issue("first");
    let data = folder.0.join("..data");
    symlink("first", &data).unwrap();
    for end in ["pem", "key"] {
        symlink(format!("..data/a.{end}"), folder.0.join(format!("a.{end}"))).unwrap();
    }
    let bowline = serving(content(), &[folder.entry("a")], "");
    assert_eq!(shown(bowline.address), first.to_vec());
    let second = issue("second");
    symlink("second", folder.0.join("..new")).unwrap();
    fs::rename(folder.0.join("..new"), &data).unwrap();
    wait_for("the second certificate", || shown(bowline.address) == second.to_vec());
}

#[test]
fn a_broken_renewal_leaves_the_old_certificate_and_is_told() {
    let folder = Folder::new("unrenewed");
    let first = folder.issue("a", &["a.example"]);
    folder.issue("other", &["a.example"]);
    let bowline = kept(&folder);
    let (cert, key) = (folder.0.join("a.pem"), folder.0.join("a.key"));
    let success = series("bowline_tls_reload_success", &cert);
    bowline.wait_metric(&success, 1.0);
    assert_eq!(ready(&bowline), (200, "ready\n".to_owned()));
    let (pem, secret) = (fs::read(&cert).unwrap(), fs::read(&key).unwrap());
    let other = fs::read(folder.0.join("other.key")).unwrap();
    let mend = || {
        fs::write(&cert, &pem).unwrap();
        fs::write(&key, &secret).unwrap();
        bowline.wait_metric(&success, 1.0);
        assert_eq!(ready(&bowline), (200, "ready\n".to_owned()));
    };
    type Break<'a> = &'a dyn Fn();
    let breaks: [(Break<'_>, &str); 3] = [
        (&|| fs::write(&cert, "garbage").unwrap(), "holds no certificate"),
        (&|| fs::write(&key, &other).unwrap(), "does not belong to the certificate"),
        (&|| fs::remove_file(&cert).unwrap(), "cannot read"),
    ];
    for (broken, told) in breaks {
        broken();
        bowline.wait_metric(&success, 0.0);
        let (status, said) = ready(&bowline);
        // It serves, and somebody has to look.
        assert_eq!(status, 200);
        assert!(said.starts_with("ready\nwarning: ") && said.contains(told), "{said}");
        assert_eq!(shown(bowline.address), first.to_vec());
        mend();
    }
    assert_eq!(shown(bowline.address), first.to_vec());
}

#[test]
fn one_broken_certificate_keeps_no_other_from_being_renewed() {
    let folder = Folder::new("beside");
    folder.issue("a", &["a.example"]);
    folder.issue("b", &["b.example"]);
    let bowline = serving(content(), &[folder.entry("a"), folder.entry("b")], "");
    folder.write("b.pem", "garbage");
    let new = folder.issue("a", &["a.example"]);
    wait_for("the new one", || shown(bowline.address) == new.to_vec());
    bowline.wait_metric(&series("bowline_tls_reload_success", &folder.0.join("b.pem")), 0.0);
    ask(bowline.address, &anonymous(), "b.example").unwrap();
}

#[test]
fn the_end_of_each_certificate_is_a_metric_that_follows_it() {
    let folder = Folder::new("expiry");
    let until = |year| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        folder.write("a.pem", &params.self_signed(&key).unwrap().pem());
        folder.write("a.key", &key.serialize_pem());
    };
    until(2040);
    let bowline = serving(content(), &[folder.entry("a")], "");
    let expiry = series("bowline_tls_certificate_expiry_seconds", &folder.0.join("a.pem"));
    bowline.wait_metric(&expiry, 2_208_988_800.0);
    until(2041);
    bowline.wait_metric(&expiry, 2_240_611_200.0);
}
