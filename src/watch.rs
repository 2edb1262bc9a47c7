//! Whether files have changed. They are looked at once a second: no change is missed for being made by a
//! rename, by another machine, or by a symbolic link further up that points elsewhere now, as Kubernetes
//! and certbot make it.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// How often they are looked at; also how long they must have been left alone before they are read.
const EACH: Duration = Duration::from_secs(1);

/// What is known of a file without reading it; `None` while there is none.
type Known = Option<(PathBuf, u64, u64, (i64, i64), (i64, i64), u64)>;

/// Files as they were at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look(Vec<(PathBuf, Known)>);

/// Keeps an eye on files.
pub(crate) struct Watch {
    /// Which, at this moment.
    files: Box<dyn Fn() -> Vec<PathBuf> + Send + Sync>,
    known: Look,
    last: Option<Look>,
}

impl Watch {
    /// Whatever `file` is now is no change.
    pub(crate) fn new(file: &Path) -> Self {
        let files = vec![file.to_owned()];
        Self::of(move || files.clone())
    }

    /// The same for the files that `files` lists whenever it is asked.
    pub(crate) fn of(files: impl Fn() -> Vec<PathBuf> + Send + Sync + 'static) -> Self {
        let known = look(&files());
        Self { files: Box::new(files), known, last: None }
    }

    /// The files as they are now.
    pub(crate) fn look(&self) -> Look {
        look(&(self.files)())
    }

    /// They were read after this look: what differs from it is a change.
    pub(crate) fn know(&mut self, seen: Look) {
        self.known = seen;
    }

    /// What was read is of no use: it counts as changed when it was left alone for a moment, as often as
    /// this is said.
    pub(crate) fn forget(&mut self) {
        self.known = Look(Vec::new());
    }

    /// One look: whether they are others than before, and were left alone since the last look: a chain
    /// and its key are replaced one after the other.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now = self.look();
        self.settles(now)
    }

    fn settles(&mut self, now: Look) -> bool {
        let settled = self.last.as_ref() == Some(&now);
        let changed = settled && now != self.known;
        if changed {
            self.known = now.clone();
        }
        self.last = Some(now);
        changed
    }

    /// Resolves when the files are others than before, and all there, and have been for a moment.
    pub(crate) async fn changed(&mut self) {
        self.next(false).await;
    }

    /// The same, and resolves once, too, when a file is gone, and has been for a moment.
    pub(crate) async fn changed_or_gone(&mut self) {
        self.next(true).await;
    }

    async fn next(&mut self, or_gone: bool) {
        let mut ticks = interval(EACH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.last = None;
        loop {
            ticks.tick().await;
            // Halfway through a rename there is no file, and an editor writes piece by piece.
            let now = self.look();
            if !or_gone && !now.is_whole() {
                self.last = None;
            } else if self.settles(now) {
                return;
            }
        }
    }
}

impl Look {
    fn is_whole(&self) -> bool {
        self.0.iter().all(|(_, known)| known.is_some())
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("known", &self.known).finish_non_exhaustive()
    }
}

fn look(files: &[PathBuf]) -> Look {
    Look(files.iter().map(|file| (file.clone(), known(file))).collect())
}

fn known(file: &Path) -> Known {
    let place = fs::canonicalize(file).ok()?;
    let meta = fs::metadata(&place).ok()?;
    // The time of its change tells of rights too: what could not be read may now be.
    let (written, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
    Some((place, meta.dev(), meta.ino(), written, changed, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_when_it_was_left_alone_for_a_look() {
        let folder = std::env::temp_dir().join(format!("bowline-watch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.yaml");
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::new(&file);
        assert!(!watch.has_changed() && !watch.has_changed());
        fs::write(&file, "22").unwrap();
        assert!(!watch.has_changed(), "it may still be written");
        assert!(watch.has_changed());
        assert!(!watch.has_changed(), "once");
        // A look from before a further change makes that a change.
        let seen = watch.look();
        fs::write(&file, "333").unwrap();
        watch.know(seen);
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
        fs::remove_dir_all(&folder).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
    }
}
