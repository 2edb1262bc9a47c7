//! One form of a path: what routes compare is what guards protect and what the upstream gets. Where two
//! spellings of a path take two routes, whoever knows both walks around the guards of one.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;

/// A path that stands for none.
type Wrong = &'static str;

/// Brings the path of `uri` into its normal form (RFC 3986 sections 6.2.2.2 and 6.2.2.3): escapes of
/// characters that need none are undone, the others get upper case; `.` and `..` are resolved; with
/// `merge_slashes`, `//` is `/`.
///
/// # Errors
/// What is wrong, when a `%` begins no escape, a NUL is meant, or `..` leads above the top.
pub(super) fn normalize(uri: &mut Uri, merge_slashes: bool) -> Result<(), Wrong> {
    let Cow::Owned(path) = normal(uri.path(), merge_slashes)? else { return Ok(()) };
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = std::mem::take(uri).into_parts();
    // It is made of what was a target before.
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| UNREADABLE)?);
    *uri = Uri::from_parts(parts).map_err(|_| UNREADABLE)?;
    Ok(())
}

/// What servers make of a normal path that take `%2F` and a backslash for a slash, and `;` for the end
/// of a segment's name. `None` where there is nothing of the kind.
///
/// # Errors
/// What is wrong, when such a reading leads above the top.
pub(super) fn other_reading(path: &str) -> Result<Option<String>, Wrong> {
    if !path.bytes().any(|byte| matches!(byte, b'%' | b'\\' | b';')) {
        return Ok(None);
    }
    let slashed = path.replace("%2F", "/").replace("%5C", "/").replace('\\', "/");
    let named: Vec<&str> =
        slashed.split('/').map(|one| one.split_once(';').map_or(one, |(name, _)| name)).collect();
    let read = resolve(&named.join("/"), true)?;
    Ok((read != path).then_some(read))
}

const UNREADABLE: Wrong = "the path cannot be read";

pub(super) fn normal(path: &str, merge_slashes: bool) -> Result<Cow<'_, str>, Wrong> {
    let may_differ = path.contains('%') || path.contains("/.") || path.contains("//");
    // `*` and the empty path of an absolute-form are what they are.
    if !may_differ || !path.starts_with('/') {
        return Ok(Cow::Borrowed(path));
    }
    let path_now = resolve(&unescape(path)?, merge_slashes)?;
    Ok(if path_now == path { Cow::Borrowed(path) } else { Cow::Owned(path_now) })
}

/// Undoes the escapes of unreserved characters (RFC 3986 section 2.3).
fn unescape(path: &str) -> Result<String, Wrong> {
    let mut pieces = path.split('%');
    let mut plain = String::with_capacity(path.len());
    plain.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.get(..2).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        let (Some(digits), Some(byte)) = (digits, byte) else {
            return Err("a `%` in the path begins no escape");
        };
        match byte {
            0 => return Err("the path has a NUL in it"),
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                plain.push(char::from(byte));
            }
            _ => {
                plain.push('%');
                plain.push_str(&digits.to_ascii_uppercase());
            }
        }
        plain.push_str(piece.get(2..).unwrap_or_default());
    }
    Ok(plain)
}

/// Follows `.` and `..`, as one walks down folders.
fn resolve(path: &str, merge_slashes: bool) -> Result<String, Wrong> {
    let mut walked: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    // Whether it ends in a slash: as a folder, which `.` and `..` are too.
    let mut is_folder = false;
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            ".." => {
                walked.pop().ok_or("the path leads above its top")?;
                is_folder = is_last;
            }
            "." => is_folder = is_last,
            "" if is_last => is_folder = true,
            "" if merge_slashes => {}
            name => walked.push(name),
        }
    }
    let mut resolved = String::with_capacity(path.len());
    for name in walked {
        resolved.push('/');
        resolved.push_str(name);
    }
    if is_folder || resolved.is_empty() {
        resolved.push('/');
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (path, same) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//admin", "/admin"),
            ("/x/../admin", "/admin"),
            ("/./admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/%2e/admin", "/admin"),
            ("/x/%2e%2E/admin", "/admin"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("/a//", "/a/"),
            ("/%7euser/%c3%a4%2f", "/~user/%C3%A4%2F"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a%252e", "/a%252e"),
            ("/100%25", "/100%25"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(normal(path, true).as_deref(), Ok(same), "{path}");
        }
        for wrong in ["/..", "/a/../..", "/%2e%2e/x", "/%", "/%2", "/%zz", "/a%00b", "/%\u{e4}a"] {
            assert!(normal(wrong, true).is_err(), "{wrong}");
        }
    }

    #[test]
    fn slashes_are_merged_where_that_is_wanted() {
        assert_eq!(normal("/img//http://x/y", true).as_deref(), Ok("/img/http:/x/y"));
        assert_eq!(normal("/img/http://x/./y", false).as_deref(), Ok("/img/http://x/y"));
        assert_eq!(normal("/a//../b", false).as_deref(), Ok("/a/b"));
    }

    #[test]
    fn what_servers_disagree_about_has_another_reading() {
        for (path, other) in [
            ("/x/..%2Fadmin", Some("/admin")),
            ("/%2Fadmin", Some("/admin")),
            ("/x\\..\\admin", Some("/admin")),
            ("/x%5C..%5Cadmin", Some("/admin")),
            ("/admin;a=b", Some("/admin")),
            ("/admin;a/b;c=d/e", Some("/admin/b/e")),
            ("/x/..;/admin", Some("/admin")),
            ("/scope%2Fname", Some("/scope/name")),
            ("/%C3%A4", None),
            ("/plain", None),
        ] {
            assert_eq!(other_reading(path), Ok(other.map(str::to_owned)), "{path}");
        }
        assert!(other_reading("/..%2F..%2Fetc").is_err());
    }

    #[test]
    fn the_query_and_the_host_stay_as_they_are() {
        for (written, same) in [
            ("/a/../b?x=/../%61", "/b?x=/../%61"),
            ("http://h:1/%61?q", "http://h:1/a?q"),
            ("http://h", "http://h/"),
        ] {
            let mut uri: Uri = written.parse().unwrap();
            normalize(&mut uri, true).unwrap();
            assert_eq!(uri.to_string(), same, "{written}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own_and_has_no_dots(path in "(/|\\.|%2[eEfF]|%61|a|%|;|\\\\){0,12}") {
            for merge in [true, false] {
                let path = format!("/{path}");
                if let Ok(form) = normal(&path, merge) {
                    prop_assert!(matches!(normal(&form, merge), Ok(Cow::Borrowed(_))), "{form}");
                    prop_assert!(!form.split('/').any(|one| matches!(one, "." | "..")));
                    prop_assert!(!merge || !form.contains("//"));
                }
            }
        }
    }
}
