//! Every metric of Bowline, declared once, and the collector that sums the shards into them at scrape.
//! Label sets are built here by hand: the crate's `*Vec` types key a series by a hash of its joined
//! label values, so that ("ab", "c") and ("a", "bc") become one.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::counter::Snapshot;
use super::metrics::Tables;
use super::process::Process;
use super::{
    CheckOutcome, Counter, Histogram, Http2Fault, Reloads, RouteShard, Sharded, SizeHistogram,
    TlsFailure, TlsFiles, TlsHandshake, UpgradeOutcome, UpstreamShard, WorkerShard,
};
use crate::error::Failure;
use crate::tunnel::{CODES, Closer, Reason};

/// One metric: what the HELP and TYPE lines say, and its label names in order.
struct Family {
    name: &'static str,
    kind: proto::MetricType,
    labels: &'static [&'static str],
    help: &'static str,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind: proto::MetricType::COUNTER, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: proto::MetricType::GAUGE, labels, help }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind: proto::MetricType::HISTOGRAM, labels, help }
}

/// Declares each family once, as a constant and as a row of `FAMILIES`.
macro_rules! families {
    ($($constant:ident = $kind:ident($name:literal, [$($label:literal),*], $help:literal);)*) => {
        $(const $constant: Family = $kind($name, &[$($label),*], $help);)*
        const FAMILIES: &[Family] = &[$($constant),*];
    };
}

families! {
    ACCEPTED = counter("bowline_accepted_total", [], "Client connections accepted.");
    ACCEPT_ERRORS = counter("bowline_accept_errors_total", [],
        "Errors of accept itself, such as no free descriptor.");
    BUILD_INFO = gauge("bowline_build_info", ["version"], "Always 1; the version is in the label.");
    CONFIG_GENERATIONS = gauge("bowline_config_generations", [],
        "Configurations that something still uses: 1, but for a while after a reload.");
    CONFIG_RELOADS = counter("bowline_config_reloads_total", ["result"],
        "Reloads that took effect, or were refused.");
    CONFIG_RELOAD_SUCCESS = gauge("bowline_config_reload_success", [],
        "Whether the last reload took effect: 1, or 0 when the one before it is still in force.");
    CONFIG_SINCE = gauge("bowline_config_since_seconds", [],
        "Unix time at which the configuration in force took effect.");
    CONNECTIONS = gauge("bowline_connections", [], "Client connections open now, tunnels included.");
    DESCRIPTOR_LIMIT = gauge("bowline_descriptor_limit", [],
        "How many descriptors this process may open.");
    DISCOVERY_FAILURES = counter("bowline_discovery_failures_total", ["upstream"],
        "How often a source of endpoints was asked in vain, or said what is of no use.");
    DISCOVERY_SUCCESS = gauge("bowline_discovery_success", ["upstream"],
        "1 while the last word of every source of endpoints was good.");
    ENDPOINT_EJECTIONS = counter("bowline_endpoint_ejections_total", ["upstream", "endpoint"],
        "How often an endpoint was ejected for failures of clients' requests.");
    ENDPOINT_HANDSHAKE = gauge("bowline_endpoint_handshake_seconds", ["upstream", "endpoint"],
        "Moving average of an endpoint's upgrade handshakes, the last one counting for an eighth.");
    ENDPOINT_REQUESTS = gauge("bowline_endpoint_requests", ["upstream", "endpoint"],
        "Plain requests in flight to an endpoint now.");
    ENDPOINT_TUNNELS = gauge("bowline_endpoint_tunnels", ["upstream", "endpoint"],
        "Tunnels open to an endpoint now.");
    ENDPOINT_UP = gauge("bowline_endpoint_up", ["upstream", "endpoint"],
        "1 while an endpoint is neither down nor ejected.");
    FAILURES = counter("bowline_failures_total", ["route", "cause"],
        "Answers that Bowline made itself, by cause; the route is empty when none was found.");
    HANDED_OVER = counter("bowline_handed_over_total", [],
        "Fresh connections given to a less loaded worker.");
    HANDSHAKE_SECONDS = histogram("bowline_handshake_seconds", ["route"],
        "From the whole upgrade request to the upstream's 101.");
    HEALTH_CHECKS = counter("bowline_health_checks_total", ["upstream", "result"],
        "Active checks of endpoints by result.");
    HEALTH_CHECK_SECONDS = histogram("bowline_health_check_seconds", ["upstream"],
        "How long active checks took that passed.");
    HTTP2_CONNECTIONS = gauge("bowline_http2_connections", [],
        "Client connections of HTTP/2 open now; each is also one of bowline_connections.");
    HTTP2_FAULTS = counter("bowline_http2_faults_total", ["fault"],
        "Connections of HTTP/2 ended because of what their client did; for stalled it was one stream.");
    HTTP2_STREAMS = gauge("bowline_http2_streams", [],
        "Streams open now on connections of HTTP/2, requests and WebSockets.");
    HTTP2_TUNNELS = counter("bowline_http2_tunnels_total", [],
        "WebSockets opened over HTTP/2; each is also one of bowline_tunnels_opened_total.");
    LOG_LINES_DROPPED = counter("bowline_log_lines_dropped_total", [],
        "Log lines lost because the terminal, pipe or disk was slower than they came.");
    ORIGIN_REPORTS = counter("bowline_origin_reports_total", ["route"],
        "WebSocket upgrades of other origins that origin_mode: report let through.");
    OVER_LIMIT = counter("bowline_over_limit_total", [],
        "Client connections closed at once because limits.connections were open.");
    PROXY_PROTOCOL_REFUSED = counter("bowline_proxy_protocol_refused_total", [],
        "Client connections closed for their PROXY header, or for sending one from elsewhere.");
    REBALANCED = counter("bowline_rebalanced_total", ["upstream"],
        "Tunnels told to come back because another endpoint has more room.");
    REQUESTS = counter("bowline_requests_total", ["route", "class"], "Answers by class of status.");
    REQUEST_SECONDS = histogram("bowline_request_seconds", ["route"],
        "From the whole request head to the end of the answer's body; upgrades are not in it.");
    TLS_CERTIFICATE_EXPIRY = gauge("bowline_tls_certificate_expiry_seconds", ["file"],
        "Unix time at which the certificate in use of a file expires.");
    TLS_FAILURES = counter("bowline_tls_failures_total", ["cause"],
        "TLS handshakes with clients that came to nothing, by cause.");
    TLS_HANDSHAKES = counter("bowline_tls_handshakes_total", ["version", "resumed"],
        "TLS handshakes with clients, by version and by whether a session was resumed.");
    TLS_RELOAD_SUCCESS = gauge("bowline_tls_reload_success", ["file"],
        "Whether what is in a file of TLS is in use: 1, or 0 when it is broken and what was read before serves.");
    TLS_QUEUED = counter("bowline_tls_queued_total", [],
        "TLS handshakes that waited because tls.max_handshakes were under way.");
    TLS_REFUSED = counter("bowline_tls_refused_total", [],
        "Client connections closed late, since tls.max_handshakes others were under way.");
    TUNNELS = gauge("bowline_tunnels", ["route"], "Tunnels open now.");
    TUNNELS_ENDED = counter("bowline_tunnels_ended_total", ["route", "reason", "closer"],
        "Tunnels ended, by reason and by who began the end.");
    TUNNELS_OPENED = counter("bowline_tunnels_opened_total", ["route"], "Tunnels begun.");
    TUNNEL_BYTES = counter("bowline_tunnel_bytes_total", ["route", "direction"],
        "Bytes delivered by tunnels, counted when a tunnel ends.");
    TUNNEL_CLOSE_CODES = counter("bowline_tunnel_close_codes_total", ["route", "code"],
        "Tunnels ended, by the code of the first Close; none where there was no Close.");
    TUNNEL_MESSAGES = counter("bowline_tunnel_messages_total", ["route", "direction"],
        "Whole messages in tunnels, counted when a tunnel ends; none where frames are opaque.");
    TUNNEL_MESSAGE_BYTES = histogram("bowline_tunnel_message_bytes", ["route", "direction"],
        "Payload of whole messages as it travels, counted when a message ends.");
    TUNNEL_PAUSES = counter("bowline_tunnel_pauses_total", ["route", "direction"],
        "How often a tunnel's source was not read, because its sink was slower or its rate was spent.");
    TUNNEL_PING_SECONDS = histogram("bowline_tunnel_ping_seconds", ["route", "side"],
        "From a ping of Bowline's to its pong.");
    TUNNEL_SECONDS = histogram("bowline_tunnel_seconds", ["route"], "How long tunnels lived.");
    UNPARSED = counter("bowline_unparsed_requests_total", [],
        "Requests refused before routing: not HTTP, or a head over its limits.");
    UPGRADES = counter("bowline_upgrades_total", ["route", "outcome"],
        "WebSocket upgrade requests by outcome.");
    UPSTREAM_BREAKER_OPENS = counter("bowline_upstream_breaker_opens_total", ["upstream"],
        "How often the breaker of a worker opened.");
    UPSTREAM_CONNECTS = counter("bowline_upstream_connects_total", ["upstream"],
        "Connections opened to an upstream.");
    UPSTREAM_CONNECT_FAILURES = counter("bowline_upstream_connect_failures_total", ["upstream"],
        "Dials of an upstream that failed.");
    UPSTREAM_CONNECT_SECONDS = histogram("bowline_upstream_connect_seconds", ["upstream"],
        "How long successful dials took, TLS included.");
    UPSTREAM_NO_PORT = counter("bowline_upstream_no_port_total", ["upstream"],
        "Dials that found no free port to come from, each source address by itself.");
    UPSTREAM_ENDPOINTS = gauge("bowline_upstream_endpoints", ["upstream"],
        "Endpoints that an upstream has now, written down and found.");
    UPSTREAM_PANIC = gauge("bowline_upstream_panic", ["upstream"],
        "1 while too few endpoints are up and health is ignored.");
    UPSTREAM_QUEUED = counter("bowline_upstream_queued_total", ["upstream"],
        "Requests that waited because max_connections were under way.");
    UPSTREAM_UPGRADES_QUEUED = counter("bowline_upstream_upgrades_queued_total", ["upstream"],
        "Upgrades that waited because upgrades.in_progress were under way.");
    UPSTREAM_RETRIES = counter("bowline_upstream_retries_total", ["upstream"],
        "Attempts after the first.");
    UPSTREAM_RETRIES_REFUSED = counter("bowline_upstream_retries_refused_total", ["upstream"],
        "Retries that the budget did not allow.");
    UPSTREAM_REUSED = counter("bowline_upstream_reused_total", ["upstream"],
        "Requests that went out on a kept connection.");
    UPSTREAM_SOURCE_MISSING = counter("bowline_upstream_source_missing_total", ["upstream"],
        "Dials from a source address that this machine does not have, or that does not lead there.");
    PROCESS_CPU = counter("process_cpu_seconds_total", [], "User and system CPU time.");
    PROCESS_FDS = gauge("process_open_fds", [], "Descriptors in use.");
    PROCESS_RSS = gauge("process_resident_memory_bytes", [], "Resident memory.");
    PROCESS_START = gauge("process_start_time_seconds", [], "Unix time of the start.");
}

/// Class labels in the order of `RouteShard::requests`, and which stand there from the start.
const CLASSES: [(&str, bool); 5] =
    [("1xx", false), ("2xx", true), ("3xx", false), ("4xx", true), ("5xx", true)];

/// Sums the shards when a scraper asks.
pub(super) struct Exposition {
    tables: Arc<Tables>,
    descs: Vec<Desc>,
}

impl Exposition {
    pub(super) fn new(tables: Arc<Tables>) -> Self {
        Self { tables, descs: descs() }
    }
}

/// The families as the registry wants them told.
fn descs() -> Vec<Desc> {
    let desc = |family: &Family| {
        let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(family.name.to_owned(), family.help.to_owned(), labels, Default::default()).ok()
    };
    FAMILIES.iter().filter_map(desc).collect()
}

impl Collector for Exposition {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut page = Page::default();
        process(&mut page, &Process::read());
        page.add(&BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
        page.add(&LOG_LINES_DROPPED, &[], super::logs::dropped_lines());
        page.add_unless_zero(&DESCRIPTOR_LIMIT, &[], self.tables.descriptor_limit());
        reloads(&mut page, self.tables.reloads());
        workers(&mut page, self.tables.workers());
        tls_files(&mut page, self.tables.tls_files());
        for (name, shards) in self.tables.routes() {
            route(&mut page, &name, &shards);
        }
        for (name, shards) in self.tables.upstreams() {
            upstream(&mut page, &name, &shards);
        }
        for (name, panics) in self.tables.panics() {
            page.add(&UPSTREAM_PANIC, &[&name], panics.into());
        }
        for (name, finding) in self.tables.findings() {
            page.add(&DISCOVERY_FAILURES, &[&name], finding.failures());
            page.add(&DISCOVERY_SUCCESS, &[&name], finding.is_well().into());
        }
        for (name, size) in self.tables.sizes() {
            page.add(&UPSTREAM_ENDPOINTS, &[&name], size as u64);
        }
        for ((upstream, endpoint), gauge) in self.tables.endpoints() {
            let labels: [&str; 2] = [&upstream, &endpoint];
            page.add(&ENDPOINT_TUNNELS, &labels, gauge.tunnels);
            page.add(&ENDPOINT_REQUESTS, &labels, gauge.requests);
            page.add(&ENDPOINT_UP, &labels, gauge.up.into());
            if let Some(handshake) = gauge.handshake {
                page.number(&ENDPOINT_HANDSHAKE, &labels, handshake.as_secs_f64());
            }
            page.add_unless_zero(&ENDPOINT_EJECTIONS, &labels, gauge.ejections);
        }
        page.families
    }
}

fn process(page: &mut Page, process: &Process) {
    let numbers = [
        (&PROCESS_CPU, process.cpu_seconds),
        (&PROCESS_FDS, process.open_descriptors.map(|count| count as f64)),
        (&PROCESS_RSS, process.resident_bytes.map(|bytes| bytes as f64)),
        (&PROCESS_START, process.start_seconds),
    ];
    for (family, number) in numbers {
        if let Some(number) = number {
            page.number(family, &[], number);
        }
    }
}

fn reloads(page: &mut Page, reloads: &Reloads) {
    let (done, refused) = reloads.counts();
    page.add(&CONFIG_RELOADS, &["done"], done);
    page.add(&CONFIG_RELOADS, &["refused"], refused);
    page.add(&CONFIG_RELOAD_SUCCESS, &[], reloads.last_done().into());
    page.add(&CONFIG_SINCE, &[], reloads.since());
    page.add(&CONFIG_GENERATIONS, &[], reloads.generations());
}

fn tls_files(page: &mut Page, files: &TlsFiles) {
    for file in files.all() {
        if let Some(expires) = file.expires {
            page.add(&TLS_CERTIFICATE_EXPIRY, &[&file.file], expires);
        }
        page.add(&TLS_RELOAD_SUCCESS, &[&file.file], file.problem.is_none().into());
    }
}

fn workers(page: &mut Page, shards: &Sharded<WorkerShard>) {
    // Ends are read before beginnings: a connection counted in between then makes the gauge one too
    // high, never a wrap below zero.
    let closed = sum(shards, |shard| &shard.closed);
    let accepted = sum(shards, |shard| &shard.accepted);
    page.add(&CONNECTIONS, &[], accepted.saturating_sub(closed));
    page.add(&ACCEPTED, &[], accepted);
    page.add(&ACCEPT_ERRORS, &[], sum(shards, |shard| &shard.accept_errors));
    page.add(&OVER_LIMIT, &[], sum(shards, |shard| &shard.over_limit));
    page.add(&HANDED_OVER, &[], sum(shards, |shard| &shard.handed_over));
    for (at, cause) in TlsFailure::ALL.iter().enumerate() {
        let count = sum(shards, |shard| &shard.tls_failures[at]);
        page.add_unless_zero(&TLS_FAILURES, &[cause.label()], count);
    }
    for (at, kind) in TlsHandshake::ALL.iter().enumerate() {
        let count = sum(shards, |shard| &shard.tls_handshakes[at]);
        page.add_unless_zero(&TLS_HANDSHAKES, &kind.labels(), count);
    }
    page.add_unless_zero(&TLS_QUEUED, &[], sum(shards, |shard| &shard.tls_queued));
    page.add_unless_zero(&TLS_REFUSED, &[], sum(shards, |shard| &shard.tls_refused));
    let refused = sum(shards, |shard| &shard.proxy_protocol_refused);
    page.add(&PROXY_PROTOCOL_REFUSED, &[], refused);
    page.add(&UNPARSED, &[], sum(shards, |shard| &shard.unparsed));
    let ended = sum(shards, |shard| &shard.http2_ended);
    let begun = sum(shards, |shard| &shard.http2_begun);
    page.add(&HTTP2_CONNECTIONS, &[], begun.saturating_sub(ended));
    let ended = sum(shards, |shard| &shard.streams_ended);
    let begun = sum(shards, |shard| &shard.streams_begun);
    page.add(&HTTP2_STREAMS, &[], begun.saturating_sub(ended));
    page.add(&HTTP2_TUNNELS, &[], sum(shards, |shard| &shard.http2_tunnels));
    for (at, fault) in Http2Fault::ALL.iter().enumerate() {
        let count = sum(shards, |shard| &shard.http2_faults[at]);
        page.add_unless_zero(&HTTP2_FAULTS, &[fault.label()], count);
    }
    for (at, failure) in Failure::ALL.iter().enumerate() {
        let count = sum(shards, |shard| &shard.unrouted_failures[at]);
        page.add_unless_zero(&FAILURES, &["", failure.label()], count);
    }
}

fn route(page: &mut Page, name: &str, shards: &Sharded<RouteShard>) {
    for (at, (class, always)) in CLASSES.into_iter().enumerate() {
        let count = sum(shards, |shard| &shard.requests[at]);
        if always || count > 0 {
            page.add(&REQUESTS, &[name, class], count);
        }
    }
    for (at, failure) in Failure::ALL.iter().enumerate() {
        let count = sum(shards, |shard| &shard.failures[at]);
        page.add_unless_zero(&FAILURES, &[name, failure.label()], count);
    }
    for (at, outcome) in UpgradeOutcome::ALL.iter().enumerate() {
        let count = sum(shards, |shard| &shard.upgrades[at]);
        if *outcome == UpgradeOutcome::Accepted || count > 0 {
            page.add(&UPGRADES, &[name, outcome.label()], count);
        }
    }
    page.add_unless_zero(&ORIGIN_REPORTS, &[name], sum(shards, |shard| &shard.origin_reports));
    let mut ended = 0_u64;
    for (row, reason) in Reason::ALL.iter().enumerate() {
        for (column, closer) in Closer::ALL.iter().enumerate() {
            let count = sum(shards, |shard| &shard.tunnels_ended[row][column]);
            ended = ended.wrapping_add(count);
            page.add_unless_zero(&TUNNELS_ENDED, &[name, reason.label(), closer.label()], count);
        }
    }
    let opened = sum(shards, |shard| &shard.tunnels_opened);
    page.add(&TUNNELS_OPENED, &[name], opened);
    page.add(&TUNNELS, &[name], opened.saturating_sub(ended));
    let to_client = sum(shards, |shard| &shard.tunnel_bytes_to_client);
    let to_upstream = sum(shards, |shard| &shard.tunnel_bytes_to_upstream);
    page.add(&TUNNEL_BYTES, &[name, "to_client"], to_client);
    page.add(&TUNNEL_BYTES, &[name, "to_upstream"], to_upstream);
    for (at, code) in CODES.iter().enumerate() {
        let count = sum(shards, |shard| &shard.tunnel_codes[at]);
        page.add_unless_zero(&TUNNEL_CLOSE_CODES, &[name, code], count);
    }
    let to_client = sum(shards, |shard| &shard.tunnel_messages_to_client);
    let to_upstream = sum(shards, |shard| &shard.tunnel_messages_to_upstream);
    page.add(&TUNNEL_MESSAGES, &[name, "to_client"], to_client);
    page.add(&TUNNEL_MESSAGES, &[name, "to_upstream"], to_upstream);
    let to_client = merge_sizes(shards, |shard| &shard.message_bytes_to_client);
    page.spread(&TUNNEL_MESSAGE_BYTES, &[name, "to_client"], to_client);
    let to_upstream = merge_sizes(shards, |shard| &shard.message_bytes_to_upstream);
    page.spread(&TUNNEL_MESSAGE_BYTES, &[name, "to_upstream"], to_upstream);
    let to_client = sum(shards, |shard| &shard.pauses_to_client);
    page.add(&TUNNEL_PAUSES, &[name, "to_client"], to_client);
    let to_upstream = sum(shards, |shard| &shard.pauses_to_upstream);
    page.add(&TUNNEL_PAUSES, &[name, "to_upstream"], to_upstream);
    page.spread(&REQUEST_SECONDS, &[name], merge(shards, |shard| &shard.request_seconds));
    page.spread(&HANDSHAKE_SECONDS, &[name], merge(shards, |shard| &shard.handshake_seconds));
    let client = merge(shards, |shard| &shard.client_ping_seconds);
    page.spread(&TUNNEL_PING_SECONDS, &[name, "client"], client);
    let upstream = merge(shards, |shard| &shard.upstream_ping_seconds);
    page.spread(&TUNNEL_PING_SECONDS, &[name, "upstream"], upstream);
    page.spread(&TUNNEL_SECONDS, &[name], merge(shards, |shard| &shard.tunnel_seconds));
}

fn upstream(page: &mut Page, name: &str, shards: &Sharded<UpstreamShard>) {
    page.add(&UPSTREAM_CONNECTS, &[name], sum(shards, |shard| &shard.connects));
    page.add(&UPSTREAM_CONNECT_FAILURES, &[name], sum(shards, |shard| &shard.connect_failures));
    page.add_unless_zero(&UPSTREAM_NO_PORT, &[name], sum(shards, |shard| &shard.no_port));
    let missing = sum(shards, |shard| &shard.source_missing);
    page.add_unless_zero(&UPSTREAM_SOURCE_MISSING, &[name], missing);
    page.add(&UPSTREAM_REUSED, &[name], sum(shards, |shard| &shard.reused));
    page.add_unless_zero(&UPSTREAM_QUEUED, &[name], sum(shards, |shard| &shard.queued));
    let queued = sum(shards, |shard| &shard.upgrades_queued);
    page.add_unless_zero(&UPSTREAM_UPGRADES_QUEUED, &[name], queued);
    page.add_unless_zero(&REBALANCED, &[name], sum(shards, |shard| &shard.rebalanced));
    page.add(&UPSTREAM_RETRIES, &[name], sum(shards, |shard| &shard.retries));
    let refused = sum(shards, |shard| &shard.retries_refused);
    page.add_unless_zero(&UPSTREAM_RETRIES_REFUSED, &[name], refused);
    let opens = sum(shards, |shard| &shard.breaker_opens);
    page.add_unless_zero(&UPSTREAM_BREAKER_OPENS, &[name], opens);
    page.spread(&UPSTREAM_CONNECT_SECONDS, &[name], merge(shards, |shard| &shard.connect_seconds));
    for (at, outcome) in CheckOutcome::ALL.iter().enumerate() {
        let count = sum(shards, |shard| &shard.checks[at]);
        page.add_unless_zero(&HEALTH_CHECKS, &[name, outcome.label()], count);
    }
    page.spread(&HEALTH_CHECK_SECONDS, &[name], merge(shards, |shard| &shard.check_seconds));
}

fn sum<T>(shards: &Sharded<T>, pick: impl Fn(&T) -> &Counter) -> u64 {
    shards.iter().fold(0, |total, shard| total.wrapping_add(pick(shard).value()))
}

fn merge<T>(shards: &Sharded<T>, pick: impl Fn(&T) -> &Histogram) -> Option<Snapshot> {
    total(shards.iter().map(|shard| pick(shard).snapshot()))
}

fn merge_sizes<T>(shards: &Sharded<T>, pick: impl Fn(&T) -> &SizeHistogram) -> Option<Snapshot> {
    total(shards.iter().map(|shard| pick(shard).snapshot()))
}

fn total(snapshots: impl Iterator<Item = Snapshot>) -> Option<Snapshot> {
    snapshots.reduce(|mut total, shard| {
        total.merge(&shard);
        total
    })
}

/// The families of one scrape. Each name is there once, whatever order its series come in; the
/// registry sorts both.
#[derive(Default)]
struct Page {
    families: Vec<proto::MetricFamily>,
}

impl Page {
    fn add(&mut self, family: &Family, values: &[&str], count: u64) {
        // Exact up to 2^53, which is as far as a scraper's own numbers go.
        self.number(family, values, count as f64);
    }

    fn add_unless_zero(&mut self, family: &Family, values: &[&str], count: u64) {
        if count > 0 {
            self.add(family, values, count);
        }
    }

    fn number(&mut self, family: &Family, values: &[&str], number: f64) {
        let mut metric = labelled(family, values);
        if family.kind == proto::MetricType::COUNTER {
            let mut counter = proto::Counter::default();
            counter.set_value(number);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(number);
            metric.set_gauge(gauge);
        }
        self.family(family).push(metric);
    }

    fn spread(&mut self, family: &Family, values: &[&str], read: Option<Snapshot>) {
        let Some(read) = read.filter(|read| read.count() > 0) else { return };
        let buckets = read.cumulative().map(|(bound, count)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(read.count());
        histogram.set_sample_sum(read.sum());
        let mut metric = labelled(family, values);
        metric.set_histogram(histogram);
        self.family(family).push(metric);
    }

    fn family(&mut self, family: &Family) -> &mut Vec<proto::Metric> {
        // Rows of one family come in runs for each route, so a short search backwards finds it.
        let known = self.families.iter().rposition(|known| known.name() == family.name);
        let at = known.unwrap_or_else(|| {
            let mut fresh = proto::MetricFamily::default();
            fresh.set_name(family.name.to_owned());
            fresh.set_help(family.help.to_owned());
            fresh.set_field_type(family.kind);
            self.families.push(fresh);
            self.families.len() - 1
        });
        self.families[at].mut_metric()
    }
}

fn labelled(family: &Family, values: &[&str]) -> proto::Metric {
    debug_assert_eq!(family.labels.len(), values.len(), "{}", family.name);
    let pairs = family.labels.iter().zip(values).map(|(name, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    proto::Metric::from_label(pairs.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{EndpointGauge, Metrics};
    use crate::tunnel::Ended;

    fn line<'a>(text: &'a str, start: &str) -> &'a str {
        let value = text.lines().find_map(|line| line.strip_prefix(start)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {start} in\n{text}"))
    }

    fn busy() -> Arc<Metrics> {
        let metrics = Metrics::new(2);
        for worker in 0..2 {
            let route = metrics.route("chat");
            let shard = route.at(worker);
            shard.count_status(http::StatusCode::OK);
            shard.count_failure(Failure::ConnectRefused);
            shard.count_upgrade(UpgradeOutcome::Accepted);
            shard.request_seconds.observe(Duration::from_millis(3));
            shard.request_seconds.observe(Duration::from_secs(90));
            shard.tunnels_opened.add(2);
            shard.tunnel_ended(&Ended {
                reason: Reason::Closed,
                closer: Closer::Client,
                code: Some(1000),
                messages_to_upstream: 1,
                messages_to_client: 2,
                to_upstream: 10,
                to_client: 20,
                lasted: Duration::from_secs(7),
            });
            metrics.upstream("pool").at(worker).connects.inc();
            metrics.upstream("pool").at(worker).connect_seconds.observe(Duration::from_millis(1));
            metrics.workers().at(worker).accepted.add(5);
            metrics.workers().at(worker).count_failure(Failure::NoRoute);
        }
        metrics.workers().at(0).closed.inc();
        metrics
    }

    #[test]
    fn every_family_is_declared_well_and_only_once() {
        assert_eq!(descs().len(), FAMILIES.len());
        let names: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), FAMILIES.len());
        for family in FAMILIES {
            let counts = family.name.ends_with("_total");
            assert_eq!(counts, family.kind == proto::MetricType::COUNTER, "{}", family.name);
        }
    }

    #[test]
    fn shards_are_summed_over_workers() {
        let text = busy().encode();
        assert_eq!(line(&text, r#"bowline_requests_total{route="chat",class="2xx"}"#), "2");
        assert_eq!(line(&text, r#"bowline_requests_total{route="chat",class="5xx"}"#), "0");
        assert_eq!(
            line(&text, r#"bowline_failures_total{route="chat",cause="connect_refused"}"#),
            "2"
        );
        assert_eq!(line(&text, r#"bowline_failures_total{route="",cause="no_route"}"#), "2");
        assert_eq!(line(&text, r#"bowline_upgrades_total{route="chat",outcome="accepted"}"#), "2");
        assert_eq!(line(&text, r#"bowline_upstream_connects_total{upstream="pool"}"#), "2");
        assert_eq!(
            line(&text, r#"bowline_tunnel_bytes_total{route="chat",direction="to_client"}"#),
            "40"
        );
        assert_eq!(
            line(
                &text,
                r#"bowline_tunnels_ended_total{route="chat",reason="closed",closer="client"}"#
            ),
            "2"
        );
        assert_eq!(line(&text, "bowline_accepted_total"), "10");
    }

    #[test]
    fn live_numbers_are_beginnings_less_ends() {
        let text = busy().encode();
        assert_eq!(line(&text, r#"bowline_tunnels{route="chat"}"#), "2");
        assert_eq!(line(&text, "bowline_connections"), "9");
    }

    #[test]
    fn a_gauge_of_live_things_never_falls_below_zero() {
        let metrics = Metrics::new(1);
        metrics.workers().at(0).closed.inc();
        assert_eq!(line(&metrics.encode(), "bowline_connections"), "0");
    }

    #[test]
    fn each_family_has_help_and_type_once_and_its_series_together() {
        let text = busy().encode();
        let mut seen = BTreeMap::<&str, (usize, usize)>::new();
        let mut current = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(!help.is_empty());
                seen.entry(name).or_default().0 += 1;
                current = name;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, _) = rest.split_once(' ').unwrap();
                assert_eq!(name, current);
                seen.entry(name).or_default().1 += 1;
            } else {
                let name = line.split(['{', ' ']).next().unwrap();
                let suffix = name.strip_prefix(current).unwrap_or("?");
                assert!(matches!(suffix, "" | "_bucket" | "_sum" | "_count"), "{line}");
            }
        }
        assert!(seen.values().all(|counts| *counts == (1, 1)), "{seen:?}");
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn no_series_is_there_twice() {
        let metrics = busy();
        metrics.endpoints(Box::new(|| {
            let row = EndpointGauge {
                upstream: "pool".into(),
                endpoint: "10.0.0.1:1".into(),
                tunnels: 2,
                requests: 1,
                up: true,
                ejections: 3,
                handshake: Some(Duration::from_millis(5)),
            };
            vec![row.clone(), row]
        }));
        let text = metrics.encode();
        let mut seen = BTreeSet::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(seen.insert(line.rsplit_once(' ').unwrap().0), "{line}");
        }
        let row = r#"bowline_endpoint_tunnels{upstream="pool",endpoint="10.0.0.1:1"}"#;
        assert_eq!(line(&text, row), "4");
    }

    #[test]
    fn buckets_are_cumulative_and_infinity_is_the_count() {
        let text = busy().encode();
        let start = r#"bowline_request_seconds_bucket{route="chat",le=""#;
        let buckets: Vec<(&str, u64)> = text
            .lines()
            .filter_map(|line| line.strip_prefix(start)?.split_once("\"} "))
            .map(|(bound, count)| (bound, count.parse().unwrap()))
            .collect();
        assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{buckets:?}");
        assert!(buckets.contains(&("0.0025", 0)), "{buckets:?}");
        assert!(buckets.contains(&("0.005", 2)), "{buckets:?}");
        assert!(buckets.contains(&("60", 2)), "{buckets:?}");
        assert_eq!(buckets.last(), Some(&("+Inf", 4)));
        assert_eq!(line(&text, r#"bowline_request_seconds_count{route="chat"}"#), "4");
        assert_eq!(line(&text, r#"bowline_request_seconds_sum{route="chat"}"#), "180.006");
    }

    #[test]
    fn label_values_are_escaped() {
        let metrics = Metrics::new(1);
        metrics.route("a\"b\\c\nd");
        let text = metrics.encode();
        assert_eq!(line(&text, r#"bowline_tunnels{route="a\"b\\c\nd"}"#), "0");
    }

    #[test]
    fn names_whose_joined_labels_match_stay_apart() {
        let metrics = Metrics::new(1);
        let row = |upstream: &str, endpoint: &str, tunnels| EndpointGauge {
            upstream: upstream.into(),
            endpoint: endpoint.into(),
            tunnels,
            requests: 0,
            up: false,
            ejections: 0,
            handshake: None,
        };
        let rows = vec![row("ab", "c", 1), row("a", "bc", 2)];
        metrics.endpoints(Box::new(move || rows.clone()));
        let text = metrics.encode();
        assert_eq!(line(&text, r#"bowline_endpoint_tunnels{upstream="ab",endpoint="c"}"#), "1");
        assert_eq!(line(&text, r#"bowline_endpoint_tunnels{upstream="a",endpoint="bc"}"#), "2");
    }

    #[test]
    fn the_same_name_keeps_its_counters_across_plans() {
        let metrics = Metrics::new(1);
        metrics.route("chat").at(0).tunnels_opened.inc();
        metrics.route("chat").at(0).tunnels_opened.inc();
        assert!(Arc::ptr_eq(&metrics.route("chat"), &metrics.route("chat")));
        let text = metrics.encode();
        assert_eq!(line(&text, r#"bowline_tunnels_opened_total{route="chat"}"#), "2");
    }

    #[test]
    fn series_that_never_moved_are_left_out() {
        let metrics = Metrics::new(1);
        metrics.route("quiet");
        let text = metrics.encode();
        for absent in
            ["bowline_failures_total", "bowline_tunnels_ended", "_bucket", "descriptor_limit"]
        {
            assert!(!text.contains(absent), "{absent} in\n{text}");
        }
    }

    #[test]
    fn scrapes_go_on_while_plans_change_and_workers_count() {
        let metrics = Metrics::new(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..200 {
                    metrics.route(&format!("route {}", at % 20)).at(0).tunnels_opened.inc();
                }
            });
            let mut before = 0;
            for _ in 0..50 {
                let text = metrics.encode();
                let rows = text.matches("bowline_tunnels_opened_total{").count();
                assert!(rows >= before, "a series vanished");
                before = rows;
            }
        });
    }
}
