//! PEM files. The only file that knows rustls-pemfile, which is archived upstream: replacing it
//! is a change of this file alone.

use std::fs;
use std::path::Path;

use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
};

/// The certificates of `bytes`, which are those of the file `path`, in its order.
///
/// # Errors
/// A sentence that names the file and the mend.
pub(super) fn certificates(
    bytes: &[u8],
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = rustls_pemfile::certs(&mut &*bytes).collect();
    let found = found.map_err(|error| format!("{} is not PEM: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!(
            "{} holds no certificate: it needs `-----BEGIN CERTIFICATE-----` blocks, the server's first",
            path.display()
        ));
    }
    Ok(found)
}

/// The first private key of `bytes`, PKCS#1, SEC1 or PKCS#8.
///
/// # Errors
/// A sentence that names the file and the mend.
pub(super) fn key(bytes: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    rustls_pemfile::private_key(&mut &*bytes)
        .map_err(|error| format!("{} is not PEM: {error}", path.display()))?
        .ok_or_else(|| {
            format!(
                "{} holds no private key: it needs a `-----BEGIN PRIVATE KEY-----` block without a passphrase",
                path.display()
            )
        })
}

/// The revocation lists of `bytes`.
///
/// # Errors
/// A sentence that names the file and the mend.
pub(super) fn revocation_lists(
    bytes: &[u8],
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let found: Result<Vec<_>, _> = rustls_pemfile::crls(&mut &*bytes).collect();
    let found = found.map_err(|error| format!("{} is not PEM: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!(
            "{} holds no revocation list: it needs `-----BEGIN X509 CRL-----` blocks",
            path.display()
        ));
    }
    Ok(found)
}

/// What is in a file.
///
/// # Errors
/// A sentence that names the file and the mend.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| {
        format!(
            "cannot read {}: {error}; paths are relative to the configuration file",
            path.display()
        )
    })
}
