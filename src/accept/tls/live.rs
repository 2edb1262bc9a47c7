//! TLS of a listener while it is open: what is in use of its files, and what handshakes are made
//! with. A renewed file changes what later handshakes see, and nothing else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error, ServerConfig};

use super::HTTP2;
use super::by_name::ByName;
use super::certificate::Certificate;
use super::part::Part;
use super::termination::Termination;
use super::ticket_keys::TicketKeysFile;
use super::tickets::{Purpose, Ticketer};
use super::vault::Vault;
use crate::config::{At, Mistakes, TlsVersion};
use crate::plan::{CertificateFiles, ClientAuth, Tls};
use crate::telemetry::TlsFile;

/// The name of a certificate that is in no file.
const SELF_SIGNED: &str = "self_signed";

/// TLS of a listener while it is open.
#[derive(Debug)]
pub struct LiveTls {
    plan: Tls,
    vault: Arc<Vault>,
    /// Held while files are looked at, by one task; never by a handshake.
    parts: Mutex<Parts>,
    current: ArcSwap<Termination>,
}

/// What comes from files.
#[derive(Debug)]
struct Parts {
    certificates: Vec<Part<CertificateFiles>>,
    self_signed: Option<Arc<Certificate>>,
    clients: Option<Part<ClientAuth>>,
    ticket_keys: Option<Part<TicketKeysFile>>,
}

impl LiveTls {
    /// Reads the files of a listener. Every mistake is added with its place; `None` when there was
    /// one.
    pub fn load(plan: &Tls, vault: &Arc<Vault>, mistakes: &mut Mistakes) -> Option<Self> {
        let parts = Parts::load(plan, vault, mistakes)?;
        let current = match parts.terminate(plan, vault) {
            Ok(termination) => ArcSwap::from_pointee(termination),
            Err(error) => {
                mistakes.add(&At::root(), format!("TLS cannot be set up: {error}"));
                return None;
            }
        };
        let (plan, vault) = (plan.clone(), Arc::clone(vault));
        Some(Self { plan, vault, parts: Mutex::new(parts), current })
    }

    /// What handshakes that begin now are made with.
    pub(in crate::accept) fn current(&self) -> Guard<Arc<Termination>> {
        self.current.load()
    }

    /// Looks whether a file has changed and is to be read.
    pub(super) fn look(&self) -> bool {
        let mut parts = self.parts();
        let Parts { certificates, clients, ticket_keys, .. } = &mut *parts;
        // All of them: a look counts the time that a file was left alone.
        let mut due = false;
        certificates.iter_mut().for_each(|part| due |= part.look());
        clients.iter_mut().for_each(|part| due |= part.look());
        ticket_keys.iter_mut().for_each(|part| due |= part.look());
        due
    }

    /// Reads what has changed. What is broken stays as it was read before.
    pub(super) fn renew(&self) {
        let mut parts = self.parts();
        let Parts { certificates, clients, ticket_keys, .. } = &mut *parts;
        let provider = &self.vault.provider;
        certificates.iter_mut().for_each(|part| part.renew(provider));
        clients.iter_mut().for_each(|part| part.renew(provider));
        ticket_keys.iter_mut().for_each(|part| part.renew(provider));
        match parts.terminate(&self.plan, &self.vault) {
            Ok(termination) => self.current.store(Arc::new(termination)),
            Err(error) => tracing::error!(%error, "TLS cannot be set up anew"),
        }
    }

    /// What there is to tell about its files.
    pub(super) fn files(&self) -> Vec<TlsFile> {
        let parts = self.parts();
        let certificates = parts.certificates.iter().map(|part| TlsFile {
            file: part.name(),
            expires: Some(part.value.facts.expires),
            problem: part.problem.clone(),
        });
        let mut files: Vec<_> = certificates.collect();
        files.extend(parts.self_signed.iter().map(|own| TlsFile {
            file: SELF_SIGNED.to_owned(),
            expires: Some(own.facts.expires),
            problem: None,
        }));
        let clients = parts.clients.iter().map(|part| (part.name(), part.problem.clone()));
        let keys = parts.ticket_keys.iter().map(|part| (part.name(), part.problem.clone()));
        let others = clients.chain(keys);
        files.extend(others.map(|(file, problem)| TlsFile { file, expires: None, problem }));
        files
    }

    /// What an operator should know of its certificates, at `now` in Unix time.
    pub(super) fn warnings(&self, now: u64) -> Vec<String> {
        let parts = self.parts();
        let mut found = Vec::new();
        if parts.self_signed.is_some() {
            found.push(
                "self_signed: this certificate is of Bowline's own making and nobody trusts it; it is for trying things out"
                    .to_owned(),
            );
        }
        for part in &parts.certificates {
            let (file, facts) = (part.name(), &part.value.facts);
            if facts.expires <= now {
                found.push(format!("{file} has expired: clients refuse it"));
            } else if now < facts.begins {
                found.push(format!("{file} is not valid yet: clients refuse it"));
            }
            if facts.names.is_empty() && parts.certificates.len() > 1 {
                found.push(format!("{file} names no host: no server name (SNI) chooses it"));
            }
        }
        found
    }

    /// Whether one of its certificates is for `host`, a name or a pattern in lower case.
    pub(super) fn covers(&self, host: &str) -> bool {
        let parts = self.parts();
        let mut files = parts.certificates.iter().map(|part| &part.value);
        files.any(|one| one.covers(host)) || parts.self_signed.iter().any(|one| one.covers(host))
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    fn load(plan: &Tls, vault: &Arc<Vault>, mistakes: &mut Mistakes) -> Option<Self> {
        let provider = &vault.provider;
        let certificates: Vec<_> = plan
            .certificates
            .iter()
            .filter_map(|files| Part::load(files.clone(), provider, mistakes))
            .collect();
        let clients = plan.client_auth.clone();
        let clients = clients.and_then(|source| Part::load(source, provider, mistakes));
        let ticket_keys = plan.ticket_keys.clone().map(TicketKeysFile);
        let ticket_keys = ticket_keys.and_then(|source| Part::load(source, provider, mistakes));
        let self_signed = plan.self_signed.then(|| vault.self_signed());
        let self_signed = match self_signed.transpose() {
            Ok(own) => own,
            Err(error) => {
                mistakes.add(&At::root(), format!("no certificate can be made: {error}"));
                None
            }
        };
        let whole = certificates.len() == plan.certificates.len()
            && clients.is_some() == plan.client_auth.is_some()
            && ticket_keys.is_some() == plan.ticket_keys.is_some()
            && (self_signed.is_some() || !certificates.is_empty());
        whole.then_some(Self { certificates, self_signed, clients, ticket_keys })
    }

    fn terminate(&self, plan: &Tls, vault: &Vault) -> Result<Termination, Error> {
        let versions = match plan.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12][..],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&vault.provider))
            .with_protocol_versions(versions)?;
        let clients = self.clients.as_ref().map(|part| Arc::clone(&part.value));
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
            None => builder.with_no_client_auth(),
        };
        let certificates = self.certificates.iter().map(|part| &part.value);
        let certificates: Vec<_> = certificates.chain(&self.self_signed).cloned().collect();
        let by_name = ByName::new(&certificates, plan.strict_sni);
        let mut config = builder.with_cert_resolver(Arc::new(by_name));
        config.alpn_protocols = protocols(plan.http2);
        // All state of a session is in its ticket; rustls's own memory is behind a lock.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(Ticketer {
            keys: match &self.ticket_keys {
                Some(part) => Arc::clone(&part.value),
                None => Arc::clone(&vault.tickets),
            },
            purpose: clients.as_ref().map_or(Purpose::default(), |clients| clients.purpose),
        });
        Ok(Termination::new(TlsAcceptor::from(Arc::new(config)), clients, plan))
    }
}

/// What is spoken behind the handshake (ALPN), the best first.
fn protocols(http2: bool) -> Vec<Vec<u8>> {
    let spoken = [(HTTP2, http2), (&b"http/1.1"[..], true)];
    spoken.iter().filter(|(_, spoken)| *spoken).map(|(name, _)| name.to_vec()).collect()
}
