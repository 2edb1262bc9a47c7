//! The other two processes of the side-by-side benchmark: a backend that echoes, and clients
//! that ask and check every answer. The harness (../run) pins both to the core that the proxy
//! under test does not use, and reads the proxy's cost; nothing here measures a proxy.

mod arguments;
mod backend;
mod client;
mod frame;
mod handshake;
mod latency;
mod socket;

use std::process::ExitCode;

use arguments::{Arguments, Command};

const USAGE: &str = "\
usage: load backend   [--address 127.0.0.1:0]
       load SCENE     --address HOST:PORT [--sockets N] [--bytes N] [--seconds S] [--warmup S]

SCENE is one of
  echo, bulk   a WebSocket message of --bytes echoed again and again on each of --sockets
  handshake    connect, upgrade, close, again and again, --sockets at a time
  get          GET on --sockets keep-alive connections, again and again
  idle         --sockets WebSockets, opened and held: one message at the start, one at the end
  heartbeat    --sockets WebSockets, opened and held: one message at the start, then pongs alone

A scene prints `ready` once its connections stand and are warm, waits for a line on standard
input, works for --seconds, prints one line of JSON, and holds its connections until
standard input ends. The exit status is 1 when any answer was not the right one.";

fn main() -> ExitCode {
    let outcome = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Arguments { command: Command::Backend, address, .. }) => backend::run(address),
        Ok(Arguments { command: Command::Scene(scene), address, load }) => {
            client::run(scene, address, &load)
        }
        Err(why) => {
            eprintln!("load: {why}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
