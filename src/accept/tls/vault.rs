//! What of TLS outlives plans: ticket keys and the certificate that Bowline made itself. A client
//! must not notice a reload by a full handshake, nor be asked again whether it trusts a stranger.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs::{self, kx_group};

use super::certificate::Certificate;
use super::issue::{Authority, LOCAL_NAMES};
use super::pem;
use super::tickets::Keyring;

/// What of TLS outlives plans.
#[derive(Debug)]
pub struct Vault {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) tickets: Arc<Keyring>,
    self_signed: OnceLock<Result<Arc<Certificate>, String>>,
}

impl Default for Vault {
    /// With fresh ticket keys.
    fn default() -> Self {
        Self {
            provider: Arc::new(provider()),
            tickets: Arc::new(Keyring::own()),
            self_signed: OnceLock::new(),
        }
    }
}

impl Vault {
    /// The certificate of `self_signed: true`, made when it is first asked for.
    ///
    /// # Errors
    /// When there are no random numbers to be had.
    pub(super) fn self_signed(&self) -> Result<Arc<Certificate>, String> {
        self.self_signed.get_or_init(|| self.sign_for_itself().map(Arc::new)).clone()
    }

    fn sign_for_itself(&self) -> Result<Certificate, String> {
        let now = SystemTime::now();
        let authority = Authority::new(now)?;
        let issued = authority.server(&LOCAL_NAMES.map(str::to_owned), now)?;
        let here = std::path::Path::new("memory");
        let mut chain = pem::certificates(issued.certificate.as_bytes(), here)?;
        chain.extend(pem::certificates(authority.own().certificate.as_bytes(), here)?);
        let key = pem::key(issued.key.as_bytes(), here)?;
        Certificate::pair(chain, key, &self.provider).map_err(|error| error.to_string())
    }
}

/// The one provider. A key exchange that no quantum computer undoes is taken where the client knows
/// it, as all browsers do.
fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
            kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    }
}
