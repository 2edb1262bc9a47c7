//! Where every node of a YAML text stands. serde_yaml knows positions only while it reads, but a
//! mistake of meaning is found long after; so this reads the text once more, keeping only marks.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser};

use super::at::{At, Step};

/// A line and a column, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// The marks of one text. Text that is not YAML from some point on has marks up to there.
#[derive(Debug, Clone, Default)]
pub(super) struct Positions {
    nodes: Vec<Node>,
    root: Option<usize>,
    /// Keys that are in their mapping a second time: the key, where, and the line of the first.
    pub(super) doubles: Vec<(String, Mark, usize)>,
    /// Where a second document begins.
    pub(super) second_document: Option<Mark>,
}

#[derive(Debug, Clone)]
struct Node {
    mark: Mark,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    Scalar,
    List(Vec<usize>),
    Mapping(Vec<Entry>),
    /// Of an anchored node, which is never itself an alias.
    Alias(usize),
}

#[derive(Debug, Clone)]
struct Entry {
    key: String,
    mark: Mark,
    value: usize,
}

impl Mark {
    /// The top of a file.
    pub(super) const TOP: Self = Self { line: 1, column: 1 };

    fn of(marker: &Marker) -> Self {
        Self { line: marker.line().max(1), column: marker.col() + 1 }
    }
}

impl Positions {
    /// Reads the marks of `text`.
    pub(super) fn of(text: &str) -> Self {
        Reader::default().read(text)
    }

    /// The mark of the value at `at`, or of the nearest place above it that is written.
    pub(super) fn value(&self, at: &At) -> Mark {
        self.find(at).1
    }

    /// The mark of the key that leads to `at`, or of the nearest place above it that is written.
    /// An entry of a list has no key and gives the mark of its value.
    pub(super) fn key(&self, at: &At) -> Mark {
        self.find(at).0
    }

    fn find(&self, at: &At) -> (Mark, Mark) {
        let Some(root) = self.root.and_then(|id| Some((id, self.nodes.get(id)?))) else {
            return (Mark::TOP, Mark::TOP);
        };
        let (mut id, mut marks) = (root.0, (root.1.mark, root.1.mark));
        for step in at.steps() {
            let below = match step {
                Step::Key(key) => self.entry(id, key).map(|entry| (entry.value, Some(entry.mark))),
                Step::Index(index) => self.item(id, *index).map(|id| (id, None)),
            };
            let Some((next, key)) = below else { break };
            let Some(node) = self.nodes.get(next) else { break };
            id = next;
            marks = (key.unwrap_or(node.mark), node.mark);
        }
        marks
    }

    fn shape(&self, id: usize) -> Option<&Shape> {
        match &self.nodes.get(id)?.shape {
            Shape::Alias(target) => self.nodes.get(*target).map(|node| &node.shape),
            shape => Some(shape),
        }
    }

    fn item(&self, id: usize, index: usize) -> Option<usize> {
        match self.shape(id)? {
            Shape::List(items) => items.get(index).copied(),
            _ => None,
        }
    }

    /// The entry in a mapping, or else in what is merged into it with `<<`.
    fn entry(&self, id: usize, key: &str) -> Option<&Entry> {
        // A mapping that merges itself would be searched for ever.
        let mut seen = HashSet::new();
        let mut wanted = vec![id];
        while let Some(id) = wanted.pop() {
            if !seen.insert(id) {
                continue;
            }
            match self.shape(id)? {
                Shape::Mapping(entries) => {
                    if let Some(entry) = entries.iter().find(|entry| entry.key == key) {
                        return Some(entry);
                    }
                    let merges = entries.iter().rev().filter(|entry| entry.key == "<<");
                    wanted.extend(merges.map(|entry| entry.value));
                }
                Shape::List(items) => wanted.extend(items.iter().rev()),
                _ => {}
            }
        }
        None
    }
}

/// Builds the marks from the parser's events.
#[derive(Default)]
struct Reader {
    done: Positions,
    anchors: HashMap<usize, usize>,
    open: Vec<Open>,
}

/// A list or mapping whose end has not come yet.
enum Open {
    List { id: usize, items: Vec<usize> },
    Mapping { id: usize, entries: Vec<Entry>, key: Option<(String, Mark)> },
}

impl Reader {
    fn read(mut self, text: &str) -> Positions {
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            let mark = Mark::of(&span.start);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        self.done.second_document = Some(mark);
                        break;
                    }
                }
                Event::Scalar(text, _, anchor, _) => {
                    let id = self.node(mark, Shape::Scalar, anchor);
                    self.attach(id, &text);
                }
                Event::Alias(anchor) => {
                    let shape =
                        self.anchors.get(&anchor).map_or(Shape::Scalar, |id| Shape::Alias(*id));
                    let id = self.node(mark, shape, 0);
                    self.attach(id, "");
                }
                Event::SequenceStart(anchor, _) => {
                    let id = self.node(mark, Shape::Scalar, anchor);
                    self.open.push(Open::List { id, items: Vec::new() });
                }
                Event::MappingStart(anchor, _) => {
                    let id = self.node(mark, Shape::Scalar, anchor);
                    self.open.push(Open::Mapping { id, entries: Vec::new(), key: None });
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(),
                _ => {}
            }
        }
        // After a mistake of syntax some are still open.
        while !self.open.is_empty() {
            self.close();
        }
        self.done
    }

    fn node(&mut self, mark: Mark, shape: Shape, anchor: usize) -> usize {
        let id = self.done.nodes.len();
        self.done.nodes.push(Node { mark, shape });
        // 0 is the parser's word for no anchor.
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        id
    }

    fn close(&mut self) {
        let (id, shape) = match self.open.pop() {
            Some(Open::List { id, items }) => (id, Shape::List(items)),
            Some(Open::Mapping { id, entries, .. }) => (id, Shape::Mapping(entries)),
            None => return,
        };
        if let Shape::Mapping(entries) = &shape {
            self.done.doubles.extend(doubles(entries));
        }
        if let Some(node) = self.done.nodes.get_mut(id) {
            node.shape = shape;
        }
        self.attach(id, "");
    }

    /// Gives a whole node to the list or mapping that is open around it.
    fn attach(&mut self, id: usize, text: &str) {
        let mark = self.done.nodes.get(id).map_or(Mark::TOP, |node| node.mark);
        match self.open.last_mut() {
            None => self.done.root = self.done.root.or(Some(id)),
            Some(Open::List { items, .. }) => items.push(id),
            Some(Open::Mapping { entries, key, .. }) => match key.take() {
                None => *key = Some((text.to_owned(), mark)),
                Some((key, mark)) => entries.push(Entry { key, mark, value: id }),
            },
        }
    }
}

fn doubles(entries: &[Entry]) -> Vec<(String, Mark, usize)> {
    let mut first = HashMap::new();
    let mut doubles = Vec::new();
    for entry in entries {
        match first.get(entry.key.as_str()) {
            Some(line) => doubles.push((entry.key.clone(), entry.mark, *line)),
            None => {
                first.insert(entry.key.as_str(), entry.mark.line);
            }
        }
    }
    doubles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> At {
        path.split('.').fold(At::root(), |at, step| match step.parse() {
            Ok(index) => at.index(index),
            Err(_) => at.key(step),
        })
    }

    fn value(text: &str, path: &str) -> (usize, usize) {
        let mark = Positions::of(text).value(&at(path));
        (mark.line, mark.column)
    }

    #[test]
    fn keys_and_values_have_their_own_marks() {
        let text = "routes:\n  - upstream: a\n  - match: { path: /x }\n    upstream: b\n";
        assert_eq!(value(text, "routes.1.upstream"), (4, 15));
        assert_eq!(value(text, "routes.1.match.path"), (3, 20));
        let key = Positions::of(text).key(&at("routes.1.match.path"));
        assert_eq!((key.line, key.column), (3, 14));
    }

    #[test]
    fn what_is_not_written_has_the_mark_of_the_nearest_place_above() {
        let text = "routes:\n  - upstream: a\n";
        assert_eq!(value(text, "routes.0.match.path"), (2, 5));
        assert_eq!(value(text, "routes.7"), (2, 3));
        assert_eq!(value("", "routes.7"), (1, 1));
    }

    #[test]
    fn aliases_and_merges_lead_to_what_they_stand_for() {
        let text = "a: &a { x: 1 }\nb: *a\nc:\n  <<: *a\n  y: 2\nd:\n  <<: [ { z: 3 }, *a ]\n";
        assert_eq!(value(text, "b"), (2, 4));
        assert_eq!(value(text, "b.x"), (1, 12));
        assert_eq!(value(text, "c.x"), (1, 12));
        assert_eq!(value(text, "c.y"), (5, 6));
        assert_eq!(value(text, "d.z"), (7, 14));
        assert_eq!(value(text, "d.x"), (1, 12));
    }

    #[test]
    fn a_mapping_that_merges_itself_is_searched_once() {
        assert_eq!(value("a: &a\n  <<: [ *a, *a ]\n  b: 1\n", "a.c"), (1, 4));
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(value("{ ä: \"ö\", b: 1 }", "b"), (1, 14));
    }

    #[test]
    fn doubled_keys_are_found_in_every_mapping() {
        let doubles = Positions::of("a: 1\nb: { c: 1, c: 2 }\na: 3\n").doubles;
        let lines: Vec<_> =
            doubles.iter().map(|(key, mark, first)| (&**key, mark.line, *first)).collect();
        assert_eq!(lines, [("c", 2, 2), ("a", 3, 1)]);
    }
}
