//! What the kernel says about this process, read from /proc at scrape. Where there is no /proc, or a
//! line of it is not as expected, a number is missing rather than wrong.

use std::fs;

/// Ticks a second in /proc: USER_HZ, 100 on every Linux that Rust's tier 1 and 2 targets run.
const TICKS: f64 = 100.0;

/// The numbers that could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// User and system CPU time since the start.
    pub(super) cpu_seconds: Option<f64>,
    /// Resident memory.
    pub(super) resident_bytes: Option<u64>,
    /// Descriptors in use.
    pub(super) open_descriptors: Option<u64>,
    /// Unix time of the start.
    pub(super) start_seconds: Option<f64>,
}

impl Process {
    /// Reads everything now.
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self {
            cpu_seconds: cpu_ticks(&stat).map(|ticks| ticks as f64 / TICKS),
            resident_bytes: resident_bytes(&status),
            open_descriptors: open_descriptors(),
            start_seconds: boot_time(&machine)
                .zip(field(&stat, 22))
                .map(|(boot, ticks)| boot as f64 + ticks as f64 / TICKS),
        }
    }
}

/// Field of /proc/self/stat by its number in proc(5). Counting starts after the last `)`, because the
/// second field is the program's name and may hold spaces and brackets.
fn field(stat: &str, number: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    Some(field(stat, 14)?.saturating_add(field(stat, 15)?))
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn boot_time(machine: &str) -> Option<u64> {
    machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Since Linux 6.2 the folder's size is the count. Listing it, as before, costs a microsecond for
/// every few sockets, and takes one descriptor itself.
fn open_descriptors() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).ok()?.len() {
        0 => Some((fs::read_dir(FOLDER).ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 12345 1000 20";

    #[test]
    fn a_program_name_with_brackets_does_not_shift_the_fields() {
        assert_eq!(cpu_ticks(STAT), Some(300));
        assert_eq!(field(STAT, 22), Some(12_345));
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2_097_152));
    }

    #[test]
    fn what_cannot_be_read_is_missing() {
        assert_eq!(cpu_ticks(""), None);
        assert_eq!(field("1 (x) S", 22), None);
        assert_eq!(resident_bytes("VmRSS: many kB"), None);
        assert_eq!(boot_time("cpu 1 2 3"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_can_be_read() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.open_descriptors.unwrap() >= 3);
        assert!(process.start_seconds.unwrap() > 1e9);
        assert!(process.cpu_seconds.is_some());
    }
}
