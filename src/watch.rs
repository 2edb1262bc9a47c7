//! Whether a file has changed. It is looked at once a second: no change is missed for being made by a
//! rename, by another machine, or by a symbolic link further up that points elsewhere now, as
//! Kubernetes mounts its configuration.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked at; also how long it must have been left alone before it is read.
const EACH: Duration = Duration::from_secs(1);

/// What is known of a file without reading it; `None` while there is none.
type Look = Option<(PathBuf, u64, u64, (i64, i64), u64)>;

/// Keeps an eye on a file.
#[derive(Debug)]
pub(crate) struct Watch {
    file: PathBuf,
    known: Look,
}

impl Watch {
    /// Whatever `file` is now is no change.
    pub(crate) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), known: look(file) }
    }

    /// It was read just now.
    pub(crate) fn know(&mut self) {
        self.known = look(&self.file);
    }

    /// Resolves when the file is another than before, and has been for a moment.
    pub(crate) async fn changed(&mut self) {
        self.next(false).await;
    }

    /// The same, and resolves once, too, when the file is gone, and has been for a moment.
    pub(crate) async fn changed_or_gone(&mut self) {
        self.next(true).await;
    }

    async fn next(&mut self, or_gone: bool) {
        let mut ticks = interval(EACH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            ticks.tick().await;
            let now = look(&self.file);
            // Halfway through a rename there is no file, and an editor writes piece by piece.
            let counts = or_gone || now.is_some();
            if counts && now != self.known && last.as_ref() == Some(&now) {
                self.known = now;
                return;
            }
            last = Some(now);
        }
    }
}

fn look(file: &Path) -> Look {
    let place = fs::canonicalize(file).ok()?;
    let meta = fs::metadata(&place).ok()?;
    Some((place, meta.dev(), meta.ino(), (meta.mtime(), meta.mtime_nsec()), meta.len()))
}
