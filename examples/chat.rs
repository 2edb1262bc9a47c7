//! A chat in one room: every line of text goes to everyone, with the number of who said it.
//!
//! ```text
//! cargo run --example chat                    # on 127.0.0.1:9001
//! cargo run --example chat -- 127.0.0.1:0     # elsewhere; port 0 is any free one
//! cargo run -- run --listen 127.0.0.1:8080 --upstream 127.0.0.1:9001
//! ```
//!
//! In a browser's console: `chat = new WebSocket("ws://127.0.0.1:8080/")`,
//! `chat.onmessage = (line) => console.log(line.data)`, `chat.send("hello")`.

use std::env;
use std::error::Error;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

/// Lines that a slow reader may be behind before it misses some.
const BEHIND: usize = 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on ws://{}/", listener.local_addr()?);
    let room = broadcast::Sender::new(BEHIND);
    for number in 1.. {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(member(stream, number, room.clone()))),
            // Out of descriptors, most likely: somebody will leave.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    Ok(())
}

async fn member(stream: TcpStream, number: u64, room: broadcast::Sender<Utf8Bytes>) {
    if let Err(error) = chat(stream, number, room).await {
        eprintln!("{number} left: {error}");
    }
}

async fn chat(
    stream: TcpStream,
    number: u64,
    room: broadcast::Sender<Utf8Bytes>,
) -> Result<(), tungstenite::Error> {
    stream.set_nodelay(true)?;
    // Before the handshake, so that whoever has its 101 hears all that is said from then on.
    let mut heard = room.subscribe();
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    loop {
        tokio::select! {
            said = socket.next() => match said.transpose()? {
                // It cannot fail: this member listens too.
                Some(Message::Text(line)) => drop(room.send(format!("{number}: {line}").into())),
                Some(_) => {}
                None => return Ok(()),
            },
            line = heard.recv() => match line {
                Ok(line) => socket.send(Message::Text(line)).await?,
                Err(RecvError::Lagged(missed)) => {
                    socket.send(Message::text(format!("({missed} lines missed)"))).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            },
        }
    }
}
