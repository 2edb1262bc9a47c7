//! What becomes of TLS: handshakes that failed and why, and the files that listeners live on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Why a TLS handshake with a client came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// The client left, or its network did.
    Closed,
    /// It did not end in time.
    Timeout,
    /// The client speaks plain HTTP, and was told.
    Plaintext,
    /// What came is no TLS, or broken TLS.
    Malformed,
    /// No version, cipher, signature or protocol that both know.
    NothingInCommon,
    /// No server name, or one that no certificate covers, where that is refused.
    UnknownName,
    /// The client's certificate is missing, wrong, expired or revoked.
    ClientCertificate,
    /// The client refused: most often, it does not trust the certificate.
    Alert,
    /// Anything else.
    Other,
}

impl TlsFailure {
    /// Every cause: the index into a metrics table is the position here.
    pub const ALL: [Self; 9] = [
        Self::Closed,
        Self::Timeout,
        Self::Plaintext,
        Self::Malformed,
        Self::NothingInCommon,
        Self::UnknownName,
        Self::ClientCertificate,
        Self::Alert,
        Self::Other,
    ];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Plaintext => "plaintext",
            Self::Malformed => "malformed",
            Self::NothingInCommon => "nothing_in_common",
            Self::UnknownName => "unknown_name",
            Self::ClientCertificate => "client_certificate",
            Self::Alert => "alert",
            Self::Other => "other",
        }
    }
}

/// A TLS handshake that led somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsHandshake {
    /// TLS 1.3, not 1.2.
    pub tls13: bool,
    /// A session was taken up again.
    pub resumed: bool,
}

impl TlsHandshake {
    /// Every kind: the index into a metrics table is the position here.
    pub const ALL: [Self; 4] = [
        Self { tls13: false, resumed: false },
        Self { tls13: false, resumed: true },
        Self { tls13: true, resumed: false },
        Self { tls13: true, resumed: true },
    ];

    pub(super) fn index(self) -> usize {
        usize::from(self.tls13) * 2 + usize::from(self.resumed)
    }

    /// The metric labels: version, and whether it was resumed.
    pub fn labels(self) -> [&'static str; 2] {
        [if self.tls13 { "1.3" } else { "1.2" }, if self.resumed { "true" } else { "false" }]
    }
}

/// A file that a listener's TLS lives on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFile {
    /// Its path; `self_signed` for a certificate that is in no file.
    pub file: String,
    /// When the certificate in it ends, in Unix time; `None` where it is no certificate.
    pub expires: Option<u64>,
    /// Why what is in it now is not in use.
    pub problem: Option<String>,
}

/// The files of all listeners.
#[derive(Debug, Default)]
pub struct TlsFiles(Mutex<BTreeMap<String, TlsFile>>);

impl TlsFiles {
    /// Replaces all of them. Of two with the same name one stays, that with the worse news.
    pub fn set(&self, files: impl Iterator<Item = TlsFile>) {
        let mut by_name = BTreeMap::<String, TlsFile>::new();
        for file in files {
            let known = by_name.remove(&file.file);
            let merged = match known {
                Some(known) => TlsFile {
                    expires: [known.expires, file.expires].into_iter().flatten().min(),
                    problem: known.problem.or(file.problem),
                    file: file.file,
                },
                None => file,
            };
            by_name.insert(merged.file.clone(), merged);
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = by_name;
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<TlsFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_and_kind_stands_at_its_index() {
        for (at, cause) in TlsFailure::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, at, "{}", cause.label());
        }
        for (at, kind) in TlsHandshake::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), at);
        }
    }

    #[test]
    fn a_file_of_two_listeners_is_told_once_with_the_worse_news() {
        let file = |expires, problem: Option<&str>| TlsFile {
            file: "a".to_owned(),
            expires: Some(expires),
            problem: problem.map(str::to_owned),
        };
        let files = TlsFiles::default();
        files.set([file(2, None), file(1, Some("broken")), file(3, None)].into_iter());
        assert_eq!(files.all(), [file(1, Some("broken"))]);
        files.set(std::iter::empty());
        assert!(files.all().is_empty());
    }
}
