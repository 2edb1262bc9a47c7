//! Bowline inside a program of your own: a configuration as text, a plan, a server, an orderly end.
//!
//! ```text
//! cargo run --example embed       # prints its address; Ctrl-C ends it, a second one at once
//! ```
//!
//! Open the address in a browser: the page opens a WebSocket to `/echo` through the proxy.

use std::env;
use std::error::Error;
use std::path::Path;

use bowline::config;
use bowline::plan::Plan;
use bowline::server::Server;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

const CONFIG: &str = "
listeners: [ { address: '127.0.0.1:${PORT:-0}' } ]
routes:
  - { match: { path: /echo }, upstream: echo }
  - { upstream: page }
upstreams:
  echo: { builtin: echo }
  page: { builtin: page }
drain: { timeout: 5s }
";

// Bowline's workers are threads of their own: one thread is enough for the rest.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (config, mut mistakes) = config::parse("embed", CONFIG, &|name| env::var(name).ok());
    // Files that a configuration names, such as certificates, are relative to this folder.
    let plan = Plan::build(&config, Path::new(""), &mut mistakes);
    let server = Server::bind(mistakes.into_result(plan)?)?;

    // Before the address is told: from then on somebody may press Ctrl-C.
    let mut interrupt = signal(SignalKind::interrupt())?;
    for address in server.addresses() {
        println!("listening on http://{address}/");
    }
    let metrics = server.metrics().clone();
    let stop = async {
        interrupt.recv().await;
    };
    let now = async { drop(ctrl_c().await) };
    server.run(stop, now).await?;

    // What /metrics would show, if there were an admin listener.
    let metrics = metrics.encode();
    for line in metrics.lines().filter(|line| line.starts_with("bowline_upgrades_total")) {
        println!("{line}");
    }
    println!("ended");
    Ok(())
}
