//! Plans configurations while a server runs, off its runtime: reading files and certificates takes
//! milliseconds that nobody else is to wait for. One thread for all of them, always the same: what it
//! allocates and others free would else leave a heap behind in each thread that ever planned.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::{io, thread};

use tokio::sync::oneshot;

use super::load;
use crate::plan::Plan;

type Answer = Result<Plan, String>;

/// The way to have a file planned; the thread ends with it.
#[derive(Debug)]
pub(super) struct Planner(mpsc::Sender<(PathBuf, oneshot::Sender<Answer>)>);

impl Planner {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(super) fn start() -> io::Result<Self> {
        let (files, inbox) = mpsc::channel::<(PathBuf, oneshot::Sender<Answer>)>();
        thread::Builder::new().name("planner".to_owned()).spawn(move || {
            for (file, answer) in inbox {
                // Whoever asked may have gone.
                answer.send(load::plan(&file).map_err(|error| error.message)).ok();
            }
        })?;
        Ok(Self(files))
    }

    /// Plans what `file` says now.
    ///
    /// # Errors
    /// Every mistake.
    pub(super) async fn plan(&self, file: &Path) -> Answer {
        let gone = || "the thread that plans has ended; this is a bug in Bowline\n".to_owned();
        let (answer, answered) = oneshot::channel();
        self.0.send((file.to_owned(), answer)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}
