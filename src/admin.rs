//! The admin plane: /metrics, /healthz and /readyz on a listener of its own, for operators and their
//! scrapers. It only reads the configuration again, asks nobody for a password, and refuses whatever a browser could
//! have been talked into sending. Run it apart from the workers: a scrape of a large table takes
//! milliseconds that tunnels should not wait.

mod answer;
mod guard;
mod reload;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use self::reload::ReloadOrder;
use crate::drain::Phase;
use crate::telemetry::Metrics;

/// For a whole request head, and between requests (hyper's timer runs while idle too). A scraper that
/// keeps its connection comes again sooner or dials anew; a silent peer is gone.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections served at once; more wait in the kernel's queue. Enough for scrapers and probes, too
/// few to use up the process's descriptors.
const CONNECTIONS: usize = 64;

/// How long answers that are under way may take after the end was asked for.
const GRACE: Duration = Duration::from_secs(1);

/// Pause after an error of `accept`: without one, a lack of descriptors becomes a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What the admin plane shows.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// The counters behind /metrics.
    pub metrics: Arc<Metrics>,
    /// What /readyz tells.
    pub phase: watch::Receiver<Phase>,
    /// Where reloads are asked for.
    pub reloads: mpsc::Sender<ReloadOrder>,
}

/// Serves the admin plane on `listener` until `shutdown` is done, then gives answers under way one
/// second. Connections run as tasks of the current runtime. Errors of `accept` pass after a pause.
pub async fn serve(
    listener: TcpListener,
    state: Arc<AdminState>,
    shutdown: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            // Never closed, so this fails never.
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (listener.accept().await, permit)
        };
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (accepted, permit) = next => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, Arc::clone(&state), HEADER_TIMEOUT, stopping.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    pause(&error).await;
                }
            },
        }
    }
    stop.send_replace(true);
    // What is not done by then is cut when the set is dropped.
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, finished).await.is_err() {
        tracing::debug!("admin connections cut");
    }
}

/// An error of one peer's socket needs no pause; a lack of descriptors or memory does.
async fn pause(error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "admin listener cannot accept");
    sleep(ACCEPT_PAUSE).await;
}

async fn connection(
    stream: TcpStream,
    state: Arc<AdminState>,
    header_timeout: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer::answer(&request, &state).await) }
    });
    let connection = http1::Builder::new()
        // Without a timer hyper skips its header timeout.
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // In a block of its own, because the lock guard that comes back would make the task !Send.
    let stop = async move {
        let _stopped = stopping.wait_for(|stop| *stop).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "admin connection");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_stops_in_its_request_head_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (metrics, (reloads, _)) = (Metrics::new(1), mpsc::channel(1));
        let state = AdminState { metrics, phase: watch::channel(Phase::Serving).1, reloads };
        let (_stop, stopping) = watch::channel(false);
        silent.write_all(b"GET /healthz HT").await.unwrap();
        connection(stream, Arc::new(state), Duration::from_millis(20), stopping).await;
        let mut answer = Vec::new();
        silent.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"");
    }
}
