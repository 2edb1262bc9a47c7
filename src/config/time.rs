//! Times as they are written: `500ms`, `30s`, `5m`, `2h`, `1d`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::wording::quoted;

/// A span of time, at most a year: `500ms`, `30s`, `5m`, `2h`, `1d`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Duration);

/// A span of time that can be without end, written `off`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Limit {
    /// No limit.
    #[default]
    Off,
    /// This long.
    After(Duration),
}

/// The units, the longest first, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Longer spans are slips of the pen, and sums with them could leave the range of the clock.
const LONGEST: u64 = 365 * 86_400_000;

const SUCH_AS: &str = "such as `500ms`, `30s`, `5m`, `2h` or `1d`";

impl Time {
    fn from_text(text: &str) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(format!(
                "{} is not a time; write a whole number and a unit, {SUCH_AS}",
                quoted(text)
            ));
        }
        if unit.is_empty() {
            let number = quoted(number);
            let number = number.trim_matches('`');
            return Err(format!(
                "the time `{number}` has no unit; write `{number}s` for seconds or `{number}ms` for milliseconds"
            ));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!(
                "{} is not a time; write a whole number and a unit, {SUCH_AS}",
                quoted(text)
            ));
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*scale))
            .filter(|millis| *millis <= LONGEST)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| format!("the time {} is too long; write at most `365d`", quoted(text)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        UNITS
            .iter()
            .find(|(_, scale)| millis.is_multiple_of(u128::from(*scale)))
            .map_or(Ok(()), |(unit, scale)| write!(f, "{}{unit}", millis / u128::from(*scale)))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::After(time) => Time(*time).fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a time {SUCH_AS}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                Time::from_text(text).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Time, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`off` or a time {SUCH_AS}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Limit, E> {
                if text == "off" {
                    return Ok(Limit::Off);
                }
                Time::from_text(text)
                    .map(|time| Limit::After(time.0))
                    .map_err(|what| E::custom(format_args!("{what}, or `off` for no limit")))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Limit, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A whole number and a unit: `500ms`, `30s`, `5m`, `2h`, `1d`. At most `365d`.",
            "type": "string",
            "pattern": r"^[0-9]+(ms|s|m|h|d)$|\$\{",
            "examples": ["500ms", "30s", "5m", "2h", "1d"],
        })
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A time, or `off` for no limit.",
            "type": "string",
            "pattern": r"^(off|[0-9]+(ms|s|m|h|d))$|\$\{",
            "examples": ["off", "5m"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_written_back() {
        for text in ["500ms", "30s", "5m", "2h", "1d", "365d", "0s"] {
            assert_eq!(Time::from_text(text).unwrap().to_string(), text);
        }
        assert_eq!(Time::from_text("90m").unwrap().0, Duration::from_secs(5400));
    }

    #[test]
    fn a_wrong_time_is_answered_with_a_right_one() {
        for text in ["", "s", "-1s", "1.5s", "1 s", "1S", "1w", "٣s", "1sé"] {
            assert!(Time::from_text(text).unwrap_err().contains("`30s`"), "{text}");
        }
        assert!(Time::from_text("30").unwrap_err().contains("write `30s` for seconds"));
        for text in ["366d", "99999999999999999999s", "18446744073709551615d"] {
            assert!(Time::from_text(text).unwrap_err().contains("at most `365d`"), "{text}");
        }
    }
}
