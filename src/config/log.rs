//! What is logged, and how.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Switch;

/// What is logged to standard error, and how.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of log settings")]
pub struct Log {
    /// The least important lines that are written. Default: `info`.
    pub level: Option<Level>,
    /// How a line is written. Default: `text`.
    pub format: Option<Format>,
    /// Whether every request, and every tunnel's opening and end, gets a line. Default: `true`.
    pub access: Option<Switch>,
}

/// How important a line must be to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Only what needs somebody's attention.
    Error,
    /// Also what may need it.
    Warn,
    /// Also what happens in the normal course: starts, reloads, requests.
    #[default]
    Info,
    /// Also why Bowline decided as it did.
    Debug,
    /// Everything; slow.
    Trace,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Level {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
