//! `bowline run`: plan, raise the descriptor limit, bind, serve, drain.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use super::{CommandError, RunArgs, load};
use crate::config::{self, Config, Format, Mistakes};
use crate::plan::Plan;
use crate::server::{Server, StartError};
use crate::telemetry::logs;

pub(super) fn run(args: &RunArgs) -> Result<(), CommandError> {
    let plan = plan(args)?;
    let level = plan.log_level.as_str();
    let _flush = logs::init(level, plan.log_format == Format::Json, plan.access_log);
    let limit = raise_descriptor_limit();
    let server = Server::bind(plan).map_err(|error| match error {
        StartError::Certificates(_) => CommandError::usage(error),
        _ => CommandError::unavailable(format!("bowline: {error}")),
    })?;
    if let Some(limit) = limit {
        server.metrics().set_descriptor_limit(limit);
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(serve(server, limit)))
        .map_err(|error| CommandError::unavailable(format!("bowline: {error}")))
}

fn plan(args: &RunArgs) -> Result<Plan, CommandError> {
    if let Some(listen) = &args.listen {
        return load::build(
            &without_file(listen, &args.upstream),
            Path::new(""),
            Mistakes::new("command line"),
        );
    }
    let default = Path::new("config.yaml");
    if args.config.is_none() && !default.exists() {
        return Err(CommandError::usage(
            "bowline: there is no config.yaml here: give --config FILE, or --listen ADDR --upstream URL",
        ));
    }
    load::plan(args.config.as_deref().unwrap_or(default))
}

/// What `--listen` and `--upstream` would be as a file.
fn without_file(listen: &str, upstreams: &[String]) -> Config {
    // `:8080` is what people type.
    let address = match listen.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => listen.to_owned(),
    };
    let listener = config::Listener { address: Some(address), ..Default::default() };
    let route = config::Route { upstream: Some("upstream".to_owned()), ..Default::default() };
    let endpoints = upstreams.iter().cloned().map(config::EndpointEntry::from).collect();
    let upstream = config::Upstream { endpoints, ..Default::default() };
    Config {
        listeners: vec![listener],
        routes: vec![route],
        upstreams: BTreeMap::from([("upstream".to_owned(), upstream)]),
        ..Default::default()
    }
}

/// Each WebSocket costs two descriptors: the soft limit's usual 1,024 would be 500 sockets.
fn raise_descriptor_limit() -> Option<u64> {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => Some(limit),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files (`ulimit -n`)");
            None
        }
    }
}

async fn serve(server: Server, limit: Option<u64>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    for address in server.addresses() {
        tracing::info!(%address, "listening");
    }
    if let Some(address) = server.admin_address() {
        tracing::info!(%address, "admin: /metrics, /healthz, /readyz");
    }
    if let Some(limit) = limit {
        tracing::info!(
            descriptors = limit,
            sockets = limit.saturating_sub(100) / 2,
            "room for about so many sockets"
        );
    }
    let stopping = tokio::sync::Notify::new();
    let again = tokio::sync::Notify::new();
    let signals = async {
        let mut told = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {
                    tracing::warn!("SIGHUP ignored: a running Bowline cannot reload its configuration yet; restart it");
                    continue;
                }
            }
            if told {
                again.notify_one()
            } else {
                stopping.notify_one()
            }
            told = true;
        }
    };
    tokio::select! {
        result = server.run(stopping.notified(), again.notified()) => result,
        () = signals => Ok(()),
    }
}
