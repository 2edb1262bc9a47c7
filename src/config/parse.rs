//! From text to `Config`, with every structural mistake found in one go. The only file that names
//! serde_yaml, which is unmaintained upstream: replacing it is a change of this file alone.
//!
//! serde stops at the first mistake. So the part that it stumbled over is noted, taken out of the
//! tree, and the rest is read again; what comes back is the configuration without its broken parts.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use serde_yaml::{Mapping, Value};

use super::at::{At, Step};
use super::positions::Mark;
use super::{Config, EndpointEntry, Mistakes, variables, wording};

/// Nobody mends more at once, and each costs one more reading.
const MOST_MISTAKES: usize = 100;

/// Reads a configuration. `name` stands before each mistake; `env` gives environment variables.
///
/// It never fails: what is broken (not YAML, an unknown key, a value of the wrong kind, an unset
/// variable) is in the mistakes and not in the configuration, which is then only good for
/// finding mistakes of meaning too. Text that is not YAML at all gives an empty configuration.
pub fn parse(name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> (Config, Mistakes) {
    read_as(name, text, env, &SETTINGS)
}

/// The same for a file that is a list of endpoints.
pub fn parse_endpoints(
    name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> (Vec<EndpointEntry>, Mistakes) {
    read_as(name, text, env, &ENDPOINTS)
}

/// What stands at the top of a file, and what is said where it does not.
struct Top {
    is: fn(&Value) -> bool,
    empty: &'static str,
    other: &'static str,
}

const SETTINGS: Top = Top {
    is: |value| matches!(value, Value::Mapping(_)),
    empty: "the file says nothing; write at least `listeners`, `routes` and `upstreams`",
    other: "the file must be a mapping; write settings as `key: value`, such as `listeners:`",
};

const ENDPOINTS: Top = Top {
    is: |value| matches!(value, Value::Sequence(_)),
    empty: "the file says nothing; write a list of endpoints, such as `- 10.0.0.1:9001`",
    other: "the file must be a list; write endpoints as `- 10.0.0.1:9001`, one a line",
};

fn read_as<T: DeserializeOwned + Default>(
    name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    top: &Top,
) -> (T, Mistakes) {
    // Editors on Windows begin a file with a mark that is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut mistakes = Mistakes::of(name, text);
    let Some(mut tree) = tree(text, top, &mut mistakes) else {
        return (T::default(), mistakes);
    };
    tidy(&mut tree, &At::root(), env, &mut mistakes);
    let read = typed(tree, &mut mistakes);
    (read, mistakes)
}

/// The tree of a text with the right thing at its top.
fn tree(text: &str, top: &Top, mistakes: &mut Mistakes) -> Option<Value> {
    let (mark, what) = match serde_yaml::from_str(text) {
        Ok(tree) if (top.is)(&tree) => return Some(tree),
        Ok(Value::Null) => (Mark::TOP, top.empty),
        Ok(_) => (mistakes.mark(&At::root()), top.other),
        Err(error) => return not_yaml(text, &error, mistakes),
    };
    mistakes.fatal(mark, what.to_owned());
    None
}

fn not_yaml(text: &str, error: &serde_yaml::Error, mistakes: &mut Mistakes) -> Option<Value> {
    let message = error.to_string();
    let doubles = mistakes.doubles();
    if message.contains("duplicate entry") && !doubles.is_empty() {
        for (key, mark, first) in doubles {
            let key = wording::quoted(&key);
            mistakes
                .fatal(mark, format!("the key {key} is already on line {first}; keep one of them"));
        }
        return None;
    }
    let mark = if message.contains("more than one document") {
        mistakes.second_document()
    } else if message.contains("control characters") {
        control_character(text)
    } else {
        error
            .location()
            .map(|place| Mark { line: place.line().max(1), column: place.column().max(1) })
    };
    let mark = mark.unwrap_or(Mark::TOP);
    let line = text.lines().nth(mark.line - 1).unwrap_or_default();
    let before = mark.column.checked_sub(2).and_then(|index| line.chars().nth(index));
    let next = line.chars().nth(mark.column - 1);
    mistakes.fatal(mark, wording::syntax(&message, before, next));
    None
}

/// Where the first one is; libyaml does not say.
fn control_character(text: &str) -> Option<Mark> {
    text.split('\n').enumerate().find_map(|(line, text)| {
        let column = text.chars().position(|c| c.is_control() && !matches!(c, '\t' | '\r'))?;
        Some(Mark { line: line + 1, column: column + 1 })
    })
}

/// Puts in variables and merges, and takes out what the types could not tell from right: keys that
/// are no texts (serde would take 0 for the first field), and tags.
///
/// serde_yaml refuses more than 128 levels, so that the recursion here has an end.
fn tidy(
    value: &mut Value,
    at: &At,
    env: &dyn Fn(&str) -> Option<String>,
    mistakes: &mut Mistakes,
) -> bool {
    match value {
        Value::String(text) => match variables::expand(text, env) {
            Ok(expanded) => *text = expanded,
            Err(wrong) => {
                for what in wrong {
                    mistakes.fault(at, false, what);
                }
                return false;
            }
        },
        Value::Sequence(items) => {
            let mut index = 0;
            items.retain_mut(|item| {
                let keep = tidy(item, &at.index(index), env, mistakes);
                if !keep {
                    mistakes.entry_gone(at, index);
                }
                index += 1;
                keep
            });
        }
        Value::Mapping(mapping) => {
            merge(mapping, at, mistakes);
            mapping.retain(|key, value| match key {
                Value::String(key) => tidy(value, &at.key(key), env, mistakes),
                key => {
                    let text = scalar(key);
                    let key = wording::quoted(&text);
                    mistakes.fault(
                        &at.key(&text),
                        true,
                        format!("the key {key} is not a text; put it in quotes"),
                    );
                    false
                }
            });
        }
        Value::Tagged(tagged) => {
            let tag = wording::quoted(&tagged.tag.to_string());
            mistakes.fault(at, false, format!("the tag {tag} means nothing here; remove it"));
            return false;
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    true
}

/// Gives a mapping what its `<<` stands for, except the keys that it has itself.
fn merge(mapping: &mut Mapping, at: &At, mistakes: &mut Mistakes) {
    let Some(source) = mapping.remove("<<") else { return };
    let sources = match source {
        Value::Sequence(sources) => sources,
        source => vec![source],
    };
    for source in sources {
        let Value::Mapping(mut source) = source else {
            let what = "`<<` takes a mapping or a list of them; write an alias such as `*name`";
            mistakes.fault(&at.key("<<"), false, what.to_owned());
            continue;
        };
        merge(&mut source, &at.key("<<"), mistakes);
        for (key, value) in source {
            mapping.entry(key).or_insert(value);
        }
    }
}

fn scalar(key: &Value) -> String {
    match key {
        Value::Bool(on) => on.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null => "null".to_owned(),
        _ => String::new(),
    }
}

fn typed<T: DeserializeOwned + Default>(mut tree: Value, mistakes: &mut Mistakes) -> T {
    for _ in 0..MOST_MISTAKES {
        let error = match serde_path_to_error::deserialize::<_, T>(&tree) {
            Ok(read) => {
                nothing_written(&tree, &At::root(), mistakes);
                return read;
            }
            Err(error) => error,
        };
        let at = place(&error);
        let in_file = mistakes.in_file(&at);
        let message = error.inner().to_string();
        // As a text, `format: 1` meets the list of words that fit.
        if message.ends_with(wording::WORD)
            && let Some(value @ (Value::Bool(_) | Value::Number(_))) = below(&mut tree, at.steps())
        {
            *value = Value::String(scalar(value));
            continue;
        }
        let key = match in_file.steps().last() {
            Some(Step::Key(key)) => Some(key.as_str()),
            _ => None,
        };
        let what = wording::plain(&message, key);
        mistakes.fault(&in_file, wording::is_about_key(&message), what);
        if !prune(&mut tree, at.steps(), mistakes) {
            return T::default();
        }
    }
    // serde may still stumble, but over nothing that this list should be longer for.
    if let Ok(read) = T::deserialize(&tree) {
        return read;
    }
    mistakes.fault(
        &At::root(),
        false,
        "there are more mistakes than are listed; mend these first".to_owned(),
    );
    T::default()
}

/// Where serde stumbled, as a place in the tree that it read.
fn place(error: &serde_path_to_error::Error<serde_yaml::Error>) -> At {
    error.path().iter().fold(At::root(), |at, segment| match segment {
        Segment::Seq { index } => at.index(*index),
        Segment::Map { key } => at.key(key),
        Segment::Enum { .. } | Segment::Unknown => at,
    })
}

/// Takes a part out of the tree. False if nothing would be left, or it is not there.
fn prune(tree: &mut Value, steps: &[Step], mistakes: &mut Mistakes) -> bool {
    let Some((last, parents)) = steps.split_last() else { return false };
    let Some(parent) = below(tree, parents) else { return false };
    let at = parents.iter().fold(At::root(), |at, step| at.step(step.clone()));
    match (parent, last) {
        (Value::Mapping(mapping), Step::Key(key)) => mapping.remove(key.as_str()).is_some(),
        (Value::Sequence(items), Step::Index(index)) if *index < items.len() => {
            if let Some(Step::Index(in_file)) = mistakes.in_file(&at.index(*index)).steps().last() {
                let list = mistakes.in_file(&at);
                mistakes.entry_gone(&list, *in_file);
            }
            items.remove(*index);
            true
        }
        _ => false,
    }
}

fn below<'a>(tree: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    steps.iter().try_fold(tree, |value, step| match step {
        Step::Key(key) => value.get_mut(key.as_str()),
        Step::Index(index) => value.get_mut(*index),
    })
}

/// A key with nothing after it reads as unset; but whoever wrote `tls:` and nothing below it did
/// not mean plain text.
fn nothing_written(value: &Value, at: &At, mistakes: &mut Mistakes) {
    match value {
        Value::Null => {
            let what = "nothing is written here; write a value, or remove the key";
            let in_file = mistakes.in_file(at);
            mistakes.fault(&in_file, true, what.to_owned());
        }
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                nothing_written(item, &at.index(index), mistakes);
            }
        }
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                if let Value::String(key) = key {
                    nothing_written(value, &at.key(key), mistakes);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{Balance, Count, Limit, OneOrMany, Switch, Time};

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("8080".into()),
            "WORKERS" => Some("3".into()),
            "YES" => Some("true".into()),
            _ => None,
        }
    }

    fn good(text: &str) -> Config {
        let (config, mistakes) = parse("f", text, &env);
        assert!(mistakes.is_empty(), "{mistakes}");
        config
    }

    fn bad(text: &str) -> (Config, Vec<String>) {
        let (config, mistakes) = parse("f", text, &env);
        (config, mistakes.to_string().lines().map(str::to_owned).collect())
    }

    fn said(text: &str) -> Vec<String> {
        bad(text).1
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let config = good(
            "listeners:\n  - address: 127.0.0.1:${PORT}\n    limits: { uri: 8KiB, connections: 7 }\n\
             routes:\n  - match: { host: a.example, method: [GET, POST], websocket: false }\n    upstream: web\n\
             upstreams:\n  web: { endpoints: ['127.0.0.1:1'], balance: round_robin }\n\
             timeouts: { connect: 1s, idle: off }\nworkers: ${WORKERS}\nlog: { access: '${YES}' }\n",
        );
        assert_eq!(config.listeners[0].address.as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(config.listeners[0].limits.connections, Some(Count(7)));
        assert_eq!(config.routes[0].matches.host, OneOrMany(vec!["a.example".into()]));
        assert_eq!(config.routes[0].matches.method.0, ["GET", "POST"]);
        assert_eq!(config.routes[0].matches.websocket, Some(Switch(false)));
        assert_eq!(config.upstreams["web"].balance, Some(Balance::RoundRobin));
        assert_eq!(config.timeouts.connect, Some(Time(Duration::from_secs(1))));
        assert_eq!(config.timeouts.idle, Some(Limit::Off));
        assert_eq!(config.workers, Some(Count(3)));
        assert_eq!(config.log.access, Some(Switch(true)));
    }

    #[test]
    fn an_unknown_key_is_shown_at_the_key_with_the_one_that_was_meant() {
        let (config, lines) = bad("routes:\n  - upstreem: web\n    max_body: 1MiB\n");
        assert_eq!(lines, ["f:2:5: unknown key `upstreem`; did you mean `upstream`?"]);
        assert!(config.routes[0].max_body.is_some());
    }

    #[test]
    fn a_bad_word_in_the_third_upstream_is_shown_at_the_word() {
        let text =
            "upstreams:\n  a: { balance: round_robin }\n  b: {}\n  c:\n    balance: fastest\n";
        let line = "f:5:14: unknown word `fastest`; write `least_connections`, `round_robin`, \
                    `power_of_two`, `random`, `ring_hash` or `maglev`, or remove it";
        assert_eq!(said(text), [line]);
    }

    #[test]
    fn ten_mistakes_in_one_file_are_all_found_on_their_lines() {
        let text = "\
listener: []
listeners:
  - address: 127.0.0.1:1
    limits: { uri: big }
  - 5
  - address: [a]
    tls: {}
routes:
  - match: { host: 7, websocket: maybe }
  - upstream: web
    timeouts: { connect: 30, idle: never }
upstreams:
  web: { keep_alive: { max: -1 } }
  api: { builtin: echoes }
log: { level: \"${LEVEL}\" }
drain:
";
        let (config, lines) = bad(text);
        let marks: Vec<_> =
            lines.iter().map(|line| line.split(": ").next().unwrap_or_default()).collect();
        let expected = [
            "f:1:1", "f:4:20", "f:5:5", "f:6:14", "f:9:20", "f:9:34", "f:11:26", "f:11:36",
            "f:13:29", "f:14:19", "f:15:15", "f:16:1",
        ];
        assert_eq!(marks, expected, "{lines:#?}");
        assert_eq!(config.listeners.len(), 2);
        assert_eq!(config.routes[1].upstream.as_deref(), Some("web"));
    }

    #[test]
    fn a_mistake_of_meaning_behind_a_pruned_entry_has_its_own_line() {
        let text = "routes:\n  - 1\n  - upstream: a\n  - [2]\n  - upstream: b\n";
        let (config, mut mistakes) = parse("f", text, &env);
        assert_eq!(config.routes[1].upstream.as_deref(), Some("b"));
        mistakes.add(&At::root().key("routes").index(1).key("upstream"), "no such upstream");
        mistakes.add(&At::root().key("routes"), "follows from the broken entries");
        let lines = mistakes.to_string();
        assert!(lines.ends_with("f:5:15: no such upstream"), "{lines}");
        assert_eq!(mistakes.len(), 3);
    }

    #[test]
    fn an_unset_variable_is_named_and_its_entry_taken_out() {
        let (config, lines) =
            bad("trusted_proxies:\n  - 10.0.0.0/8\n  - ${NETS}\n  - 5\n  - ::1\n");
        assert_eq!(config.trusted_proxies, ["10.0.0.0/8", "::1"]);
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].starts_with("f:3:5: the environment variable `NETS` is not set"),
            "{lines:?}"
        );
        assert!(lines[1].starts_with("f:4:5: `5` does not fit here"), "{lines:?}");
    }

    #[test]
    fn every_doubled_key_is_shown_with_the_line_of_the_first() {
        let lines = said("via: a\nlog: { level: info, level: warn }\nvia: b\n");
        assert_eq!(
            lines,
            [
                "f:2:21: the key `level` is already on line 2; keep one of them",
                "f:3:1: the key `via` is already on line 1; keep one of them"
            ]
        );
    }

    #[test]
    fn aliases_and_merges_are_read_and_their_mistakes_shown_once() {
        let config = good(
            "timeouts: &t { connect: 1s, idle: 1m }\nroutes:\n  - timeouts: *t\n  - timeouts:\n      <<: *t\n      idle: off\n",
        );
        assert_eq!(config.routes[0].timeouts, config.timeouts);
        assert_eq!(config.routes[1].timeouts.connect, config.timeouts.connect);
        assert_eq!(config.routes[1].timeouts.idle, Some(Limit::Off));

        let lines =
            said("timeouts: &t { connect: soon }\nroutes:\n  - timeouts: { <<: *t, idle: off }\n");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("f:1:25: `soon` is not a time"));

        assert!(said("timeouts: { <<: 5 }\n")[0].starts_with("f:1:17: `<<` takes a mapping"));
    }

    #[test]
    fn merges_within_merges_are_read() {
        let config = good(
            "timeouts: &a { connect: 1s }\nroutes:\n  - timeouts: &b { <<: *a, idle: 1m }\n  - timeouts: { <<: *b }\n  - timeouts: { <<: [ *b, *a ], idle: off }\n",
        );
        assert_eq!(config.routes[1].timeouts, config.routes[0].timeouts);
        assert_eq!(config.routes[2].timeouts.connect, config.timeouts.connect);
    }

    #[test]
    fn text_that_is_no_mapping_or_nothing_at_all_is_said_plainly() {
        for text in ["", "\n", "# only a comment\n", "---\n", "\u{feff}", "~"] {
            assert!(said(text)[0].starts_with("f:1:1: the file says nothing"), "{text:?}");
        }
        assert!(said("# x\n- a\n")[0].starts_with("f:2:1: the file must be a mapping"));
        assert!(said("listeners")[0].starts_with("f:1:1: the file must be a mapping"));
        assert!(said("!x { a: 1 }")[0].starts_with("f:1:1: the file must be a mapping"));
    }

    #[test]
    fn text_that_is_not_yaml_is_shown_where_it_ends_to_be() {
        let pairs = [
            ("log:\n\tlevel: info\n", "f:2:1: a tab"),
            ("via: @x\n", "f:1:6: a value cannot begin with `@`"),
            ("via: a: b\n", "f:1:7: a second `: `"),
            ("via: \"x\n", "f:2:1: a quote is never closed"),
            ("log: [a\nvia: x\n", "f:2:4: a list that begins with `[`"),
            ("log: {a: b\nvia: x\n", "f:2:4: a mapping that begins with `{`"),
            ("log:\n  level: info\n format: json\n", "f:3:2: this line does not fit"),
            ("log: { level: ${X} }\n", "f:1:16: a variable within"),
            ("via: *x\n", "f:1:6: an alias"),
            ("via: a\n---\nvia: b\n", "f:2:1: a second document"),
            ("via: a\n\u{1}\u{2}", "f:2:1: a control character"),
        ];
        for (text, expected) in pairs {
            let lines = said(text);
            assert!(lines.len() == 1 && lines[0].starts_with(expected), "{expected} {lines:?}");
        }
    }

    #[test]
    fn after_text_that_is_not_yaml_nothing_else_is_said() {
        let (_, mut mistakes) = parse("f", "via: \"x\n", &env);
        mistakes.add(&At::root(), "there is no listener");
        mistakes.add(&At::root().key("routes"), "there is no route");
        assert_eq!(mistakes.len(), 1);
    }

    #[test]
    fn keys_that_are_no_texts_and_tags_are_refused() {
        let (config, lines) = bad("0: []\nlog: { true: 1, level: !low info }\nvia: !!str x\n");
        assert_eq!(config.listeners, []);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("f:1:1: the key `0` is not a text"));
        assert!(lines[1].starts_with("f:2:8: the key `true` is not a text"));
        assert!(lines[2].starts_with("f:2:24: the tag `!low` means nothing here"));
    }

    #[test]
    fn a_key_with_nothing_after_it_is_a_mistake() {
        let lines = said("listeners:\n  - address: 127.0.0.1:1\n    tls:\nroutes:\n");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("f:3:5: nothing is written here"), "{lines:?}");
        assert!(lines[1].starts_with("f:4:1: nothing is written here"), "{lines:?}");
    }

    #[test]
    fn more_mistakes_than_anyone_mends_at_once_are_not_all_listed() {
        let text = format!("routes:\n{}", "  - 1\n".repeat(500));
        let lines = said(&text);
        assert_eq!(lines.len(), MOST_MISTAKES + 1);
        assert!(lines[0].ends_with("mend these first"), "{}", lines[0]);
    }

    #[test]
    fn hostile_depth_and_repetition_end_in_a_mistake() {
        let deep = format!("via: {}", "[".repeat(1_000));
        assert_eq!(said(&deep).len(), 1);
        let mut laughs = "a0: &a0 [x]\n".to_owned();
        for level in 1..40 {
            let below = format!("*a{}", level - 1);
            laughs.push_str(&format!("a{level}: &a{level} [{below},{below},{below},{below}]\n"));
        }
        assert_eq!(said(&laughs).len(), 1);
        for text in ["&a [*a]", "&a { x: *a }", "a: &a { <<: *a }", "? [x]\n: y", "? {a: b}\n: c\n"]
        {
            assert_eq!(said(text).len(), 1, "{text}");
        }
    }

    /// Words and marks that get further into the reader than any text does.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "listeners",
            "routes",
            "upstreams",
            "match",
            "host",
            "timeouts",
            "idle",
            "off",
            "30s",
            "&a",
            "*a",
            "<<",
            ": ",
            ":\n  ",
            "\n",
            "\n  - ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            "\"",
            "'",
            "${X}",
            "${",
            "!t ",
            "~",
            "0",
            "1.5",
            "true",
            "|\n ",
            ">",
            "#",
            "---\n",
            "? ",
            "\t",
            "%",
            "@",
            "\r",
            "\u{85}",
            "é",
            "\u{feff}",
        ]);
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,200}") {
            let (_, mut mistakes) = parse("f", &text, &env);
            mistakes.add(&At::root().key("routes").index(3), "x");
        }

        #[test]
        fn no_yaml_makes_it_panic_and_every_mistake_is_one_line(text in pieces()) {
            let (_, mut mistakes) = parse("f", &text, &env);
            mistakes.add(&At::root().key("listeners").index(0), "x");
            prop_assert_eq!(mistakes.to_string().lines().count(), mistakes.len());
        }
    }
}
