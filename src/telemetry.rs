//! What Bowline tells about itself: counters and histograms kept as one shard per worker and summed at
//! scrape, the diagnostic log, and the access log. Nothing here decides anything; a stage calls in,
//! nothing calls out.

pub mod access;
mod counter;
mod exposition;
mod finding;
mod health;
mod http2;
pub mod logs;
mod metrics;
mod process;
mod reloads;
mod route;
mod shard;
mod tls;
mod upstream;
mod worker;

pub use counter::{Bounds, Counter, Histogram, LATENCY, LIFETIME, SizeHistogram};
pub use finding::{Failing, Finding};
pub use health::{CheckOutcome, Flag};
pub use http2::Http2Fault;
pub use metrics::{EndpointGauge, EndpointSource, Metrics, SizeSource};
pub use reloads::{InUse, Reloads};
pub use route::{RouteShard, UpgradeOutcome};
pub use shard::Sharded;
pub use tls::{TlsFailure, TlsFile, TlsFiles, TlsHandshake};
pub use upstream::UpstreamShard;
pub use worker::WorkerShard;
