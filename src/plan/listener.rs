//! Where Bowline listens, and what a client may send there before a route is known.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{At, Config, HostMismatch, Mistakes};

/// One listening address.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name in logs: the configured one, else its address.
    pub name: String,
    /// What to bind.
    pub address: SocketAddr,
    /// For a request head to arrive whole; also how long an idle keep-alive connection is held.
    pub header_timeout: Duration,
    /// What a client may send.
    pub limits: Limits,
    /// TLS, if the listener terminates it.
    pub tls: Option<Tls>,
    /// Where it stands in the configuration.
    pub at: At,
}

/// Sizes of what a client sends, each with a status of its own when exceeded.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes in the request target (414).
    pub uri: usize,
    /// Bytes in the whole request head (431).
    pub headers: usize,
    /// Open connections; further ones wait in the kernel's queue.
    pub connections: Option<usize>,
}

/// TLS on a listener, as files that are yet to be read.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificates; the first serves clients whose name matches none.
    pub certificates: Vec<CertificateFiles>,
    /// For the TLS handshake to finish.
    pub handshake_timeout: Duration,
    /// Whether a Host other than the TLS server name is refused with 421.
    pub refuse_host_mismatch: bool,
}

/// A certificate chain and its key.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// PEM chain, leaf first.
    pub cert: PathBuf,
    /// PEM key.
    pub key: PathBuf,
    /// Where it stands in the configuration.
    pub at: At,
}

pub(super) fn build_all(config: &Config, folder: &Path, mistakes: &mut Mistakes) -> Vec<Listener> {
    let at = At::root().key("listeners");
    if config.listeners.is_empty() {
        mistakes.add(&at, "no listeners: give at least one, such as `- address: 127.0.0.1:8080`");
    }
    let mut seen = HashMap::new();
    let mut listeners = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let at = at.index(index);
        let tls = listener.tls.as_ref().map(|tls| tls_files(tls, folder, &at.key("tls"), mistakes));
        let Some(written) = &listener.address else {
            mistakes.add(&at, "this listener needs an `address`, such as 0.0.0.0:8080");
            continue;
        };
        let Some(address) = address(written, &at.key("address"), mistakes) else { continue };
        if address.port() != 0 && seen.insert(address, index).is_some() {
            mistakes.add(
                &at.key("address"),
                format!("{address} is listened on twice: keep one of the two"),
            );
        }
        listeners.push(Listener {
            name: listener.name.clone().unwrap_or_else(|| address.to_string()),
            address,
            header_timeout: listener.header_timeout.map_or(Duration::from_secs(30), |t| t.0),
            limits: limits(&listener.limits, &at.key("limits"), mistakes),
            tls,
            at,
        });
    }
    listeners
}

pub(super) fn address(written: &str, at: &At, mistakes: &mut Mistakes) -> Option<SocketAddr> {
    // `localhost:80` is what people write on their own machine.
    let numeric = match written.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => written.to_owned(),
    };
    match numeric.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            mistakes.add(
                at,
                format!("`{written}` is not an address to listen on: write IP:port, such as 0.0.0.0:8080 or [::]:8080"),
            );
            None
        }
    }
}

fn limits(limits: &crate::config::Limits, at: &At, mistakes: &mut Mistakes) -> Limits {
    // hyper cannot read a target over 65,534 bytes, nor work with less than 8 KiB of buffer.
    let uri = limits.uri.map_or(16 << 10, |size| size.0);
    if !(1..=60 << 10).contains(&uri) {
        mistakes.add(&at.key("uri"), "a `uri` limit is 1B to 60KiB".to_owned());
    }
    let headers = limits.headers.map_or(64 << 10, |size| size.0);
    if !((8 << 10)..=(1 << 20)).contains(&headers) {
        mistakes.add(&at.key("headers"), "a `headers` limit is 8KiB to 1MiB".to_owned());
    }
    if limits.connections.is_some_and(|count| count.0 == 0) {
        mistakes.add(
            &at.key("connections"),
            "a limit of 0 connections serves nobody: give 1 or more, or leave it out",
        );
    }
    Limits {
        uri: usize::try_from(uri).unwrap_or(usize::MAX),
        headers: usize::try_from(headers).unwrap_or(usize::MAX),
        connections: limits.connections.map(|count| count.0 as usize),
    }
}

fn tls_files(tls: &crate::config::Tls, folder: &Path, at: &At, mistakes: &mut Mistakes) -> Tls {
    let mut certificates = Vec::new();
    if tls.certificates.is_empty() {
        mistakes.add(at, "tls needs `certificates: [ { cert: chain.pem, key: key.pem } ]`");
    }
    for (index, certificate) in tls.certificates.iter().enumerate() {
        let at = at.key("certificates").index(index);
        match (&certificate.cert, &certificate.key) {
            (Some(cert), Some(key)) => {
                certificates.push(CertificateFiles {
                    cert: folder.join(cert),
                    key: folder.join(key),
                    at,
                });
            }
            (None, _) => {
                mistakes.add(&at, "this certificate needs `cert`: the PEM file with the chain")
            }
            (_, None) => {
                mistakes.add(&at, "this certificate needs `key`: the PEM file with its key")
            }
        }
    }
    Tls {
        certificates,
        handshake_timeout: tls.handshake_timeout.map_or(Duration::from_secs(10), |t| t.0),
        refuse_host_mismatch: tls.host_mismatch != Some(HostMismatch::Allow),
    }
}
