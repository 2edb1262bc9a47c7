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

/// What servers may make of a normal path: some take `%2F` for a slash, some a backslash or `%5C`, some `;` for
/// the end of a segment's name, and each of them any of that alone. None where there is nothing of the kind.
///
/// # Errors
/// What is wrong, when such a reading leads above the top.
pub(super) fn other_readings(path: &str) -> Result<Vec<String>, Wrong> {
    if !path.bytes().any(|byte| matches!(byte, b'%' | b'\\' | b';')) {
        return Ok(Vec::new());
    }
    let mut readings = Vec::new();
    for (slashes, backslashes, names) in (1..8).map(|one| (one & 1 > 0, one & 2 > 0, one & 4 > 0)) {
        let mut read = path.to_owned();
        if slashes {
            read = read.replace("%2F", "/");
        }
        if backslashes {
            read = read.replace("%5C", "/").replace('\\', "/");
        }
        if names {
            let name = |one| str::split_once(one, ';').map_or(one, |(name, _)| name);
            read = read.split('/').map(name).collect::<Vec<_>>().join("/");
        }
        let read = resolve(&read, true)?;
        if read != path && !readings.contains(&read) {
            readings.push(read);
        }
    }
    Ok(readings)
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
    fn what_servers_disagree_about_has_other_readings() {
        for (path, others) in [
            ("/x/..%2Fadmin", &["/admin"][..]),
            ("/%2Fadmin", &["/admin"]),
            ("/x\\..\\admin", &["/admin"]),
            ("/x%5C..%5Cadmin", &["/admin"]),
            ("/admin;a=b", &["/admin"]),
            ("/admin;a/b;c=d/e", &["/admin/b/e"]),
            ("/x/..;/admin", &["/admin"]),
            ("/scope%2Fname", &["/scope/name"]),
            // By one of the two tricks alone it is somewhere else.
            ("/public/..%2Fadmin/..;/public", &["/admin/..;/public", "/public/public", "/public"]),
            (
                "/public/..;/admin/..%2Fpublic",
                &["/public/..;/public", "/admin/..%2Fpublic", "/public"],
            ),
            ("/%C3%A4", &[]),
            ("/plain", &[]),
        ] {
            assert_eq!(
                other_readings(path),
                Ok(others.iter().map(|one| (*one).to_owned()).collect()),
                "{path}"
            );
        }
        assert!(other_readings("/..%2F..%2Fetc").is_err());
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
