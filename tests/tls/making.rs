//! Certificates that Bowline makes: `bowline cert`, `self_signed`, and what `bowline check` says.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::harness::{Folder, ask, content, serving, shake};

fn bowline(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
    let output = command.current_dir(folder).args(arguments).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said)
}

#[test]
fn the_certificates_of_bowline_cert_are_believed_by_who_trusts_its_authority() {
    let folder = Folder::new("cert");
    let (code, said) =
        bowline(&folder.0, &["cert", "a.example", "127.0.0.1", "--out", "tls", "--client", "me"]);
    assert_eq!(code, 0, "{said}");
    let made = |file: &str| folder.0.join("tls").join(file);
    for (name, listed) in [("ca", true), ("server", true), ("client", true)] {
        assert_eq!(said.contains(&format!("tls/{name}.key")), listed, "{said}");
        let mode = fs::metadata(made(&format!("{name}.key"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let entry = format!(
        "{{ cert: \"{}\", key: \"{}\" }}",
        made("server.pem").display(),
        made("server.key").display()
    );
    let ca = made("ca.pem");
    let more = format!(", client_auth: {{ ca: \"{}\" }}", ca.display());
    let upstream = content();
    let server = serving(upstream, &[entry], &more);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&ca).unwrap()).unwrap();
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(made("client.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(made("client.key")).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let asked = ask(server.address, &config, "a.example").unwrap();
    assert!(asked.head.starts_with("HTTP/1.1 204 "), "{}", asked.head);
    ask(server.address, &config, "127.0.0.1").unwrap();
    let stream = TcpStream::connect(server.address).unwrap();
    shake(stream, &config, "b.example").expect_err("it is not for b.example");
    // Another program has its own idea of a right chain.
    let mut verify = Command::new("openssl");
    verify.args([
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-verify_hostname",
        "a.example",
    ]);
    let output = verify.arg("-CAfile").arg(&ca).arg(made("server.pem")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn bowline_cert_overwrites_nothing() {
    let folder = Folder::new("overwrite");
    fs::create_dir_all(folder.0.join("certs")).unwrap();
    folder.write("certs/server.key", "precious");
    let (code, said) = bowline(&folder.0, &["cert"]);
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("certs/server.key is there already"), "{said}");
    let there: Vec<_> = fs::read_dir(folder.0.join("certs")).unwrap().collect();
    assert_eq!(there.len(), 1);
    assert_eq!(fs::read_to_string(folder.0.join("certs/server.key")).unwrap(), "precious");
    let (code, said) = bowline(&folder.0, &["cert", "--out", "fresh"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("for localhost, 127.0.0.1, ::1"), "{said}");
}

#[test]
fn what_is_hardly_meant_is_a_warning_and_no_mistake() {
    let folder = Folder::new("warned");
    folder.issue("a", &["a.example", "*.wild.example"]);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["old.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    folder.write("old.pem", &params.self_signed(&key).unwrap().pem());
    folder.write("old.key", &key.serialize_pem());
    let check = |tls: &str, hosts: &str| {
        folder.write(
            "config.yaml",
            &format!(
                "listeners: [ {{ address: '127.0.0.1:8443', tls: {tls} }} ]\n\
                 routes: [ {{ match: {{ host: [ {hosts} ] }}, upstream: up }} ]\n\
                 upstreams: {{ up: {{ builtin: echo }} }}\n"
            ),
        );
        let (code, said) = bowline(&folder.0, &["check"]);
        assert_eq!(code, 0, "{said}");
        said.lines()
            .filter(|line| line.contains("warning: "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (a, old) = (folder.entry("a"), folder.entry("old"));
    let fine =
        check(&format!("{{ certificates: [ {a} ] }}"), "a.example, '*.wild.example', 127.0.0.1");
    assert!(fine.is_empty(), "{fine:?}");
    let uncovered = check(&format!("{{ certificates: [ {a} ] }}"), "b.example, x.wild.example");
    assert_eq!(uncovered.len(), 1, "{uncovered:?}");
    assert!(uncovered[0].contains("no certificate is for b.example"), "{uncovered:?}");
    let expired = check(&format!("{{ certificates: [ {old} ] }}"), "old.example");
    assert!(expired[0].contains("old.pem has expired"), "{expired:?}");
    let own = check("{ self_signed: true }", "localhost");
    assert_eq!(own.len(), 1, "{own:?}");
    assert!(own[0].contains("nobody trusts it"), "{own:?}");
}
