//! PEM files. The only file that knows rustls-pemfile, which is archived upstream: replacing it
//! is a change of this file alone.

use std::fs;
use std::path::Path;

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificates of a chain, in file order.
///
/// # Errors
/// A sentence that names the file and the mend.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let chain: Result<Vec<_>, _> = rustls_pemfile::certs(&mut bytes.as_slice()).collect();
    let chain = chain.map_err(|error| format!("{} is not PEM: {error}", path.display()))?;
    if chain.is_empty() {
        return Err(format!(
            "{} holds no certificate: it needs `-----BEGIN CERTIFICATE-----` blocks, the server's first",
            path.display()
        ));
    }
    Ok(chain)
}

/// The first private key, PKCS#1, SEC1 or PKCS#8.
///
/// # Errors
/// A sentence that names the file and the mend.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read(path)?;
    rustls_pemfile::private_key(&mut bytes.as_slice())
        .map_err(|error| format!("{} is not PEM: {error}", path.display()))?
        .ok_or_else(|| {
            format!(
                "{} holds no private key: it needs a `-----BEGIN PRIVATE KEY-----` block without a passphrase",
                path.display()
            )
        })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| {
        format!(
            "cannot read {}: {error}; paths are relative to the configuration file",
            path.display()
        )
    })
}
