//! Where log lines go: diagnostics to stderr, access lines to stdout, each through a bounded queue and
//! a thread of its own, so that a stuck terminal or pipe never stalls a worker. When a queue is full,
//! lines are lost and counted; traffic does not wait for them.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use super::access;

/// Lines a queue holds: about 3 MiB of ordinary ones, a tenth of a second at full speed.
const QUEUE: usize = 16_384;

/// How long the end of the process waits for queued lines to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Environment variables that override the level, strongest first.
const OVERRIDES: [&str; 2] = ["BOWLINE_LOG", "RUST_LOG"];

/// Set by the first `init`: what the two queues have lost.
static LOST: OnceLock<[ErrorCounter; 2]> = OnceLock::new();

/// Set by the first `init`: how its filters are changed.
static CHANGE: OnceLock<Change> = OnceLock::new();

/// Sets the level and the switch for access lines.
type Change = Box<dyn Fn(&str, bool) + Send + Sync>;

/// Writes out what is queued when dropped: keep it until the very end of `main`.
#[derive(Debug)]
#[must_use = "queued lines are lost when this is not kept to the end"]
pub struct LogGuard {
    queues: Option<[WorkerGuard; 2]>,
}

impl Drop for LogGuard {
    /// With a stuck reader and a full queue the queue's own drop prints to stdout and so waits for
    /// that reader; on a thread that can be left behind, the end of the process does not.
    fn drop(&mut self) {
        let Some(queues) = self.queues.take() else { return };
        let (done, written) = mpsc::channel::<()>();
        let writer = thread::Builder::new().name("log-end".into()).spawn(move || {
            drop(queues);
            drop(done);
        });
        if writer.is_ok() {
            // Ends with an error either way: the sender went, or time is up.
            let _ended = written.recv_timeout(LAST_LINES);
        }
    }
}

/// Starts logging for the whole process.
///
/// `level` is a level (`warn`) or a list of filter directives (`info,bowline::tunnel=debug`);
/// `BOWLINE_LOG` or `RUST_LOG` in the environment override it, and what neither can be read from is
/// `info`. With `json` each line is one JSON object. `access` switches access lines on, whatever the
/// level. A second call, or one in a program that has set a subscriber of its own, changes nothing.
pub fn init(level: &str, json: bool, access: bool) -> LogGuard {
    if tracing::dispatcher::has_been_set() {
        return LogGuard { queues: None };
    }
    let (filter, mistake) = filter(level, |name| env::var(name).ok());
    let (diagnostics, diagnostics_queue) = queue(io::stderr(), "log");
    let (lines, lines_queue) = queue(io::stdout(), "access-log");
    let lost = [diagnostics.error_counter(), lines.error_counter()];
    let (filter, diagnostic_filter) = reload::Layer::new(filter);
    let (lines_filter, access_lines_filter) = reload::Layer::new(access_filter(access));
    let ours = tracing_subscriber::registry()
        .with(layer(diagnostics, json, colours(&io::stderr())).with_filter(filter))
        .with(layer(lines, json, colours(&io::stdout())).with_filter(lines_filter))
        .try_init()
        .is_ok();
    if !ours {
        return LogGuard { queues: None };
    }
    CHANGE.get_or_init(|| {
        Box::new(move |level, access| {
            // The handles fail only when the subscriber is gone.
            drop(diagnostic_filter.reload(self::filter(level, |name| env::var(name).ok()).0));
            drop(access_lines_filter.reload(access_filter(access)));
            access::enable(access);
        })
    });
    // Empty until now, because only one subscriber is ever set.
    LOST.get_or_init(|| lost);
    access::enable(access);
    if let Some(mistake) = mistake {
        tracing::warn!("{mistake}");
    }
    LogGuard { queues: Some([diagnostics_queue, lines_queue]) }
}

/// Changes the level and the switch for access lines of what [`init`] has started; overrides in the
/// environment stay stronger.
pub fn change(level: &str, access: bool) {
    if let Some(change) = CHANGE.get() {
        change(level, access);
    }
}

/// How many lines were lost to full queues since the start.
pub fn dropped_lines() -> u64 {
    LOST.get().map_or(0, |queues| {
        queues.iter().fold(0, |total, queue| total.saturating_add(queue.dropped_lines() as u64))
    })
}

fn queue<W: Write + Send + 'static>(to: W, thread: &str) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().buffered_lines_limit(QUEUE).thread_name(thread).finish(to)
}

/// What is not told unless it is asked for by name.
const QUIET: &str = "access=off,hickory=off";

/// The filter of diagnostics, and what to say about an override or level that cannot be read.
fn filter(level: &str, variable: impl Fn(&str) -> Option<String>) -> (EnvFilter, Option<String>) {
    let named = OVERRIDES.iter().find_map(|name| {
        let value = variable(name).filter(|value| !value.trim().is_empty())?;
        Some((*name, value))
    });
    let mut mistake = None;
    let wanted = [named, Some(("log level", level.to_owned()))].into_iter().flatten();
    let mut filter = EnvFilter::new("info");
    for (source, value) in wanted {
        match EnvFilter::try_new(&value) {
            Ok(read) => {
                filter = read;
                break;
            }
            Err(error) => {
                mistake.get_or_insert(format!("{source} {value:?} is not a log filter: {error}"));
            }
        }
    }
    // Access lines have a switch of their own; a directive for them here would print them twice. Of a
    // name that cannot be resolved Bowline tells once; the resolver would tell each time.
    let quiet = if filter.to_string().contains("hickory") { "access=off" } else { QUIET };
    let off = quiet.split(',').filter_map(|one| one.parse().ok());
    (off.fold(filter, EnvFilter::add_directive), mistake)
}

fn access_filter(on: bool) -> Targets {
    Targets::new()
        .with_target(access::TARGET, if on { LevelFilter::INFO } else { LevelFilter::OFF })
}

/// Colours are for people: only on a terminal, and not when <https://no-color.org> is asked for.
fn colours(output: &impl IsTerminal) -> bool {
    output.is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Lines in one of the two forms. Strings are quoted and escaped in both, so that nothing a peer sent
/// can end a line or colour a terminal.
fn layer<S, W>(to: W, json: bool, ansi: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(to);
    if json {
        let layer = layer.json().flatten_event(true);
        Box::new(layer.with_current_span(false).with_span_list(false).with_ansi(false))
    } else {
        Box::new(layer.with_target(false).with_ansi(ansi))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::{Arc, Mutex};

    use http::{Method, Version};

    use super::*;
    use crate::error::Failure;
    use crate::telemetry::access::{RequestLine, TunnelClose, TunnelOpen};
    use crate::tunnel::{Closer, Ended, Reason};

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `work` logs as diagnostics and as access lines.
    fn logged(json: bool, access: bool, level: &str, work: impl FnOnce()) -> (String, String) {
        let (left, right) = (Memory::default(), Memory::default());
        let (to_left, to_right) = (left.clone(), right.clone());
        let subscriber = tracing_subscriber::registry()
            .with(
                layer(move || to_left.clone(), json, false).with_filter(filter(level, |_| None).0),
            )
            .with(layer(move || to_right.clone(), json, false).with_filter(access_filter(access)));
        tracing::subscriber::with_default(subscriber, work);
        let read = |memory: Memory| String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        (read(left), read(right))
    }

    fn request<'a>(path: &'a str) -> RequestLine<'a> {
        RequestLine {
            client: CLIENT,
            certificate: None,
            method: &Method::GET,
            host: "chat.example.com",
            path,
            version: Version::HTTP_11,
            status: 502,
            failure: Some(Failure::ConnectRefused),
            route: "web",
            upstream: "pool",
            endpoint: Some("10.0.0.1:80"),
            bytes_in: 1,
            bytes_out: 2,
            took: Duration::from_micros(1_500),
            first_byte: None,
            aborted: false,
        }
    }

    fn ended() -> Ended {
        Ended {
            reason: Reason::HalfClose,
            closer: Closer::Upstream,
            code: Some(1000),
            messages_to_upstream: 1,
            messages_to_client: 2,
            to_upstream: 5,
            to_client: 6,
            lasted: Duration::from_millis(2_250),
        }
    }

    #[test]
    fn a_request_is_one_readable_line() {
        let (_, lines) = logged(false, true, "warn", || access::request(&request("/ws")));
        let (_, line) = lines.split_once(' ').unwrap();
        assert_eq!(
            line.trim(),
            "INFO request client=192.0.2.7 method=\"GET\" host=\"chat.example.com\" path=\"/ws\" \
             version=\"HTTP/1.1\" status=502 failure=\"connect_refused\" route=\"web\" \
             upstream=\"pool\" endpoint=\"10.0.0.1:80\" bytes_in=1 bytes_out=2 took_ms=1.5"
        );
    }

    #[test]
    fn a_request_is_one_json_object() {
        let (_, line) = logged(true, true, "warn", || access::request(&request("/ws")));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["message"], "request");
        assert_eq!(line["target"], "access");
        assert_eq!(line["status"], 502);
        assert_eq!(line["failure"], "connect_refused");
        assert_eq!(line["took_ms"], 1.5);
        assert!(line.get("first_byte_ms").is_none() && line.get("aborted").is_none(), "{line}");
    }

    #[test]
    fn a_tunnel_opens_and_closes_with_the_same_number() {
        let (_, lines) = logged(true, true, "info", || {
            access::tunnel_open(&TunnelOpen {
                id: 9,
                client: CLIENT,
                certificate: Some("CN=robot"),
                host: "chat.example.com",
                path: "/ws",
                version: http::Version::HTTP_2,
                route: "chat",
                upstream: "pool",
                endpoint: "10.0.0.1:80",
                subprotocol: Some("mqtt"),
                handshake: Duration::from_millis(4),
            });
            access::tunnel_close(&TunnelClose {
                id: 9,
                client: CLIENT,
                route: "chat",
                upstream: "pool",
                endpoint: "10.0.0.1:80",
                ended: &ended(),
            });
        });
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [open, close] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((&open["message"], &open["id"]), (&"tunnel opened".into(), &9.into()));
        assert_eq!(open["subprotocol"], "mqtt");
        assert_eq!(open["handshake_ms"], 4.0);
        assert_eq!((&close["message"], &close["id"]), (&"tunnel closed".into(), &9.into()));
        assert_eq!(
            (&close["reason"], &close["closer"]),
            (&"half_close".into(), &"upstream".into())
        );
        assert_eq!((&close["to_upstream"], &close["to_client"]), (&5.into(), &6.into()));
        assert_eq!(close["lasted"], 2.25);
    }

    #[test]
    fn nothing_a_peer_sends_can_end_a_line_or_reach_the_terminal() {
        let path = "/a\nERROR forged\r\u{1b}[31m\u{0}\u{7f}\u{85}\u{2028}\"x";
        let host = "h\nst";
        for json in [false, true] {
            let (_, lines) = logged(json, true, "info", || {
                access::request(&RequestLine { host, ..request(path) });
            });
            assert_eq!(lines.matches('\n').count(), 1, "{lines:?}");
            assert!(!lines.trim_end().contains(|at: char| at.is_ascii_control() && at != '\u{7f}'));
        }
        let (_, text) = logged(false, true, "info", || access::request(&request(path)));
        assert!(!text.trim_end().contains(char::is_control), "{text:?}");
    }

    #[test]
    fn access_lines_have_a_switch_of_their_own() {
        let both = || {
            tracing::warn!("careful");
            tracing::debug!("detail");
            access::request(&request("/"));
        };
        let (diagnostics, lines) = logged(false, true, "warn,access=trace", both);
        assert!(diagnostics.contains("WARN careful") && diagnostics.lines().count() == 1);
        assert_eq!(lines.lines().count(), 1);
        let (diagnostics, lines) = logged(false, false, "debug", both);
        assert_eq!(diagnostics.lines().count(), 2, "{diagnostics}");
        assert_eq!(lines, "");
    }

    #[test]
    fn the_environment_overrides_the_level() {
        let bowline = |name: &str| (name == "BOWLINE_LOG").then(|| "error".to_owned());
        assert_eq!(filter("debug", bowline).0.to_string(), "hickory=off,access=off,error");
        let both = |name: &str| Some(if name == "RUST_LOG" { "trace" } else { "warn" }.to_owned());
        assert_eq!(filter("debug", both).0.to_string(), "hickory=off,access=off,warn");
        let named = |_: &str| Some("info,hickory_net=debug".to_owned());
        assert_eq!(filter("debug", named).0.to_string(), "hickory_net=debug,access=off,info");
        let blank = |_: &str| Some(" ".to_owned());
        assert_eq!(filter("debug", blank).0.to_string(), "hickory=off,access=off,debug");
    }

    #[test]
    fn a_filter_that_cannot_be_read_gives_the_next_best_and_a_warning() {
        let (read, mistake) = filter("debug", |_| Some("bowline=loud".to_owned()));
        assert_eq!(read.to_string(), "hickory=off,access=off,debug");
        assert!(mistake.unwrap().contains("BOWLINE_LOG \"bowline=loud\""));
        let (read, mistake) = filter("a=b=c", |_| None);
        assert_eq!(read.to_string(), "hickory=off,access=off,info");
        assert!(mistake.unwrap().contains("log level"));
    }
}
