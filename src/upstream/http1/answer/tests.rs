//! Heads of answers, as text.

use super::*;

fn parsed(text: &str) -> Result<Option<(Response<()>, usize)>, &'static str> {
    parse(&Bytes::copy_from_slice(text.as_bytes()))
}

fn head(text: &str) -> Response<()> {
    parsed(text).unwrap().unwrap().0
}

#[test]
fn a_head_is_read_once_it_is_whole_and_takes_what_is_its_own() {
    let text =
        "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n";
    for cut in 0..text.len() {
        assert!(parsed(&text[..cut]).unwrap().is_none(), "{cut}");
    }
    let (head, length) = parsed(&format!("{text}ok")).unwrap().unwrap();
    assert_eq!((head.status().as_u16(), head.version()), (404, Version::HTTP_11));
    assert_eq!(head.headers()["content-length"], "2");
    assert_eq!(head.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(length, text.len());
}

#[test]
fn a_reason_of_its_own_is_kept_and_the_usual_one_is_not() {
    let reason = |text| {
        head(text).extensions().get::<ReasonPhrase>().map(|reason| reason.as_bytes().to_vec())
    };
    assert_eq!(reason("HTTP/1.1 200 Fine\r\n\r\n"), Some(b"Fine".to_vec()));
    assert_eq!(reason("HTTP/1.1 299 Odd\r\n\r\n"), Some(b"Odd".to_vec()));
    assert_eq!(reason("HTTP/1.1 200 OK\r\n\r\n"), None);
    assert_eq!(reason("HTTP/1.1 200 \r\n\r\n"), None);
    assert_eq!(reason("HTTP/1.1 200\r\n\r\n"), None);
}

#[test]
fn the_end_of_a_body_is_told_in_one_way() {
    let framed = |method, text: &str| framing(&method, &mut head(text));
    let get = |status: &str, fields: &str| {
        framed(Method::GET, &format!("HTTP/1.1 {status}\r\n{fields}\r\n"))
    };
    assert_eq!(get("200 OK", ""), Ok(Framing::UntilClose));
    assert_eq!(get("200 OK", "Content-Length: 0\r\n"), Ok(Framing::Length(0)));
    assert_eq!(
        get("200 OK", "Content-Length: 18446744073709551615\r\n"),
        Ok(Framing::Length(u64::MAX))
    );
    assert_eq!(
        get("200 OK", "Content-Length: 2\r\nContent-Length: 2, 2\r\n"),
        Ok(Framing::Length(2))
    );
    assert_eq!(get("200 OK", "Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
    for status in
        ["204 No Content", "304 Not Modified", "101 Switching Protocols", "103 Early Hints"]
    {
        assert_eq!(get(status, "Content-Length: 5\r\n"), Ok(Framing::Empty), "{status}");
    }
    assert_eq!(
        framed(Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        Ok(Framing::Empty)
    );
    for fields in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2,\r\n",
        "Content-Length: \r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 2.0\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: \r\n",
    ] {
        assert!(get("200 OK", fields).is_err(), "{fields}");
        assert!(get("204 No Content", fields).is_err(), "{fields}");
    }
    assert!(framed(Method::GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
}

#[test]
fn a_length_said_often_is_passed_on_once() {
    let mut head = head("HTTP/1.1 200 OK\r\nContent-Length: 02, 2\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(framing(&Method::GET, &mut head), Ok(Framing::Length(2)));
    assert_eq!(head.headers().get_all("content-length").iter().collect::<Vec<_>>(), ["2"]);
}

#[test]
fn a_connection_lasts_as_its_version_and_options_say() {
    for (text, lasts) in [
        ("HTTP/1.1 200 OK\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nConnection: closed\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false),
    ] {
        assert_eq!(persists(&head(text)), lasts, "{text}");
    }
}
