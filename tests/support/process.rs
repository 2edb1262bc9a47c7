//! The built binary as a process of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{Wire, wait_for};

/// The built binary with a configuration of its own.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    /// Its configuration.
    pub file: PathBuf,
    log: PathBuf,
    access: PathBuf,
}

impl Process {
    /// `descriptors` is its limit of open files, which it cannot raise.
    pub fn start(name: &str, yaml: &str, descriptors: Option<u32>) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.yaml"));
        fs::write(&file, yaml).unwrap();
        Self::start_with(name, &file, descriptors)
    }

    /// With the configuration in `file`.
    pub fn start_with(name: &str, file: &Path, descriptors: Option<u32>) -> Self {
        let limit = descriptors.map_or(String::new(), |most| format!("ulimit -n {most} && "));
        Self::start_in(name, file, &limit, Stdio::null())
    }

    /// As the last command of a shell, behind `commands`.
    pub fn start_in(name: &str, file: &Path, commands: &str, stdin: Stdio) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process");
        fs::create_dir_all(&folder).unwrap();
        let named = |end: &str| folder.join(format!("{name}.{end}"));
        let (log, access) = (named("log"), named("access.log"));
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("{commands}exec \"$0\" run --config \"$1\""))
            .arg(env!("CARGO_BIN_EXE_bowline"))
            .arg(file)
            .stdin(stdin)
            .stdout(File::create(&access).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut process =
            Self { child, address: super::nobody(), file: file.to_owned(), log, access };
        let mut address = None;
        wait_for("the binary to listen", || {
            assert!(process.child.try_wait().unwrap().is_none(), "{}", process.logged());
            let logged = process.logged();
            let told = logged.split("listening address=").nth(1);
            address = told.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            address.is_some()
        });
        process.address = address.unwrap();
        process
    }

    pub fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Its admin listener.
    pub fn admin(&self) -> SocketAddr {
        let mut address = None;
        // Told right behind the listeners.
        wait_for("the admin listener", || {
            let logged = self.logged();
            let told =
                logged.split_once("/readyz address=").and_then(|(_, rest)| rest.split_once('\n'));
            address = told.and_then(|(line, _)| line.split_whitespace().next()?.parse().ok());
            address.is_some()
        });
        address.unwrap()
    }

    /// The value of a metric's series, 0 when there is none.
    pub fn metric(&self, series: &str) -> f64 {
        let mut admin = Wire::connect(self.admin());
        admin.send(format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", self.admin()));
        let page = String::from_utf8(admin.answer().body).unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The access log.
    pub fn accessed(&self) -> String {
        fs::read_to_string(&self.access).unwrap()
    }

    pub fn client(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Waits for its end.
    pub fn end(&mut self) -> std::process::ExitStatus {
        let mut status = None;
        wait_for("the end of the process", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// User and system time since its start.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // After the name in brackets; fields 14 and 15 of proc(5), in ticks of 10 ms.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// CPU time used while a moment passes.
    pub fn cpu_over(&self, moment: Duration) -> Duration {
        let before = self.cpu();
        thread::sleep(moment);
        self.cpu() - before
    }

    /// A line of proc_pid_status(5) in KiB: `VmRSS` is its memory now, `VmHWM` the most it had.
    pub fn memory(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let rest = status.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(':'));
        rest.expect("a line of that name").split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Lets `VmHWM` begin anew.
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    pub fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
