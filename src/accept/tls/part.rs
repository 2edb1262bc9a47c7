//! One part of a listener's TLS that comes from files, and what is in use of it: the newest state of
//! the files that could be read.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;

use crate::config::{At, Mistakes};
use crate::watch::Watch;

/// Files that something is made of.
pub(super) trait Source {
    /// What is made of them.
    type Value;

    /// The files; the first one stands for all of them in logs and metrics.
    fn paths(&self) -> Vec<PathBuf>;

    /// Reads them.
    ///
    /// # Errors
    /// Everything that is wrong.
    fn read(&self, provider: &Arc<CryptoProvider>) -> Result<Self::Value, Vec<Complaint>>;
}

/// What is wrong with a file.
#[derive(Clone, Debug)]
pub(super) struct Complaint {
    /// Where the configuration names it.
    pub(super) at: At,
    /// What, and how to mend it.
    pub(super) what: String,
}

/// Files, and what is in use of them.
#[derive(Debug)]
pub(super) struct Part<S: Source> {
    source: S,
    pub(super) value: Arc<S::Value>,
    watched: Watch,
    due: bool,
    /// Why what is in the files now is not in use.
    pub(super) problem: Option<String>,
}

impl<S: Source> Part<S> {
    /// Reads `source` for the first time; what is wrong is added to `mistakes`.
    pub(super) fn load(
        source: S,
        provider: &Arc<CryptoProvider>,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        // Looked at before they are read: what changes in between is a change.
        let paths = source.paths();
        let watched = Watch::of(move || paths.clone());
        match source.read(provider) {
            Ok(value) => {
                Some(Self { source, value: Arc::new(value), watched, due: false, problem: None })
            }
            Err(found) => {
                found.into_iter().for_each(|one| mistakes.add(&one.at, one.what));
                None
            }
        }
    }

    /// Its name in logs and metrics.
    pub(super) fn name(&self) -> String {
        self.source.paths().first().map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// Looks whether the files have changed and are to be read.
    pub(super) fn look(&mut self) -> bool {
        self.due |= self.watched.has_changed();
        self.due
    }

    /// Reads the files if they have changed.
    pub(super) fn renew(&mut self, provider: &Arc<CryptoProvider>) {
        if !std::mem::take(&mut self.due) {
            return;
        }
        match self.source.read(provider) {
            Ok(value) => {
                tracing::info!(file = self.name(), "renewed: new TLS handshakes use it");
                (self.value, self.problem) = (Arc::new(value), None);
            }
            Err(found) => {
                let found: Vec<String> = found.into_iter().map(|one| one.what).collect();
                let problem = found.join("; ");
                // Again and again, for what is wrong may pass without the file's being written anew.
                self.watched.forget();
                if self.problem.as_ref() != Some(&problem) {
                    tracing::error!(
                        file = self.name(),
                        problem,
                        "not renewed: what was read before stays in use"
                    );
                    self.problem = Some(problem);
                }
            }
        }
    }
}
