//! Sets of HTTP statuses as they are written: `200`, `200-299`, `[200, 301-308]`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::wording::quoted;

/// Statuses as ranges, both ends included, each from 100 to 599. Empty when nothing is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statuses(pub Vec<(u16, u16)>);

const SUCH_AS: &str = "such as `200`, `200-299` or `[200, 301-308]`";

/// One status or range of them.
struct Range((u16, u16));

impl Range {
    fn from_text(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|status| digits && (100..=599).contains(status))
        };
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self((first, last))),
            _ => Err(format!(
                "{} is no status from 100 to 599 and no range of them; write one {SUCH_AS}",
                quoted(text)
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Range;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status such as `200` or a range such as `200-299`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Range, E> {
                Range::from_text(text).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Range, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        // By hand: `#[serde(untagged)]` would lose the position of a mistake within the list.
        impl<'de> Visitor<'de> for Reader {
            type Value = Statuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "statuses {SUCH_AS}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Statuses, E> {
                let range = Range::from_text(text).map_err(E::custom)?;
                Ok(Statuses(vec![range.0]))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Statuses, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Statuses, A::Error> {
                let mut ranges = Vec::new();
                while let Some(Range(range)) = seq.next_element()? {
                    ranges.push(range);
                }
                Ok(Statuses(ranges))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Statuses {
    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 100, "maximum": 599 },
                { "type": "string", "pattern": r"^[1-5][0-9]{2}(-[1-5][0-9]{2})?$|\$\{" },
            ],
        });
        json_schema!({
            "description": "HTTP statuses: `200`, `200-299` or a list of these.",
            "anyOf": [one, { "type": "array", "items": one }],
            "examples": ["200-299", [200, "301-308"]],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_or_a_range_is_read_and_the_rest_refused_with_a_right_one() {
        for (text, range) in [("200", (200, 200)), ("200-299", (200, 299)), ("599", (599, 599))] {
            assert_eq!(Range::from_text(text).map(|range| range.0), Ok(range));
        }
        for text in ["", "-", "99", "600", "2xx", "299-200", "200-", "+20", "200 - 299"] {
            let Err(said) = Range::from_text(text) else { panic!("{text} was read") };
            assert!(said.contains("`200-299`"), "{said}");
        }
    }
}
