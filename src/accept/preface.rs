//! Whether a client speaks HTTP/2 from its first byte (RFC 9113 section 3.3). Nothing that HTTP/1.1 can begin
//! with is the preface, so one port can have both; they differ at the third byte at the latest.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::admission::Admission;
use crate::config::Http2;
use crate::exchange::{self, Arrival, Carriage, Worker};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection of a listener without TLS, in the version that its client speaks.
pub(super) async fn serve(
    mut stream: TcpStream,
    arrival: Arrival,
    http2: Http2,
    worker: Rc<Worker>,
    admission: Box<Admission>,
) -> Option<Carriage> {
    if http2 != Http2::PriorKnowledge {
        return exchange::serve(stream, Vec::new(), arrival, worker, admission).await;
    }
    match sniff(&mut stream, arrival.header_timeout).await {
        Ok((true, ahead)) => {
            Box::pin(exchange::serve_http2(stream, ahead, arrival, worker, admission)).await
        }
        Ok((false, ahead)) => exchange::serve(stream, ahead, arrival, worker, admission).await,
        Err(_) => None,
    }
}

/// Reads until it is clear, for so long at most; what is not clear by then is not HTTP/2. Returns what was
/// read too, which is not more than the preface.
///
/// # Errors
/// Those of the stream.
async fn sniff<S: AsyncRead + Unpin>(
    stream: &mut S,
    within: Duration,
) -> io::Result<(bool, Vec<u8>)> {
    let mut ahead = Vec::with_capacity(PREFACE.len());
    let clear = timeout(within, async {
        while PREFACE.starts_with(&ahead) && ahead.len() < PREFACE.len() {
            let room = PREFACE.len().saturating_sub(ahead.len());
            let mut limited = (&mut *stream).take(room as u64);
            if limited.read_buf(&mut ahead).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    });
    if let Ok(read) = clear.await {
        read?;
    }
    Ok((ahead == PREFACE, ahead))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(9);

    #[tokio::test(start_paused = true)]
    async fn the_preface_is_known_however_it_is_cut_and_nothing_else_is() {
        for (said, is_http2, most) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"[..], true, 24),
            (b"PRI / HTTP/1.1\r\n\r\n", false, 24),
            (b"POST / HTTP/1.1\r\n\r\n", false, 24),
            (b"GET / HTTP/1.1\r\n\r\n", false, 24),
            (b"PRI", false, 3),
            (b"", false, 0),
        ] {
            for cut in [1, 5, 100] {
                let (mut client, mut server) = tokio::io::duplex(64);
                let speaks = async {
                    for piece in said.chunks(cut) {
                        client.write_all(piece).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                    tokio::time::sleep(LONG * 2).await;
                };
                let sniffs = async {
                    let (found, ahead) = sniff(&mut server, LONG).await.unwrap();
                    assert_eq!(found, is_http2);
                    assert!(said.starts_with(&ahead) && ahead.len() <= most, "{ahead:?}");
                };
                tokio::join!(speaks, sniffs);
            }
        }
    }
}
