//! `bowline check`.

use std::path::Path;

use super::{CommandError, load, print};
use crate::discovery;
use crate::plan::Source;

pub(super) fn check(file: &Path) -> Result<(), CommandError> {
    let (plan, doubts) = load::doubted(file)?;
    let discovered = plan.upstreams.iter().flat_map(|upstream| &upstream.discovered);
    let lists = discovered.filter_map(|one| match &one.source {
        Source::File(list) => Some(list),
        _ => None,
    });
    // A running Bowline goes on without them; whoever checks wants to know.
    let faults: Vec<_> =
        lists.filter_map(|list| discovery::read(list).err()).map(|one| one.to_string()).collect();
    if !faults.is_empty() {
        return Err(CommandError::usage(faults.join("\n")));
    }
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
