//! So many in a time, written as `100/s`, `600/min` or `10/h`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::wording::quoted;

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frequency {
    /// How many.
    pub amount: u32,
    /// In which time; above zero.
    pub per: Duration,
}

const FORM: &str = "such as `100/s`, `600/min` or `10/h`";

const UNITS: [(&str, Duration); 3] = [
    ("s", Duration::from_secs(1)),
    ("min", Duration::from_secs(60)),
    ("h", Duration::from_secs(3600)),
];

/// What stands before the slash, and the time that is named behind it.
pub(super) fn in_a_time(text: &str) -> Option<(&str, Duration)> {
    let (amount, unit) = text.split_once('/')?;
    let (_, per) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some((amount, *per))
}

/// The name of a time.
pub(super) fn unit(per: Duration) -> &'static str {
    UNITS.iter().find(|(_, known)| *known == per).map_or("", |(name, _)| name)
}

impl Frequency {
    fn from_text(text: &str) -> Result<Self, String> {
        let read = || {
            let (amount, per) = in_a_time(text)?;
            let digits = !amount.is_empty() && amount.bytes().all(|byte| byte.is_ascii_digit());
            Some(Self { amount: amount.parse().ok().filter(|_| digits)?, per })
        };
        read().ok_or_else(|| format!("{} is not a rate; write one {FORM}", quoted(text)))
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.amount, unit(self.per))
    }
}

impl<'de> Deserialize<'de> for Frequency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Frequency;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a rate {FORM}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Frequency, E> {
                Frequency::from_text(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Frequency {
    fn schema_name() -> Cow<'static, str> {
        "Frequency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number in a time: `100/s`, `600/min`, `10/h`.",
            "type": "string",
            "pattern": r"^[0-9]+/(s|min|h)$|\$\{",
            "examples": ["100/s", "600/min"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_in_a_time() {
        for (text, amount, seconds) in [("100/s", 100, 1), ("600/min", 600, 60), ("0/h", 0, 3600)] {
            let rate = Frequency { amount, per: Duration::from_secs(seconds) };
            assert_eq!(Frequency::from_text(text), Ok(rate));
            assert_eq!(rate.to_string(), text);
        }
        for text in ["", "5", "/s", "1%/s", "1/m", "1.5/s", "+1/s", "1 /s", "4294967296/s"] {
            assert!(Frequency::from_text(text).unwrap_err().contains("`600/min`"), "{text}");
        }
    }
}
