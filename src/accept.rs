//! Stage 1: a socket becomes an admitted, decrypted stream. Listeners, worker threads, TLS.

mod admission;
mod backoff;
mod bind;
mod client_streams;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handshakes;
mod live_listener;
mod orders;
mod passed_sockets;
mod preface;
mod proxy_protocol;
pub mod tls;
mod worker_thread;

pub use self::bind::{BindError, Bound};
pub use self::live_listener::{LiveListener, Settings};
pub use self::orders::{Order, Orders};
pub use self::passed_sockets::PassedSockets;
pub use self::worker_thread::{Fleet, RollCall, WorkerListener};
