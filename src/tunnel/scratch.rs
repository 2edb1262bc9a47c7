//! The one copy buffer of a worker. Every tunnel of the thread reads into it and writes out of it
//! within one poll; nothing may stay in it across an await.

use std::cell::RefCell;

/// One read takes at most this much: a 64 KiB message with its header in one call.
const SIZE: usize = 128 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into_boxed_slice());
}

/// Lends the buffer for the length of `work`.
pub(super) fn with<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with(|scratch| work(&mut scratch.borrow_mut()))
}
