//! The clients: one closed loop over all connections of a scene. Each connection asks, waits
//! for its answer, checks it, and asks again; nothing is sent ahead, so a slow proxy slows its
//! own load and the count over a window is exact.

mod connection;
mod run;

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use crate::arguments::Load;
use run::Run;

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Small WebSocket messages, echoed.
    Echo,
    /// Large WebSocket messages, echoed.
    Bulk,
    /// Connect, upgrade, close.
    Handshake,
    /// Plain GETs on kept connections.
    Get,
    /// WebSockets opened and held.
    Idle,
    /// The same, and whoever pings them is answered.
    Heartbeat,
}

impl Scene {
    /// Whether its connections stand idle, each after one message.
    pub fn rests(self) -> bool {
        matches!(self, Self::Idle | Self::Heartbeat)
    }

    /// The word used on the command line and in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Bulk => "bulk",
            Self::Handshake => "handshake",
            Self::Get => "get",
            Self::Idle => "idle",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// Plays one scene against `address`, in step with the harness on standard input and output.
pub fn run(scene: Scene, address: SocketAddr, load: &Load) -> io::Result<ExitCode> {
    let mut run = Run::new(scene, address, load)?;
    run.prepare(load.warmup)?;
    if !run.failed() {
        // The harness reads the proxy's cost while nothing is in flight.
        println!("ready");
        io::stdout().flush()?;
        wait_for_line()?;
        run.measure(load.seconds)?;
    }
    println!("{}", run.result());
    io::stdout().flush()?;
    // The end of the sockets is work for the proxy too: not before its cost has been read.
    wait_for_line()?;
    Ok(if run.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn wait_for_line() -> io::Result<()> {
    io::stdin().lock().read_line(&mut String::new()).map(|_| ())
}
