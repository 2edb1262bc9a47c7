//! The phases of a process's life, and above all its last part: stop accepting, finish requests, end
//! tunnels by a deadline. A phase is broadcast to every worker and connection; who has nothing left says
//! so by ending.

use tokio::sync::watch;

/// Where the life of the process stands; a later one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Bound, and not accepting yet.
    #[default]
    Starting,
    /// Accepting.
    Serving,
    /// As before, except that whoever asks hears that there is no more to be expected.
    Leaving,
    /// No new connection, no new upgrade; what runs may finish.
    Draining,
    /// The deadline: what is left is cut.
    Cutting,
}

/// Resolves once the drain has begun; also when nobody can change the phase any more.
pub async fn begun(phase: &mut watch::Receiver<Phase>) {
    // An error means that the sender is gone: the process is ending.
    drop(phase.wait_for(|phase| *phase >= Phase::Draining).await);
}

/// Resolves at the deadline.
pub async fn over(phase: &mut watch::Receiver<Phase>) {
    drop(phase.wait_for(|phase| *phase == Phase::Cutting).await);
}
