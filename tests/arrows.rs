//! The arrows of ARCHITECTURE.md, read off the source: who may name whom, and what every file
//! must be. The table is the rule; a line that it lacks is a decision, not an oversight.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each part of the crate may name. `lib` and `main` name everything by being the map.
const ARROWS: [(&str, &[&str]); 25] = [
    // What is written, and nothing else.
    ("config", &[]),
    ("plan", &["config", "fields", "origin", "proxy_protocol"]),
    // Facts without a home in one stage.
    ("error", &[]),
    ("fields", &[]),
    ("jitter", &[]),
    ("origin", &[]),
    ("proxy_protocol", &[]),
    ("websocket", &[]),
    ("drain", &[]),
    ("watch", &[]),
    // Two streams: no config, no route, no HTTP.
    ("tunnel", &[]),
    // Counts and tells what others hand to it; asks nobody.
    ("telemetry", &["error", "tunnel"]),
    (
        "upstream",
        &["config", "fields", "jitter", "plan", "proxy_protocol", "telemetry", "websocket"],
    ),
    // Decisions on what a request says, by what is planned.
    ("guard", &["fields", "origin", "plan"]),
    // Lists for whoever asks; what becomes of them is not its business.
    ("discovery", &["config", "plan", "telemetry", "watch"]),
    ("generation", &["plan", "telemetry", "tunnel", "upstream"]),
    (
        "exchange",
        &[
            "config",
            "error",
            "fields",
            "generation",
            "guard",
            "jitter",
            "plan",
            "proxy_protocol",
            "telemetry",
            "tunnel",
            "upstream",
            "websocket",
        ],
    ),
    // `upstream` for its keep-alive settings, which both sides of a proxy share; `config` for the
    // places of certificate mistakes.
    (
        "accept",
        &[
            "config",
            "drain",
            "exchange",
            "generation",
            "plan",
            "proxy_protocol",
            "telemetry",
            "tunnel",
            "upstream",
        ],
    ),
    // The clock between what upstreams decide and what workers do.
    ("rebalance", &["accept", "exchange", "generation", "tunnel", "upstream"]),
    ("admin", &["drain", "telemetry"]),
    // Sees everything that a plan decides on.
    (
        "reload",
        &[
            "accept",
            "config",
            "discovery",
            "exchange",
            "generation",
            "plan",
            "rebalance",
            "telemetry",
            "upstream",
        ],
    ),
    (
        "server",
        &[
            "accept",
            "admin",
            "discovery",
            "drain",
            "generation",
            "plan",
            "reload",
            "telemetry",
            "upstream",
        ],
    ),
    (
        "cli",
        &[
            "accept",
            "config",
            "discovery",
            "drain",
            "exchange",
            "plan",
            "reload",
            "server",
            "telemetry",
            "watch",
        ],
    ),
    ("main", &["cli"]),
    // The program's alone.
    ("allocator", &[]),
];

/// The design's own words, so that a generous line above cannot unsay them.
const NEVER: [(&str, &[&str], &str); 8] = [
    ("tunnel", &["*"], "a tunnel is plain data and two sockets"),
    ("config", &["*"], "config says what is written; what it means is plan's"),
    ("plan", &["accept", "exchange", "upstream", "tunnel", "telemetry"], "plan uses only config"),
    ("upstream", &["exchange", "accept", "tunnel", "server"], "stages do not look back"),
    (
        "guard",
        &["exchange", "upstream", "tunnel", "generation", "telemetry", "accept"],
        "a guard decides; who is asked next and what is told is the exchange's",
    ),
    ("exchange", &["accept", "server", "cli", "admin"], "stages do not look back"),
    (
        "discovery",
        &["upstream", "generation", "reload", "exchange", "accept"],
        "a source says who is there; what becomes of that is reload's",
    ),
    (
        "telemetry",
        &["upstream", "plan", "exchange", "accept"],
        "telemetry is told, and asks nobody",
    ),
];

/// Longer ones are two nouns.
const LONGEST: usize = 500;

/// One file of src/, without comments, texts and tests.
struct Source {
    path: PathBuf,
    text: String,
    code: String,
}

impl Source {
    fn shown(&self) -> String {
        format!("src/{}", self.path.display())
    }

    /// The part of the crate that it belongs to.
    fn unit(&self) -> String {
        let first = self.path.iter().next().unwrap().to_str().unwrap();
        first.trim_end_matches(".rs").to_owned()
    }

    /// How many `super::` lead from here to the crate's root.
    fn depth(&self) -> usize {
        self.path.iter().count()
    }

    fn is_tests(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "tests.rs")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&entry).unwrap();
                let path = entry.strip_prefix(&root).unwrap().to_owned();
                let code = bare(before_tests(&text));
                found.push(Source { path, text, code });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 50, "src/ was not found");
    found
}

/// Tests stand last in a file.
fn before_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod ").map_or(text, |end| text.get(..end).unwrap())
}

/// Code without comments and without what stands in quotes.
fn bare(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = rest.next() {
        match c {
            '/' if rest.peek() == Some(&'/') => {
                for c in rest.by_ref() {
                    if c == '\n' {
                        break;
                    }
                }
                code.push('\n');
            }
            '"' => {
                // `r"..."` and `r#"..."#` have no escapes; the files have few and simple ones.
                let raw = before == 'r' || before == '#';
                while let Some(c) = rest.next() {
                    match c {
                        '\\' if !raw => drop(rest.next()),
                        '"' if before != '#' => break,
                        '"' if rest.peek() == Some(&'#') => break,
                        _ => {}
                    }
                }
                code.push_str("\"\"");
            }
            // A quoted character, not a lifetime.
            '\'' => {
                let ahead: Vec<char> = rest.clone().take(3).collect();
                match ahead.as_slice() {
                    ['\\', _, ..] => {
                        rest.next();
                        rest.next();
                        for c in rest.by_ref() {
                            if c == '\'' {
                                break;
                            }
                        }
                    }
                    [_, '\'', ..] => drop((rest.next(), rest.next())),
                    _ => code.push(c),
                }
            }
            c => code.push(c),
        }
        before = c;
    }
    code
}

/// The parts of the crate that `source` names, by `crate::` or by climbing to the root.
fn named(source: &Source) -> BTreeSet<String> {
    let code = source.code.as_str();
    let climb = "super::".repeat(source.depth());
    let mut named = BTreeSet::new();
    for root in ["crate::", "bowline::", climb.as_str()] {
        for (at, _) in code.match_indices(root) {
            let before = code.get(..at).unwrap().chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            named.extend(heads(code.get(at + root.len()..).unwrap()));
        }
    }
    named.remove(&source.unit());
    named
}

/// The first words of a path or of a group of paths: `a::b` has `a`, `{a::{b, c}, d}` has `a`, `d`.
fn heads(path: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let mut heads = Vec::new();
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                heads.push(word(group.get(begin..at).unwrap()));
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

#[test]
fn nobody_names_what_the_table_does_not_grant() {
    let table: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_tests() && source.unit() != "lib") {
        let Some(granted) = table.get(source.unit().as_str()) else {
            wrong.push(format!("{} has no line in the table", source.shown()));
            continue;
        };
        for name in named(source).iter().filter(|name| !granted.contains(&name.as_str())) {
            wrong.push(format!("{} uses {name}", source.shown()));
        }
    }
    assert!(wrong.is_empty(), "arrows that are not in the table:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_grants_nothing_that_nobody_uses_and_nothing_that_the_design_forbids() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources().iter().filter(|source| !source.is_tests()) {
        used.entry(source.unit()).or_default().extend(named(source));
    }
    for (unit, granted) in ARROWS {
        let used = used.get(unit).unwrap_or_else(|| panic!("there is no {unit}"));
        for name in granted {
            assert!(used.contains(*name), "{unit} does not use {name} any more");
        }
    }
    for (unit, never, reason) in NEVER {
        let used = used.get(unit).unwrap();
        let breach: Vec<_> = used
            .iter()
            .filter(|name| never.contains(&"*") || never.contains(&name.as_str()))
            .collect();
        assert!(breach.is_empty(), "{unit} uses {breach:?}, but {reason}");
    }
}

#[test]
fn no_two_parts_name_each_other() {
    let table: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    // Following the arrows from any part never leads back to it.
    for start in table.keys() {
        let mut reached = BTreeSet::new();
        let mut next = vec![*start];
        while let Some(unit) = next.pop() {
            for name in table.get(unit).into_iter().copied().flatten() {
                assert_ne!(name, start, "{start} leads back to itself over {unit}");
                if reached.insert(*name) {
                    next.push(name);
                }
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_is_one_thing() {
    let mut wrong = Vec::new();
    for source in sources() {
        let shown = source.shown();
        if !source.text.starts_with("//!") {
            wrong.push(format!("{shown} does not open with //!"));
        }
        let lines = before_tests(&source.text).lines().count();
        if lines > LONGEST && !source.is_tests() {
            wrong.push(format!("{shown} has {lines} lines before its tests: make it two files"));
        }
        let name = source.path.file_stem().unwrap().to_str().unwrap();
        if ["mod", "utils", "util", "common", "helpers", "misc"].contains(&name) {
            wrong.push(format!("{shown}: a file is named after the one thing it holds"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_outside_tests_panics_on_purpose() {
    let words = [
        ".unwrap()",
        ".expect(",
        ".unwrap_err()",
        ".expect_err(",
        "panic!(",
        "unreachable!(",
        "todo!(",
        "unimplemented!(",
        "dbg!(",
        "process::exit",
        // Panics when nobody reads any more.
        "println!(",
    ];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_tests()) {
        for word in words.iter().filter(|word| source.code.contains(**word)) {
            wrong.push(format!("{} has {word}", source.shown()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_that_are_to_be_replaced_one_day_stand_behind_one_file_each() {
    for (name, home) in [
        ("rustls_pemfile::", "accept/tls/pem.rs"),
        ("serde_yaml::", "config/parse.rs"),
        ("x509_cert::", "accept/tls/x509.rs"),
        ("rcgen::", "accept/tls/issue.rs"),
    ] {
        let users = sources();
        let users = users.iter().filter(|source| source.code.contains(name));
        let users: Vec<_> = users.map(|source| source.path.to_str().unwrap().to_owned()).collect();
        assert!(users.iter().all(|user| user == home), "{name} belongs in {home} alone: {users:?}");
    }
}

#[test]
fn this_test_can_read_rust() {
    let code = bare("a // crate::x\nb \"crate::y \\\" {\" 'c' '\"' '\\'' &'a str");
    assert!(!code.contains("crate") && !code.contains('{'), "{code}");
    assert!(code.contains("&'a str"), "{code}");
    assert_eq!(heads("{a::{b, c}, d, self::e};"), ["a", "d", "self"]);
    assert_eq!(heads("a::b;"), ["a"]);
    assert_eq!(before_tests("x\n#[cfg(test)]\nmod tests {}"), "x");
}
