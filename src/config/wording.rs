//! serde's and libyaml's words for a mistake, in words for people, each with the mend.

/// `text` between backticks, short and without control characters.
pub(super) fn quoted(text: &str) -> String {
    /// Enough to recognise what was written.
    const MOST: usize = 60;
    let mut short: String = text.chars().take(MOST).filter(|c| !c.is_control()).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

/// Whether serde's message is about a key, known or with nothing after it, and not about its value.
pub(super) fn is_about_key(message: &str) -> bool {
    message.starts_with(UNKNOWN_KEY) || message.starts_with("invalid type: unit value")
}

const UNKNOWN_KEY: &str = "unknown field ";

/// What to say about a mistake that serde met. `key` is the last key of its path.
pub(super) fn plain(message: &str, key: Option<&str>) -> String {
    if message.starts_with(UNKNOWN_KEY) {
        return unknown("key", key.unwrap_or_default(), &words(message));
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let found = rest.rsplit_once("`, expected ").map_or(rest, |(found, _)| found);
        return unknown("word", found, &words(message));
    }
    let kinds = ["invalid type: ", "invalid value: "];
    if let Some(rest) = kinds.iter().find_map(|kind| message.strip_prefix(kind))
        && let Some((found, wanted)) = rest.rsplit_once(", expected ")
    {
        return wrong_kind(found, wanted);
    }
    // The scalars of this module say it in plain words themselves.
    message.to_owned()
}

/// What to say about text that is not YAML. `before` and `next` stand around where reading stopped.
pub(super) fn syntax(message: &str, before: Option<char>, next: Option<char>) -> String {
    if (before, next) == (Some('$'), Some('{')) {
        return "a variable within `{ }` or `[ ]` needs quotes; write `\"${NAME}\"`".to_owned();
    }
    let problem = message.split_once(" at line ").map_or(message, |(problem, _)| problem);
    let known = [
        (
            "mapping values are not allowed",
            "a second `: ` in one value; put the value in quotes, or mend the indentation",
        ),
        (
            "did not find expected key",
            "this line does not fit the ones above; mend the indentation, or close a quote or bracket above",
        ),
        (
            "did not find expected '-' indicator",
            "this line is no entry of the list above; begin it with `- `, or mend the indentation",
        ),
        ("could not find expected ':'", "a key without its colon; write `key: value`"),
        ("found unexpected end of stream", "a quote is never closed; close it"),
        (
            "did not find expected ',' or ']'",
            "a list that begins with `[` is never closed; write `,` between entries and `]` at the end",
        ),
        (
            "did not find expected ',' or '}'",
            "a mapping that begins with `{` is never closed; write `,` between entries and `}` at the end",
        ),
        (
            "block sequence entries are not allowed",
            "an entry of a list does not fit here; begin it on a line of its own",
        ),
        (
            "unknown anchor",
            "an alias `*name` stands for nothing; write the anchor `&name` before it",
        ),
        ("control characters are not allowed", "a control character; remove it"),
        ("recursion limit exceeded", "more than a hundred levels, one inside another; write fewer"),
        ("repetition limit exceeded", "aliases that repeat aliases without end; write fewer"),
        (
            "more than one document",
            "a second document begins here; keep one, and remove the line `---`",
        ),
    ];
    if problem.contains("tab character") {
        return TAB.to_owned();
    }
    if problem.contains("cannot start any token") {
        return match next {
            Some('\t') => TAB.to_owned(),
            Some(c) => format!(
                "a value cannot begin with {}; put the value in quotes",
                quoted(&c.to_string())
            ),
            None => "this cannot begin a value; put the value in quotes".to_owned(),
        };
    }
    known.iter().find(|(part, _)| problem.contains(part)).map_or_else(
        || format!("this is not YAML ({problem}); mend the line, or put the value in quotes"),
        |(_, what)| (*what).to_owned(),
    )
}

const TAB: &str = "a tab; YAML is indented with spaces only, so write spaces";

/// serde_yaml's name for what it wanted, where the type is an enumeration of words.
pub(super) const WORD: &str = "a Value::Tagged enum";

fn wrong_kind(found: &str, wanted: &str) -> String {
    let scalar = ["integer `", "floating point `", "boolean `"]
        .iter()
        .find_map(|kind| found.strip_prefix(kind));
    let wanted = match wanted {
        "a string" if scalar.is_some() => "a text, in quotes".to_owned(),
        "a string" => "a text".to_owned(),
        "a sequence" => "a list, each entry on a line of its own after `- `".to_owned(),
        "a map" => "a mapping, as lines of `key: value`".to_owned(),
        WORD => "one of the words for this setting".to_owned(),
        wanted if wanted.starts_with("a mapping of") => {
            format!("{wanted}, as lines of `key: value`")
        }
        wanted => wanted.to_owned(),
    };
    let found = match (scalar, found) {
        (Some(value), _) => quoted(value.trim_end_matches('`')),
        (None, "unit value") => {
            return format!("nothing is written here; write {wanted}, or remove it");
        }
        (None, "sequence") => "a list".to_owned(),
        (None, "map") => "a mapping".to_owned(),
        (None, text) => {
            match text.strip_prefix("string \"").and_then(|text| text.strip_suffix('"')) {
                Some("") => "an empty text".to_owned(),
                Some(text) => quoted(text),
                None => "this".to_owned(),
            }
        }
    };
    format!("{found} does not fit here; write {wanted}")
}

fn unknown(kind: &str, found: &str, known: &[&str]) -> String {
    let found_quoted = quoted(found);
    if let Some(near) = nearest(found, known) {
        return format!("unknown {kind} {found_quoted}; did you mean `{near}`?");
    }
    let (last, rest) = match known {
        [] => return format!("unknown {kind} {found_quoted}; remove it"),
        [only] => return format!("unknown {kind} {found_quoted}; write `{only}`, or remove it"),
        [rest @ .., last] => (last, rest),
    };
    format!(
        "unknown {kind} {found_quoted}; write `{}` or `{last}`, or remove it",
        rest.join("`, `")
    )
}

/// The names that serde lists at the end of a message.
fn words(message: &str) -> Vec<&str> {
    let list = message.rsplit_once("`, expected ").map_or("", |(_, list)| list);
    list.split('`').skip(1).step_by(2).collect()
}

/// The name that was most likely meant, if one is near.
fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let found: Vec<char> = found
        .chars()
        .take(40)
        .map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() })
        .collect();
    let far = (found.len() / 3).clamp(1, 3);
    let distances = known.iter().map(|name| (distance(&found, name), *name));
    distances
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters must be added, removed, replaced or swapped with their neighbour.
fn distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, a) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, b) in to.iter().enumerate() {
            let at =
                |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX / 2);
            let mut least = (at(&above, column) + usize::from(a != b))
                .min(at(&above, column + 1) + 1)
                .min(at(&line, column) + 1);
            let swapped = row > 0
                && column > 0
                && from.get(row - 1) == Some(b)
                && to.get(column - 1) == Some(a);
            if swapped {
                least = least.min(at(&before, column - 1) + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        let known = ["upstream", "upstreams", "max_body", "match", "tls"];
        let pairs = [
            ("upstreem", Some("upstream")),
            ("max-body", Some("max_body")),
            ("maxbody", Some("max_body")),
            ("Match", Some("match")),
            ("amtch", Some("match")),
            ("tsl", Some("tls")),
            ("origins", None),
            ("", None),
        ];
        for (found, meant) in pairs {
            assert_eq!(nearest(found, &known), meant, "{found}");
        }
    }

    #[test]
    fn words_of_serde_become_plain() {
        let pairs = [
            (
                "invalid type: integer `5`, expected a string",
                "`5` does not fit here; write a text, in quotes",
            ),
            (
                "invalid type: map, expected a sequence",
                "a mapping does not fit here; write a list, each entry on a line of its own after `- `",
            ),
            (
                "invalid type: string \"a, expected b\", expected a map",
                "`a, expected b` does not fit here; write a mapping, as lines of `key: value`",
            ),
            (
                "invalid type: unit value, expected a map",
                "nothing is written here; write a mapping, as lines of `key: value`, or remove it",
            ),
            (
                "unknown variant `x`, expected `text` or `json`",
                "unknown word `x`; write `text` or `json`, or remove it",
            ),
            (
                "unknown variant `jason`, expected `text` or `json`",
                "unknown word `jason`; did you mean `json`?",
            ),
        ];
        for (message, expected) in pairs {
            assert_eq!(plain(message, None), expected);
        }
        let message = "unknown field `a`, expected, expected one of `x`, `y`, `z`";
        assert_eq!(
            plain("unknown field `q`, expected one of `xx`, `yy`, `zz`", Some("q")),
            "unknown key `q`; write `xx`, `yy` or `zz`, or remove it"
        );
        assert!(is_about_key(message));
    }
}
