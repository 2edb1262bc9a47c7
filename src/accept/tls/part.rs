//! One part of a listener's TLS that comes from files, and what is in use of it: the newest state of
//! the files that could be read.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;

use crate::config::{At, Mistakes};

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
    watched: Watched,
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
        let watched = Watched::new(source.paths());
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
        self.watched.paths.first().map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// Looks whether the files have changed and are to be read.
    pub(super) fn look(&mut self) -> bool {
        self.due |= self.watched.changed();
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

/// Files that are looked at from time to time.
#[derive(Debug)]
struct Watched {
    paths: Vec<PathBuf>,
    known: Vec<Look>,
    last: Option<Vec<Look>>,
}

/// What is known of a file without reading it; `None` while there is none. The place it leads to is
/// in it, so a symbolic link further up that points elsewhere now is a change, as Kubernetes and
/// certbot make it.
type Look = Option<(PathBuf, u64, u64, (i64, i64), u64)>;

impl Watched {
    fn new(paths: Vec<PathBuf>) -> Self {
        let known = looks(&paths);
        Self { paths, known, last: None }
    }

    /// Whether they are other files than before, and were left alone between the last two looks: a
    /// chain and its key are replaced one after the other.
    fn changed(&mut self) -> bool {
        let now = looks(&self.paths);
        let changed = now != self.known && self.last.as_ref() == Some(&now);
        if changed {
            self.known.clone_from(&now);
        }
        self.last = Some(now);
        changed
    }
}

fn looks(paths: &[PathBuf]) -> Vec<Look> {
    paths.iter().map(|path| look(path)).collect()
}

fn look(file: &Path) -> Look {
    let place = fs::canonicalize(file).ok()?;
    let meta = fs::metadata(&place).ok()?;
    Some((place, meta.dev(), meta.ino(), (meta.mtime(), meta.mtime_nsec()), meta.len()))
}
