//! `bowline check`.

use std::path::Path;

use super::{CommandError, load, print};

pub(super) fn check(file: &Path) -> Result<(), CommandError> {
    let (plan, doubts) = load::doubted(file)?;
    let count =
        |number: usize, what| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    for doubt in doubts {
        print(&format!("{}: warning: {doubt}\n", file.display()))?;
    }
    print(&format!(
        "{}: in order ({}, {}, {})\n",
        file.display(),
        count(plan.listeners.len(), "listener"),
        count(plan.routes.all().len(), "route"),
        count(plan.upstreams.len(), "upstream"),
    ))
}
