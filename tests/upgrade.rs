//! The upgrade over real sockets: what must be right, on both sides, before a tunnel begins.

mod support;

use support::{Bowline, SWITCHING, Upstream, handshake};

#[test]
fn a_websocket_crosses() {
    let upstream = Upstream::new();
    let bowline = Bowline::in_front_of(upstream.address);
    let mut client = bowline.client();
    client.send(handshake("/ws?a=1", ""));
    let mut server = upstream.accept();
    let head = server.head();
    assert!(head.starts_with("GET /ws?a=1 HTTP/1.1\r\n"), "{head}");
    server.send(SWITCHING);
    let answer = client.head();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    client.send("ping");
    assert_eq!(server.exactly(4), b"ping");
    server.send("pong");
    assert_eq!(client.exactly(4), b"pong");
}
