//! Moving long-lived sockets to where there is room: how far, and how fast. Ratios are written as
//! `1.25`, rates as `1%/min` or `10/s`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::wording::quoted;

/// Moving WebSockets to endpoints that appear or come back: some of the fullest endpoint's are closed
/// with 1012, the youngest first, and their clients, reconnecting, are given the emptiest one. Only
/// where `balance` is `least_connections` and nothing is `sticky`: else who comes back would not meet
/// the endpoint that has room, and would have been closed for nothing. A WebSocket whose frames are
/// `opaque` is closed without a word, as by `max_age`.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of rebalance settings")]
pub struct Rebalance {
    /// How far the fullest endpoint may be above the mean, each by its weight and as far as its
    /// `slow_start` has come; backups and endpoints that are out do not count. Default: `1.25`.
    pub max_skew: Option<Ratio>,
    /// How fast, at most: a share of the upstream's WebSockets, as `1%/min`, or a number of them, as
    /// `10/s` or `600/min`. Default: `1%/min`.
    pub rate: Option<ShedRate>,
}

/// A ratio of at least 1, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio(pub u32);

/// So many, or so large a share, in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShedRate {
    /// Sockets, or percent of them.
    pub amount: u32,
    /// It is percent.
    pub is_share: bool,
    /// In which time; above zero.
    pub per: Duration,
}

/// Ratios above this have no meaning.
const GREATEST: u32 = 100_000;

const RATIO: &str = "from `1` to `100`, such as `1.25`";
const RATE: &str = "such as `1%/min`, `10/s` or `600/min`";

const UNITS: [(&str, u64); 3] = [("s", 1), ("min", 60), ("h", 3600)];

impl Ratio {
    fn from_text(text: &str) -> Result<Self, String> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let read = || {
            let places = u32::try_from(part.len()).ok().filter(|places| *places <= 3)?;
            let part = part.parse::<u32>().ok()?.checked_mul(10_u32.pow(3 - places))?;
            whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(part)
        };
        let ratio = (digits(whole) && digits(part)).then(read).flatten();
        ratio
            .filter(|ratio| (1000..=GREATEST).contains(ratio))
            .map(Self)
            .ok_or_else(|| format!("{} is not a ratio; write one {RATIO}", quoted(text)))
    }
}

impl ShedRate {
    fn from_text(text: &str) -> Result<Self, String> {
        let read = || {
            let (amount, unit) = text.split_once('/')?;
            let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
            let (number, is_share) = match amount.strip_suffix('%') {
                Some(number) => (number, true),
                None => (amount, false),
            };
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let amount: u32 = number.parse().ok().filter(|_| digits)?;
            let fits = !is_share || amount <= 100;
            fits.then_some(Self { amount, is_share, per: Duration::from_secs(*seconds) })
        };
        read().ok_or_else(|| format!("{} is not a rate; write one {RATE}", quoted(text)))
    }
}

impl fmt::Display for ShedRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, seconds)| *seconds == self.per.as_secs());
        let sign = if self.is_share { "%" } else { "" };
        write!(f, "{}{sign}/{}", self.amount, unit.map_or("", |(name, _)| name))
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Ratio;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a ratio {RATIO}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Ratio, E> {
                Ratio::from_text(text).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Ratio, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Ratio, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for ShedRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = ShedRate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a rate {RATE}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ShedRate, E> {
                ShedRate::from_text(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Ratio {
    fn schema_name() -> Cow<'static, str> {
        "Ratio".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number from 1 to 100 with at most three places: `1.25`.",
            "anyOf": [
                { "type": "number", "minimum": 1, "maximum": 100 },
                { "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,3})?$|\$\{" },
            ],
            "examples": [1.25],
        })
    }
}

impl JsonSchema for ShedRate {
    fn schema_name() -> Cow<'static, str> {
        "ShedRate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share or a number in a time: `1%/min`, `10/s`, `600/min`, `5%/h`.",
            "type": "string",
            "pattern": r"^[0-9]+%?/(s|min|h)$|\$\{",
            "examples": ["1%/min", "10/s"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_has_three_places_and_is_at_least_one() {
        for (text, ratio) in [("1", 1000), ("1.25", 1250), ("1.005", 1005), ("100", 100_000)] {
            assert_eq!(Ratio::from_text(text), Ok(Ratio(ratio)));
        }
        for text in ["", ".", "1.", ".5", "0.9", "100.1", "1.2345", "-1", "1,25", "1e1", "NaN"] {
            assert!(Ratio::from_text(text).unwrap_err().contains("`1.25`"), "{text}");
        }
    }

    #[test]
    fn a_rate_is_a_share_or_a_number_in_a_time() {
        let rate = |amount, is_share, seconds| ShedRate {
            amount,
            is_share,
            per: Duration::from_secs(seconds),
        };
        for (text, expected) in [
            ("1%/min", rate(1, true, 60)),
            ("100%/s", rate(100, true, 1)),
            ("600/min", rate(600, false, 60)),
            ("10/s", rate(10, false, 1)),
            ("5%/h", rate(5, true, 3600)),
        ] {
            assert_eq!(ShedRate::from_text(text), Ok(expected));
            assert_eq!(expected.to_string(), text);
        }
        for text in
            ["", "1%", "/s", "%/s", "101%/s", "1/m", "1.5/s", "+1/s", "1 /s", "4294967296/s"]
        {
            assert!(ShedRate::from_text(text).unwrap_err().contains("`1%/min`"), "{text}");
        }
    }
}
