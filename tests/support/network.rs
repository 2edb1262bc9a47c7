//! Network namespaces of a test's own, which have no name and end with it. It takes root to make one.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace that lives as long as this, or a socket in it.
pub struct Network(File);

impl Network {
    /// With a loopback of its own.
    pub fn new() -> Self {
        // It ends with its input, however this process does.
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let there = holder.stdout.take().unwrap().read_exact(&mut [0]);
        let network = there.and_then(|()| File::open(format!("/proc/{}/ns/net", holder.id())));
        drop(holder.stdin.take());
        holder.wait().unwrap();
        let network = Self(network.expect("a network namespace; it takes root to make one"));
        network.ip("link set lo up");
        network
    }

    /// Does something in it, and what is opened or started there stays there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        // A thread of its own: this one stays where it is.
        let inside = || {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    pub fn ip(&self, order: &str) {
        let done = self.within(|| Command::new("ip").args(order.split(' ')).status().unwrap());
        assert!(done.success(), "ip {order}");
    }

    /// What it is called in /proc/self/fd.
    pub fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
