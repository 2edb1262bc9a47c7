//! A WebSocket echo server, something to stand behind Bowline:
//!
//! ```text
//! cargo run --example echo                    # on 127.0.0.1:9001
//! cargo run --example echo -- 127.0.0.1:0     # elsewhere; port 0 is any free one
//! cargo run -- run --listen 127.0.0.1:8080 --upstream 127.0.0.1:9001
//! ```

use std::env;
use std::error::Error;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{accept_async, tungstenite};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // The usual soft limit of 1,024 descriptors would be 1,000 clients.
    rlimit::increase_nofile_limit(u64::MAX)?;
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on ws://{}/", listener.local_addr()?);
    loop {
        let Ok((stream, client)) = listener.accept().await else {
            // Out of descriptors, most likely: some client will let one go.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        tokio::spawn(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("{client}: {error}");
            }
        });
    }
}

async fn echo(stream: TcpStream) -> Result<(), tungstenite::Error> {
    // A small message must not wait until the one before it is acknowledged.
    stream.set_nodelay(true)?;
    let mut socket = accept_async(stream).await?;
    while let Some(message) = socket.next().await.transpose()? {
        // Pings and closes are answered by the library.
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
