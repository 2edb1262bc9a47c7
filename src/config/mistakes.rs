//! All mistakes of one file, each at its line and column. Structural ones come from `parse`, those
//! of meaning from `plan/`, which sees the file after the broken parts were taken out; so places
//! are translated back, and what only follows from a part that was taken out is not said again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::at::{At, Step};
use super::positions::{Mark, Positions};

/// The mistakes of one configuration. Displays as one line each, in the order of the file:
/// `file:line:column: what is wrong, and how to mend it`.
#[derive(Debug, Clone, Default)]
pub struct Mistakes {
    name: Box<str>,
    /// None where there is no text, as for a configuration made from the command line.
    positions: Option<Box<Positions>>,
    found: BTreeSet<(Place, String)>,
    /// What `parse` took out, as places in the file.
    pruned: BTreeSet<At>,
    /// By list, as a place in the file: the entries that were taken out, by their index there.
    gone: BTreeMap<At, BTreeSet<usize>>,
    included: Vec<Included>,
}

/// The mistakes of a further file, and which parts of the configuration are its own.
#[derive(Debug, Clone)]
struct Included {
    mistakes: Mistakes,
    /// By list: its first index in the whole, and how many are its own.
    lists: Vec<(&'static str, usize, usize)>,
    upstreams: Vec<String>,
}

impl Included {
    /// A place in the whole as a place in this file's part, if it is its own.
    fn own(&self, at: &At) -> Option<At> {
        let mut steps = at.steps().iter();
        let (Step::Key(list), step) = (steps.next()?, steps.next()?) else { return None };
        let top = At::root().key(list);
        let own = match step {
            Step::Index(index) => {
                let mut lists = self.lists.iter().filter(|(name, ..)| name == list);
                let index = lists.find_map(|(_, first, count)| {
                    index.checked_sub(*first).filter(|own| own < count)
                });
                top.index(index?)
            }
            Step::Key(name) => {
                let is_own = list == "upstreams" && self.upstreams.contains(name);
                is_own.then(|| top.key(name))?
            }
        };
        Some(steps.fold(own, |at, step| at.step(step.clone())))
    }
}

/// Where a mistake is said to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Mark(Mark),
    Path(At),
}

impl Mistakes {
    /// None yet, for a configuration that was not written in a file. A mistake shows its path in
    /// place of a line: `name: routes[0].upstream: what`.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// None yet, for the file `name` with this text.
    pub(super) fn of(name: &str, text: &str) -> Self {
        Self { positions: Some(Box::new(Positions::of(text))), ..Self::new(name) }
    }

    /// Adds a mistake at the value of `at`, a place in the parsed configuration; where nothing is
    /// written there, at the nearest place above. `what` is one sentence: what is wrong, and how
    /// to mend it. What is missing belongs to the place that lacks it, its parent.
    ///
    /// Nothing is added where `at`, or something below or above it, was already found broken.
    pub fn add(&mut self, at: &At, what: impl Into<String>) {
        if let Some((mistakes, at)) = self.of_included(at) {
            return mistakes.add(&at, what);
        }
        let at = self.in_file(at);
        if !self.broken(&at) {
            self.say(&at, false, what.into());
        }
    }

    /// Like [`add`](Self::add), at the key of `at` and not at its value.
    pub fn add_at_key(&mut self, at: &At, what: impl Into<String>) {
        if let Some((mistakes, at)) = self.of_included(at) {
            return mistakes.add_at_key(&at, what);
        }
        let at = self.in_file(at);
        if !self.broken(&at) {
            self.say(&at, true, what.into());
        }
    }

    /// Whether `at`, or something below or above it, was taken out of the configuration as broken.
    /// A reference to it (an upstream by its name) is then no mistake of its own.
    pub fn covers(&self, at: &At) -> bool {
        let of = |one: &Included| match one.own(at) {
            Some(at) => one.mistakes.covers(&at),
            // Of a file that could not be read at all nobody knows what it says.
            None => one.mistakes.covers(&At::root().key("upstreams")),
        };
        self.included.iter().any(of) || self.broken(&self.in_file(at))
    }

    /// Takes in the mistakes of a further file, whose parts are these of `lists` and these `upstreams`.
    pub(super) fn include(
        &mut self,
        mistakes: Self,
        lists: &[(&'static str, usize, usize)],
        upstreams: Vec<String>,
    ) {
        self.included.push(Included { mistakes, lists: lists.to_vec(), upstreams });
    }

    /// The mistakes of the further file that a place belongs to, and the place there.
    fn of_included(&mut self, at: &At) -> Option<(&mut Self, At)> {
        self.included
            .iter_mut()
            .find_map(|one| Some((one.own(at)?, one)).map(|(at, one)| (&mut one.mistakes, at)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.included.iter().all(|one| one.mistakes.is_empty())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let included = self.included.iter().map(|one| one.mistakes.len());
        included.fold(self.found.len(), usize::saturating_add)
    }

    /// `value` if there is no mistake.
    ///
    /// # Errors
    /// All mistakes, if there is one.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Adds a mistake at a place in the file, whose part is then taken out of the configuration.
    pub(super) fn fault(&mut self, at: &At, on_key: bool, what: String) {
        self.say(at, on_key, what);
        self.pruned.insert(at.clone());
    }

    /// Adds a mistake for which nothing of the file could be used.
    pub(super) fn fatal(&mut self, mark: Mark, what: String) {
        self.found.insert((Place::Mark(mark), one_line(&what)));
        self.pruned.insert(At::root());
    }

    /// Remembers that an entry of a list, by its index in the file, was taken out.
    pub(super) fn entry_gone(&mut self, list: &At, index: usize) {
        self.gone.entry(list.clone()).or_default().insert(index);
    }

    /// The place in the file of a place in the configuration without its broken parts.
    pub(super) fn in_file(&self, at: &At) -> At {
        at.steps().iter().fold(At::root(), |parent, step| match step {
            Step::Key(key) => parent.key(key),
            Step::Index(index) => {
                let gone = self.gone.get(&parent);
                // In rising order, each gone entry before the place pushes it down by one.
                let index = gone
                    .into_iter()
                    .flatten()
                    .fold(*index, |index, gone| if *gone <= index { index + 1 } else { index });
                parent.index(index)
            }
        })
    }

    /// The mark of the value at a place in the file.
    pub(super) fn mark(&self, at: &At) -> Mark {
        self.positions.as_ref().map_or(Mark::TOP, |positions| positions.value(at))
    }

    /// Keys that are in their mapping a second time: the key, where, and the line of the first.
    pub(super) fn doubles(&self) -> Vec<(String, Mark, usize)> {
        self.positions.as_ref().map(|positions| positions.doubles.clone()).unwrap_or_default()
    }

    /// Where a second document begins.
    pub(super) fn second_document(&self) -> Option<Mark> {
        self.positions.as_ref()?.second_document
    }

    fn broken(&self, at: &At) -> bool {
        self.pruned.iter().any(|pruned| pruned.holds(at) || at.holds(pruned))
    }

    fn say(&mut self, at: &At, on_key: bool, what: String) {
        let place = match &self.positions {
            Some(positions) if on_key => Place::Mark(positions.key(at)),
            Some(positions) => Place::Mark(positions.value(at)),
            None => Place::Path(at.clone()),
        };
        self.found.insert((place, one_line(&what)));
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_first = true;
        for (place, what) in &self.found {
            if !std::mem::take(&mut is_first) {
                f.write_str("\n")?;
            }
            match place {
                Place::Mark(mark) => {
                    write!(f, "{}:{}:{}: {what}", self.name, mark.line, mark.column)?;
                }
                Place::Path(at) if at.steps().is_empty() => write!(f, "{}: {what}", self.name)?,
                Place::Path(at) => write!(f, "{}: {at}: {what}", self.name)?,
            }
        }
        for included in self.included.iter().filter(|one| !one.mistakes.is_empty()) {
            if !std::mem::take(&mut is_first) {
                f.write_str("\n")?;
            }
            write!(f, "{}", included.mistakes)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// Terminals act on control characters, and a mistake is one line.
fn one_line(what: &str) -> String {
    what.chars()
        .map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_sorted_by_place_and_said_once() {
        let mut mistakes = Mistakes::of("file", "a: 1\nb: 2\n");
        mistakes.add(&At::root().key("b"), "second");
        mistakes.add(&At::root().key("a"), "first");
        mistakes.add(&At::root().key("b"), "second");
        mistakes.add_at_key(&At::root().key("b"), "on the key");
        let lines = "file:1:4: first\nfile:2:1: on the key\nfile:2:4: second";
        assert_eq!(mistakes.to_string(), lines);
        assert_eq!(mistakes.len(), 3);
    }

    #[test]
    fn without_a_file_a_mistake_shows_its_path() {
        let mut mistakes = Mistakes::new("command line");
        mistakes.add(&At::root().key("routes").index(0), "wrong");
        mistakes.add(&At::root(), "all wrong");
        assert_eq!(mistakes.to_string(), "command line: all wrong\ncommand line: routes[0]: wrong");
    }

    #[test]
    fn what_follows_from_a_broken_part_is_not_said() {
        let mut mistakes = Mistakes::of("file", "a:\n  b: 1\n  c: 2\nd: 3\n");
        mistakes.fault(&At::root().key("a").key("b"), false, "broken".into());
        mistakes.add(&At::root().key("a"), "nothing in a");
        mistakes.add(&At::root().key("a").key("b").key("x"), "no x");
        mistakes.add(&At::root().key("a").key("c"), "c is wrong");
        assert_eq!(mistakes.to_string(), "file:2:6: broken\nfile:3:6: c is wrong");
        assert!(mistakes.covers(&At::root().key("a").key("b")));
        assert!(!mistakes.covers(&At::root().key("d")));
    }

    #[test]
    fn an_index_counts_the_entries_that_were_taken_out() {
        let mut mistakes = Mistakes::of("file", "- a\n- b\n- c\n- d\n- e\n");
        mistakes.entry_gone(&At::root(), 0);
        mistakes.entry_gone(&At::root(), 2);
        mistakes.entry_gone(&At::root(), 3);
        assert_eq!(mistakes.in_file(&At::root().index(0)), At::root().index(1));
        assert_eq!(mistakes.in_file(&At::root().index(1)), At::root().index(4));
        mistakes.add(&At::root().index(1), "e is wrong");
        assert_eq!(mistakes.to_string(), "file:5:3: e is wrong");
    }

    #[test]
    fn a_mistake_is_one_line_whatever_was_written() {
        let mut mistakes = Mistakes::of("file", "a");
        mistakes.add(&At::root(), "bad \u{1b}[31m\n`x`");
        assert_eq!(mistakes.to_string(), "file:1:1: bad \\u{1b}[31m\\n`x`");
    }
}
