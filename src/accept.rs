//! Stage 1: a socket becomes an admitted, decrypted stream. Listeners, worker threads, TLS.

mod admission;
mod backoff;
mod bind;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod proxy_protocol;
pub mod tls;
mod worker_thread;

pub use self::bind::{BindError, Bound};
pub use self::worker_thread::{Fleet, TlsAcceptorHandle, WorkerListener};
