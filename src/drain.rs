//! The last part of a process's life: stop accepting, finish requests, end tunnels by a deadline.
//! A phase is broadcast to every worker and connection; who has nothing left says so by ending.

use tokio::sync::watch;

/// Where the life of the process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Accepting.
    #[default]
    Serving,
    /// No new connection, no new upgrade; what runs may finish.
    Draining,
    /// The deadline: what is left is cut.
    Cutting,
}

/// Resolves once the phase has left [`Phase::Serving`]; also when nobody can change it any more.
pub async fn begun(phase: &mut watch::Receiver<Phase>) {
    // An error means that the sender is gone: the process is ending.
    drop(phase.wait_for(|phase| *phase != Phase::Serving).await);
}

/// Resolves at the deadline.
pub async fn over(phase: &mut watch::Receiver<Phase>) {
    drop(phase.wait_for(|phase| *phase == Phase::Cutting).await);
}
