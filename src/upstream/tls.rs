//! TLS to an upstream's servers: what its files come to, the handshake, and what is wrong with one.

mod fault;
mod stream;
mod trust;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, Error, InconsistentKeys};

pub use self::fault::is_tls;
pub use self::stream::TlsSocket;

use self::fault::Failed;
use self::trust::{Anyone, SystemRoots};
use crate::config::Mistakes;
use crate::pem;
use crate::plan::{CertificateFiles, Plan, UpstreamTls};

/// Sessions that can be resumed, by server name.
const SESSIONS: usize = 1024;

/// How TLS is spoken to the servers of one upstream.
pub struct Tls {
    connector: TlsConnector,
    /// Who is expected at each endpoint; `None` for whom the endpoint says.
    server_name: Option<ServerName<'static>>,
    handshake_timeout: Option<Duration>,
    /// Of all that a verdict depends on, and of what servers are shown.
    digest: [u8; 32],
}

/// What [`load`] has read, by the names of upstreams.
pub type Loaded = Vec<(String, Arc<Tls>)>;

/// Reads what `plan` names for TLS to upstreams. Every mistake is added with its place; what comes
/// back is of use only when there was none.
pub fn load(plan: &Plan, mistakes: &mut Mistakes) -> Loaded {
    let mut system = SystemRoots::default();
    let with_tls = plan.upstreams.iter().filter_map(|one| Some((&one.name, one.tls.as_ref()?)));
    with_tls
        .filter_map(|(name, tls)| Some((name.clone(), Tls::load(tls, &mut system, mistakes)?)))
        .map(|(name, tls)| (name, Arc::new(tls)))
        .collect()
}

/// What is no mistake in TLS to the upstreams of `plan`, and yet should be known.
pub fn warnings(plan: &Plan) -> Vec<String> {
    let blind = plan.upstreams.iter().filter(|one| one.tls.as_ref().is_some_and(|tls| !tls.verify));
    blind
        .map(|one| {
            format!(
                "upstream {}: insecure_skip_verify takes any certificate of anybody: write `ca` instead",
                one.name
            )
        })
        .collect()
}

impl Tls {
    fn load(plan: &UpstreamTls, system: &mut SystemRoots, mistakes: &mut Mistakes) -> Option<Self> {
        let mut digest = digest::Context::new(&SHA256);
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| mistakes.add(&plan.at, format!("TLS cannot be set up: {error}")))
            .ok()?;
        let identity = plan.identity.as_ref();
        let identity = identity.map(|files| identity_of(files, &mut digest, mistakes));
        let builder = if plan.verify {
            let roots = match &plan.ca {
                Some(file) => trust::roots(file, &mut digest),
                None => system.get(plan, &mut digest),
            };
            let roots = roots.map_err(|(at, what)| mistakes.add(&at, what)).ok()?;
            builder.with_root_certificates(roots)
        } else {
            digest.update(b"anyone");
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        };
        let mut config = match (identity, &plan.identity) {
            (Some(Some((chain, key))), Some(files)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| mistakes.add(&files.at, unfit(files, &error)))
                .ok()?,
            (Some(None), _) => return None,
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        let name = plan.server_name.as_ref().map(|name| name.to_str().into_owned());
        digest.update(format!("{name:?} {:?}", plan.handshake_timeout).as_bytes());
        let mut whole = [0; 32];
        whole.copy_from_slice(digest.finish().as_ref());
        Some(Self {
            connector: TlsConnector::from(Arc::new(config)),
            server_name: plan.server_name.clone(),
            handshake_timeout: plan.handshake_timeout,
            digest: whole,
        })
    }

    /// Whether both say the same, files included.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Speaks TLS on `stream`, where `name` is expected unless the upstream says otherwise. `preface`
    /// goes out before it.
    ///
    /// # Errors
    /// One that [`is_tls`] tells from others, with what is wrong and how to mend it.
    async fn begin(
        self: &Arc<Self>,
        name: &ServerName<'static>,
        mut stream: TcpStream,
        preface: &Bytes,
    ) -> io::Result<TlsSocket> {
        let name = self.server_name.as_ref().unwrap_or(name);
        stream.write_all(preface).await?;
        let handshake = self.connector.connect(name.clone(), stream);
        let stream = within(self.handshake_timeout, handshake).await?;
        let stream = stream.map_err(|error| Failed::of(&error, name))?;
        Ok(TlsSocket::new(stream, Arc::clone(self)))
    }
}

/// Speaks TLS on `stream` as `tls` says.
///
/// # Errors
/// As [`Tls::begin`]'s; also when nobody has said how.
pub(super) async fn begin(
    tls: Option<&Arc<Tls>>,
    name: &ServerName<'static>,
    stream: TcpStream,
    preface: &Bytes,
) -> io::Result<TlsSocket> {
    match tls {
        Some(tls) => tls.begin(name, stream, preface).await,
        None => Err(Failed::unsaid().into()),
    }
}

async fn within<F: Future>(time: Option<Duration>, future: F) -> Result<F::Output, Failed> {
    match time {
        Some(time) => timeout(time, future).await.map_err(|_| Failed::slow(time)),
        None => Ok(future.await),
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the key.
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What servers are shown; `None` when it is wrong, which is added to `mistakes`.
fn identity_of(
    files: &CertificateFiles,
    digest: &mut digest::Context,
    mistakes: &mut Mistakes,
) -> Option<Identity> {
    let chain = pem::read(&files.cert).and_then(|bytes| pem::certificates(&bytes, &files.cert));
    let key = pem::read(&files.key).and_then(|bytes| pem::key(&bytes, &files.key));
    match (chain, key) {
        (Ok(chain), Ok(key)) => {
            chain.iter().for_each(|one| digest.update(one));
            digest.update(key.secret_der());
            Some((chain, key))
        }
        (chain, key) => {
            let found = chain.err().into_iter().chain(key.err());
            found.for_each(|what| mistakes.add(&files.at, what));
            None
        }
    }
}

/// Why a certificate and its key are of no use.
fn unfit(files: &CertificateFiles, error: &Error) -> String {
    let (cert, key) = (files.cert.display(), files.key.display());
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
            "the key in {key} does not belong to the certificate in {cert}: check that both are of one issue"
        ),
        error => format!("{cert} with {key}: {error}"),
    }
}
