//! `${VAR}` and `${VAR:-default}` in a text; `$$` is a plain `$`, and so is a `$` before anything
//! else, since regular expressions end in it.

use super::wording::quoted;

/// The text with every variable replaced by its value, or all that is wrong with it.
///
/// As in a shell, a default also stands in for a variable that is set to nothing.
pub(super) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Vec<String>> {
    let mut expanded = String::with_capacity(text.len());
    let mut wrong = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let Some(inside) = after.strip_prefix('{') else {
            expanded.push('$');
            rest = after;
            continue;
        };
        let Some((inside, after)) = inside.split_once('}') else {
            wrong.push("`${` has no `}`; close it, or write `$${` for a plain `${`".to_owned());
            return Err(wrong);
        };
        rest = after;
        match value(inside, env) {
            Ok(value) => expanded.push_str(&value),
            Err(what) => wrong.push(what),
        }
    }
    expanded.push_str(rest);
    if wrong.is_empty() { Ok(expanded) } else { Err(wrong) }
}

fn value(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) {
        return Err(format!(
            "{} is no name of a variable; write `${{NAME}}` or `${{NAME:-default}}`, or `$${{` for a plain `${{`",
            quoted(name)
        ));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable {} is not set; set it, or write a default as in `${{{}:-default}}`",
            quoted(name),
            quoted(name).trim_matches('`')
        )),
    }
}

fn is_name(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("8080".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_and_defaults_are_put_in() {
        let pairs = [
            ("127.0.0.1:${PORT}", "127.0.0.1:8080"),
            ("${PORT}${PORT}", "80808080"),
            ("${PORT:-1}", "8080"),
            ("${HOST:-::1}", "::1"),
            ("${HOST:-}", ""),
            ("[${EMPTY}]", "[]"),
            ("${EMPTY:-x}", "x"),
            ("^/a$", "^/a$"),
            ("$${PORT}", "${PORT}"),
            ("$$$$", "$$"),
            ("a$b", "a$b"),
            ("${PORT:-${X}", "8080"),
        ];
        for (text, expected) in pairs {
            assert_eq!(expand(text, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn every_unset_variable_of_a_text_is_named() {
        let wrong = expand("${A}-${PORT}-${B}", &env);
        assert!(wrong.is_err_and(|wrong| wrong.len() == 2
            && wrong[0].contains("`A` is not set")
            && wrong[1].contains("`B` is not set")));
    }

    #[test]
    fn a_brace_that_is_never_closed_and_a_bad_name_are_mistakes() {
        for text in ["${PORT", "${}", "${1}", "${a b}", "${:-x}", "${a-b}"] {
            assert!(expand(text, &env).is_err(), "{text}");
        }
    }
}
