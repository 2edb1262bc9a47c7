//! The server behind the proxy: echoes WebSocket messages, whole, and answers GETs with 64 bytes
//! that begin with the request's own target, so that a client can tell its answer from another's.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::frame::{self, BINARY, CLOSE, Frame, PING, PONG};
use crate::handshake::{self, MAX_FIELDS};
use crate::socket::Socket;

/// Length of the body of every plain answer.
pub const BODY: usize = 64;

const LISTENER: Token = Token(usize::MAX);

/// Listens, prints `listening on ADDRESS`, and serves until it is killed.
pub fn run(address: SocketAddr) -> io::Result<ExitCode> {
    let mut listener = TcpListener::bind(address)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;

    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events = Events::with_capacity(1024);
    loop {
        if let Err(error) = poll.poll(&mut events, None) {
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut peers, &mut free)?;
                continue;
            }
            let index = event.token().0;
            let Some(slot) = peers.get_mut(index) else {
                continue;
            };
            let Some(peer) = slot else { continue };
            match peer.serve(event.is_read_closed()) {
                Ok(true) => {}
                outcome => {
                    // A proxy that resets instead of closing is the client's to notice.
                    if let Err(error) = outcome
                        && error.kind() != io::ErrorKind::ConnectionReset
                        && error.kind() != io::ErrorKind::BrokenPipe
                    {
                        eprintln!("backend: {error}");
                    }
                    *slot = None;
                    free.push(index);
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    peers: &mut Vec<Option<Peer>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        let index = free.pop().unwrap_or_else(|| {
            peers.push(None);
            peers.len() - 1
        });
        let socket = Socket::register(stream, poll.registry(), Token(index))?;
        socket.connected()?;
        if let Some(slot) = peers.get_mut(index) {
            *slot = Some(Peer { socket, upgraded: false, closing: false });
        }
    }
}

/// One connection from the proxy.
struct Peer {
    socket: Socket,
    upgraded: bool,
    /// The last answer is written (or on its way): the connection ends once it is flushed.
    closing: bool,
}

impl Peer {
    /// Answers all that has arrived whole; false once the connection is over.
    fn serve(&mut self, closed: bool) -> io::Result<bool> {
        self.socket.fill(closed)?;
        while !self.closing {
            let (input, output) = self.socket.parts();
            if input.is_empty() {
                break;
            }
            let step = if self.upgraded { echo(input, output) } else { answer(input, output) };
            let Some((length, then)) = step.map_err(io::Error::other)? else {
                break;
            };
            self.socket.consume(length);
            match then {
                Then::Go => {}
                Then::Upgrade => self.upgraded = true,
                Then::Close => self.closing = true,
            }
        }
        self.socket.flush()?;
        Ok(!(self.socket.ended() || self.closing && self.socket.flushed()))
    }
}

/// What follows one answered request or frame.
enum Then {
    Go,
    Upgrade,
    Close,
}

fn echo(input: &mut [u8], output: &mut Vec<u8>) -> Result<Option<(usize, Then)>, String> {
    let Some(Frame { opcode, mask, payload }) = Frame::read(input)? else {
        return Ok(None);
    };
    let length = payload.end;
    if mask.is_none() {
        return Err("a client's frame came without a mask (RFC 6455 section 5.1)".to_owned());
    }
    let payload = input.get_mut(payload).unwrap_or_default();
    frame::turn(payload, mask);
    let opcode_back = if opcode == PING { PONG } else { opcode };
    frame::put(output, opcode_back, None, payload);
    match opcode {
        BINARY | PING => Ok(Some((length, Then::Go))),
        CLOSE => Ok(Some((length, Then::Close))),
        other => Err(format!("a frame with opcode {other} came")),
    }
}

fn answer(input: &[u8], output: &mut Vec<u8>) -> Result<Option<(usize, Then)>, String> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("a request is not HTTP: {error}")),
    };
    if handshake::field(request.headers, "upgrade").is_some() {
        let key = handshake::field(request.headers, "sec-websocket-key");
        let version = handshake::field(request.headers, "sec-websocket-version");
        if !handshake::has_token(request.headers, "connection", "upgrade") || version != Some(b"13")
        {
            return Err("an upgrade came without its Connection or Version".to_owned());
        }
        handshake::answer(output, key.ok_or("an upgrade came without a key")?);
        return Ok(Some((length, Then::Upgrade)));
    }
    let target = request.path.unwrap_or_default().as_bytes();
    let target = target.get(..BODY).unwrap_or(target);
    output.extend_from_slice(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n",
    );
    output.extend_from_slice(target);
    output.resize(output.len() + BODY - target.len(), b'.');
    let last = handshake::has_token(request.headers, "connection", "close")
        || request.version == Some(0)
            && !handshake::has_token(request.headers, "connection", "keep-alive");
    Ok(Some((length, if last { Then::Close } else { Then::Go })))
}
