//! `bowline run`: plan, raise the descriptor limit, bind, serve, reload, drain.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::service_manager;
use super::{CommandError, RunArgs, load};
use crate::accept::PassedSockets;
use crate::config::{self, Config, Format, Mistakes};
use crate::plan::Plan;
use crate::reload::Reloader;
use crate::server::{Server, StartError};
use crate::telemetry::logs;
use crate::watch::Watch;

pub(super) fn run(args: &RunArgs) -> Result<(), CommandError> {
    let (plan, file) = plan(args)?;
    let level = plan.log_level.as_str();
    let _flush = logs::init(level, plan.log_format == Format::Json, plan.access_log);
    let limit = raise_descriptor_limit();
    let passed = PassedSockets::from_env().map_err(|error| {
        CommandError::unavailable(format!("bowline: a passed socket (LISTEN_FDS): {error}"))
    })?;
    for socket in passed.unused(plan.listeners.iter().map(|one| &one.on)) {
        tracing::warn!(
            "no listener uses the passed socket {socket}: give one the address `systemd:NAME`"
        );
    }
    let server = Server::bind_with(plan, passed).map_err(|error| match error {
        StartError::Certificates(_) => CommandError::usage(error),
        _ => CommandError::unavailable(format!("bowline: {error}")),
    })?;
    if let Some(limit) = limit {
        server.metrics().set_descriptor_limit(limit);
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(serve(server, limit, file)))
        .map_err(|error| CommandError::unavailable(format!("bowline: {error}")))
}

/// The plan, and the file that it can be read from again.
fn plan(args: &RunArgs) -> Result<(Plan, Option<PathBuf>), CommandError> {
    if let Some(listen) = &args.listen {
        let config = without_file(listen, &args.upstream);
        let plan = load::build(&config, Path::new(""), Mistakes::new("command line"))?;
        return Ok((plan, None));
    }
    let default = Path::new("config.yaml");
    if args.config.is_none() && !default.exists() {
        return Err(CommandError::usage(
            "bowline: there is no config.yaml here: give --config FILE, or --listen ADDR --upstream URL",
        ));
    }
    let file = args.config.as_deref().unwrap_or(default);
    Ok((load::plan(file)?, Some(file.to_owned())))
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

async fn serve(
    mut server: Server,
    limit: Option<u64>,
    file: Option<PathBuf>,
) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
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
            }
            if told {
                again.notify_one()
            } else {
                stopping.notify_one()
            }
            told = true;
        }
    };
    let plan = server.plan();
    let stop_takes = move || {
        let drain = plan.borrow().drain;
        drain.delay.saturating_add(drain.timeout)
    };
    let told = service_manager::follow(server.phase(), stop_takes, limit);
    let watchdog = service_manager::watchdog(server.roll_call());
    let reloading = reload_for_ever(&mut server, file, hangup);
    tokio::select! {
        result = server.run(stopping.notified(), again.notified()) => result,
        () = signals => Ok(()),
        () = reloading => Ok(()),
        () = told => Ok(()),
        () = watchdog => Ok(()),
    }
}

/// Reads the configuration again whenever it is asked for: by SIGHUP, at the admin listener, or by a
/// change of the file. Never done.
fn reload_for_ever(
    server: &mut Server,
    file: Option<PathBuf>,
    mut hangup: Signal,
) -> impl Future<Output = ()> + use<> {
    let (reloader, metrics) = (server.reloader(), Arc::clone(server.metrics()));
    let orders = if file.is_some() { server.take_reload_orders() } else { None };
    async move {
        let (Some(file), Some(mut orders)) = (file, orders) else {
            loop {
                hangup.recv().await;
                tracing::warn!("SIGHUP: there is no file to read again");
            }
        };
        let mut watch = Watch::new(&file);
        loop {
            let order = tokio::select! {
                _ = hangup.recv() => None,
                () = watch.changed() => None,
                Some(order) = orders.recv() => Some(order),
            };
            let dry_run = order.as_ref().is_some_and(|order| order.dry_run);
            if !dry_run {
                service_manager::reloading();
            }
            let outcome = reload(&reloader, &file, dry_run).await;
            watch.know();
            if !dry_run {
                service_manager::reloaded(outcome.is_ok());
                metrics.reloads().note(outcome.is_ok());
                match &outcome {
                    Ok(report) => {
                        tracing::info!(changes = report.trim_end(), "configuration reloaded")
                    }
                    Err(mistakes) => tracing::error!(
                        mistakes = mistakes.trim_end(),
                        "configuration not reloaded: the one before it stays in force"
                    ),
                }
            }
            if let Some(order) = order {
                order.answer.send(outcome).ok();
            }
        }
    }
}

/// What has changed, or would; or every mistake.
async fn reload(reloader: &Reloader, file: &Path, dry_run: bool) -> Result<String, String> {
    let path = file.to_owned();
    let planned = tokio::task::spawn_blocking(move || load::plan(&path)).await;
    let plan = planned.map_err(|error| error.to_string())?.map_err(|error| error.message)?;
    let report = if dry_run { reloader.preview(plan).await } else { reloader.reload(plan).await };
    let report = report.map_err(|error| format!("{error}\n"))?;
    Ok(if report.difference.is_empty() {
        "nothing differs\n".to_owned()
    } else {
        report.difference.to_string()
    })
}
