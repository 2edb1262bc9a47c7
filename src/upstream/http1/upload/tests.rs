//! Uploads against a socket that takes what it is told to.

use std::io;
use std::task::Waker;

use http::{HeaderMap, HeaderValue};
use http_body::Frame;

use super::*;

/// A body that comes as it is told: pieces, waits, trailers, an end or a break.
#[derive(Debug)]
enum Step {
    Data(&'static str),
    Wait,
    Trailers,
    Break,
}

#[derive(Debug)]
struct Script(VecDeque<Step>);

impl Body for Script {
    type Data = Bytes;
    type Error = ();

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        Poll::Ready(match self.0.pop_front() {
            None => None,
            Some(Step::Wait) => return Poll::Pending,
            Some(Step::Break) => Some(Err(())),
            Some(Step::Data(data)) => Some(Ok(Frame::data(Bytes::from(data)))),
            Some(Step::Trailers) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", HeaderValue::from_static("1"));
                Some(Ok(Frame::trailers(trailers)))
            }
        })
    }
}

/// A socket that takes so many bytes at a time and notes each write.
struct Socket {
    at_once: usize,
    writes: Vec<String>,
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(self.at_once);
        self.writes.push(String::from_utf8(bytes[..taken].to_vec()).unwrap());
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write(cx, &slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What goes out when the upload is polled until it ends, and whether that is whole.
fn sent(framing: Framing, body: Vec<Step>, at_once: usize) -> (Vec<String>, bool) {
    let body = (framing != Framing::Empty).then(|| Script(body.into()));
    let mut upload = Upload::new(Bytes::from("head;"), body, framing);
    let mut socket = Socket { at_once, writes: Vec::new() };
    for _ in 0..1000 {
        let polled = upload.poll(&mut Context::from_waker(Waker::noop()), &mut socket);
        if let Poll::Ready(whole) = polled {
            assert_eq!(whole.is_ok(), upload.is_done());
            return (socket.writes, whole.is_ok());
        }
    }
    panic!("no end: {:?}", socket.writes);
}

#[test]
fn a_head_and_what_is_there_of_its_body_leave_in_one_write() {
    assert_eq!(sent(Framing::Empty, vec![], 99), (vec!["head;".to_owned()], true));
    let body = || vec![Step::Data("ab"), Step::Wait, Step::Data("c")];
    let (writes, whole) = sent(Framing::Length(3), body(), 99);
    assert_eq!((writes.join("|").as_str(), whole), ("head;ab|c", true));
    let (writes, whole) = sent(Framing::Chunked, body(), 99);
    assert_eq!((writes.join("|").as_str(), whole), ("head;2\r\nab\r\n|1\r\nc\r\n0\r\n\r\n", true));
}

#[test]
fn a_socket_that_takes_a_little_at_a_time_gets_every_byte_once() {
    for at_once in 1..20 {
        let body = vec![Step::Data("abcdefghijklmnop"), Step::Data(""), Step::Trailers];
        let (writes, whole) = sent(Framing::Chunked, body, at_once);
        let text = "head;10\r\nabcdefghijklmnop\r\n0\r\nx-sum: 1\r\n\r\n";
        assert_eq!((writes.concat().as_str(), whole), (text, true), "{at_once}");
    }
}

#[test]
fn a_body_that_breaks_off_or_is_not_as_long_as_was_said_never_ends_properly() {
    for (framing, body) in [
        (Framing::Chunked, vec![Step::Data("ab"), Step::Break]),
        (Framing::Length(3), vec![Step::Data("ab"), Step::Break]),
        (Framing::Length(3), vec![Step::Data("ab")]),
        (Framing::Length(3), vec![Step::Data("abcd")]),
        (Framing::Length(3), vec![Step::Data("abc"), Step::Wait, Step::Data("d")]),
    ] {
        let (writes, whole) = sent(framing, body, 99);
        let text = writes.concat();
        assert!(!whole && !text.ends_with("0\r\n\r\n") && text.len() <= "head;abc".len(), "{text}");
    }
}

#[test]
fn pieces_ahead_of_a_socket_that_takes_nothing_are_few_however_small() {
    struct Stuck;

    impl AsyncWrite for Stuck {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    let body = Script((0..10_000).map(|_| Step::Data("a")).collect());
    let mut upload = Upload::new(Bytes::from("head;"), Some(body), Framing::Chunked);
    let polled = upload.poll(&mut Context::from_waker(Waker::noop()), &mut Stuck);
    assert!(polled.is_pending());
    assert!(upload.out.len() < PIECES_AHEAD + 3, "{}", upload.out.len());
}
