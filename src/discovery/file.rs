//! A list of endpoints in a file, read again whenever it has changed.

use std::path::{Path, PathBuf};

use super::source::{Fault, Source};
use crate::config::{self, Mistakes};
use crate::plan::{self, Endpoint};
use crate::watch::Watch;

/// A file that is followed.
#[derive(Debug)]
pub(super) struct List {
    file: PathBuf,
    /// `None` before it was read for the first time.
    watch: Option<Watch>,
}

impl List {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, watch: None }
    }
}

impl Source for List {
    async fn next(&mut self) -> Result<Vec<Endpoint>, Fault> {
        match &mut self.watch {
            Some(watch) => watch.changed_or_gone().await,
            // Before it is read: what comes in between is a change.
            None => self.watch = Some(Watch::new(&self.file)),
        }
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || read(&file)).await;
        read.unwrap_or_else(|error| Err(Fault(error.to_string())))
    }
}

/// The endpoints that `file` lists.
///
/// # Errors
/// When it cannot be read, has a mistake, or lists nothing.
pub(crate) fn read(file: &Path) -> Result<Vec<Endpoint>, Fault> {
    let (written, mut mistakes) =
        config::read_endpoints(file).map_err(|error| Fault(error.to_string()))?;
    let endpoints = plan::listed(&written, &mut mistakes);
    let endpoints =
        mistakes.into_result(endpoints).map_err(|error: Mistakes| Fault(error.to_string()))?;
    if endpoints.is_empty() {
        return Err(Fault(format!("{}: the list is empty", file.display())));
    }
    Ok(endpoints)
}
