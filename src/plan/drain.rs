//! How a process ends.

use std::time::Duration;

use crate::config::{self, At, Mistakes, OnRemoved};

/// The end of a process, from SIGTERM to the last cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Everything goes on for so long, while nobody is told to send more.
    pub delay: Duration,
    /// What is left after that and so long is cut.
    pub timeout: Duration,
    /// Closes of WebSockets are spread over this.
    pub spread: Duration,
    /// The code in them.
    pub code: u16,
    /// WebSockets live on whose route or endpoint a reload has removed.
    pub keep_removed: bool,
}

impl Drain {
    pub(super) fn build(written: &config::Drain, at: &At, mistakes: &mut Mistakes) -> Self {
        let timeout = written.timeout.map_or(Duration::from_secs(30), |time| time.0);
        // The last that are told need some time to answer.
        let room = timeout.mul_f64(2.0 / 3.0);
        let spread = written.spread.map_or(Duration::from_secs(20).min(room), |time| time.0);
        if spread > timeout {
            mistakes.add(
                &at.key("spread"),
                "the closes take longer than the drain: give a `spread` of at most `timeout`",
            );
        }
        let code = match written.code {
            None => 1012,
            Some(code) => match u16::try_from(code.0) {
                Ok(code @ (1000 | 1001 | 1012 | 1013 | 3000..=4999)) => code,
                _ => {
                    mistakes.add(
                        &at.key("code"),
                        format!(
                            "{} is no code for an end: write 1012, 1001, 1000, 1013 or one from 3000 to 4999",
                            code.0
                        ),
                    );
                    1012
                }
            },
        };
        let keep_removed = written.on_removed == Some(OnRemoved::Keep);
        let delay = written.delay.map_or(Duration::ZERO, |time| time.0);
        Self { delay, timeout, spread, code, keep_removed }
    }
}
