//! Bowline: a reverse proxy and load balancer whose first citizen is the WebSocket.
//!
//! A connection is **accepted**, its **exchange** is read and judged, an **upstream** is chosen
//! and dialled, and after the 101 a **tunnel** carries the bytes. The modules, in path order:
//!
//! - [`config`]: exactly what YAML says; [`plan`]: what it means, checked and immutable;
//!   [`generation`]: a plan joined with the counters that outlive it.
//! - [`accept`]: sockets, workers, TLS.
//! - [`exchange`]: HTTP/1.1 on a client's connection, up to the answer or the 101.
//! - [`guard`]: may it pass? [`origin`]: where a page came from.
//! - [`upstream`]: endpoints, balancing, leases, pools, dialling.
//! - [`tunnel`]: two streams become one.
//! - [`drain`]: how it all ends; [`error`]: what a client sees of a failure.
//! - `discovery`: which endpoints there are, where names and files say it.
//! - [`telemetry`], [`admin`]: counters, logs, and where to read them.
//! - [`server`]: build, then run; [`cli`]: the command line.
//!
//! To embed Bowline: [`config::parse`], [`plan::Plan::build`], [`server::Server::bind`],
//! [`server::Server::run`]; `examples/embed.rs` does it in a page.

pub mod accept;
pub mod admin;
pub mod cli;
pub mod config;
mod discovery;
pub mod drain;
pub mod error;
pub mod exchange;
mod fields;
pub mod generation;
pub mod guard;
mod jitter;
pub mod origin;
pub mod plan;
mod proxy_protocol;
mod rebalance;
pub mod reload;
pub mod server;
pub mod telemetry;
pub mod tunnel;
pub mod upstream;
mod watch;
mod websocket;
