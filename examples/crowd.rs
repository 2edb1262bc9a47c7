//! A crowd of WebSocket clients: each opens a socket, sends one message a second and waits for its
//! echo. Prints counts and how long answers took; ends with status 1 when anything was lost.
//!
//! ```text
//! cargo run -- run --config config.yaml       # in another terminal: Bowline with its own echo
//! cargo run --example crowd                   # ws://127.0.0.1:8080/echo, 10 clients, 5 seconds
//! cargo run --release --example crowd -- ws://127.0.0.1:8080/echo 5000 60
//! ```

use std::env;
use std::error::Error;

use futures_util::{SinkExt, StreamExt};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, interval, sleep, timeout};
use tokio_tungstenite::{connect_async_with_config, tungstenite::Message};

/// A message without an answer after this long is lost.
const PATIENCE: Duration = Duration::from_secs(10);

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Default)]
struct Tally {
    opened: bool,
    sent: usize,
    answers: Vec<Duration>,
    failure: Option<Failure>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut arguments = env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:8080/echo".to_owned());
    let clients = arguments.next().map_or(Ok(10), |count| count.parse::<u32>())?;
    let seconds = arguments.next().map_or(Ok(5), |count| count.parse::<u32>())?;

    // Spread over the first second, so that they do not speak all at once ever after.
    let starts = (0..clients).map(|number| Duration::from_secs(1) * number / clients);
    let crowd = starts.map(|start| client(url.clone(), start, seconds)).collect::<JoinSet<_>>();
    let crowd = crowd.join_all().await;
    let mut answers: Vec<Duration> = crowd.iter().flat_map(|one| &one.answers).copied().collect();
    answers.sort_unstable();
    let sent: usize = crowd.iter().map(|one| one.sent).sum();
    println!("clients   {} of {clients} opened", crowd.iter().filter(|one| one.opened).count());
    println!("messages  {sent} sent, {} answered", answers.len());
    if let Some(max) = answers.last() {
        let [p50, p90, p99] = [50, 90, 99].map(|p| answers[(answers.len() * p).div_ceil(100) - 1]);
        println!("latency   p50 {p50:.2?}, p90 {p90:.2?}, p99 {p99:.2?}, max {max:.2?}");
    }
    crowd.into_iter().find_map(|one| one.failure).map_or(Ok(()), Err)
}

async fn client(url: String, start: Duration, seconds: u32) -> Tally {
    sleep(start).await;
    let mut tally = Tally::default();
    tally.failure = talk(&url, seconds, &mut tally).await.err();
    tally
}

async fn talk(url: &str, seconds: u32, tally: &mut Tally) -> Result<(), Failure> {
    let (mut socket, _) = connect_async_with_config(url, None, true).await?;
    tally.opened = true;
    let mut tick = interval(Duration::from_secs(1));
    for number in 0..seconds {
        tick.tick().await;
        let (said, at) = (Message::text(format!("message {number}")), Instant::now());
        socket.send(said.clone()).await?;
        tally.sent += 1;
        // Pings and the like come in between.
        while timeout(PATIENCE, socket.next()).await?.ok_or("closed before the answer")?? != said {}
        tally.answers.push(at.elapsed());
    }
    socket.close(None).await?;
    // The server's close ends it; dropped before that, the socket would end with a reset.
    timeout(PATIENCE, async { while socket.next().await.is_some() {} }).await?;
    Ok(())
}
