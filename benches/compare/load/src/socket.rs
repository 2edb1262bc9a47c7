//! One non-blocking connection with its bytes in and out. Knows readiness, not protocols.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// Enough for a handshake or a small message; grown for a larger one. 8,000 sockets hold it twice.
const FIRST_ROOM: usize = 2 * 1024;

/// A connection registered with a poll, edge-triggered.
pub struct Socket {
    stream: TcpStream,
    input: Vec<u8>,
    /// The bytes not yet consumed are `input[start..end]`.
    start: usize,
    end: usize,
    output: Vec<u8>,
    written: usize,
    ended: bool,
}

impl Socket {
    /// Starts to connect; the first writable event says that it did.
    pub fn connect(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        Self::register(TcpStream::connect(address)?, registry, token)
    }

    /// Takes over a stream that is new to the poll.
    pub fn register(mut stream: TcpStream, registry: &Registry, token: Token) -> io::Result<Self> {
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            input: vec![0; FIRST_ROOM],
            start: 0,
            end: 0,
            output: Vec::new(),
            written: 0,
            ended: false,
        })
    }

    /// Ends the connect: the error it met, or a stream that sends small writes at once.
    pub fn connected(&self) -> io::Result<()> {
        match self.stream.take_error()? {
            Some(error) => Err(error),
            None => self.stream.set_nodelay(true),
        }
    }

    /// Reads what is there. After a short read the kernel has no more, and an edge will follow
    /// what comes later; only an end already announced (`closed`) is worth one more read.
    pub fn fill(&mut self, closed: bool) -> io::Result<()> {
        while !self.ended {
            if self.start == self.end {
                (self.start, self.end) = (0, 0);
            } else if self.end == self.input.len() && self.start > 0 {
                self.input.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            if self.end == self.input.len() {
                self.input.resize(self.input.len() * 2, 0);
            }
            let room = self.input.get_mut(self.end..).unwrap_or_default();
            let wanted = room.len();
            match self.stream.read(room) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.end += count;
                    if count < wanted && !closed {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The bytes read and not yet consumed, and the place to answer into.
    pub fn parts(&mut self) -> (&mut [u8], &mut Vec<u8>) {
        (self.input.get_mut(self.start..self.end).unwrap_or_default(), &mut self.output)
    }

    /// Forgets the first `count` bytes of the input.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Whether the other side has said that it sends no more.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Writes as much of the output as the kernel takes; a writable event continues it.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Whether all output has been handed to the kernel.
    pub fn flushed(&self) -> bool {
        self.output.is_empty()
    }
}
