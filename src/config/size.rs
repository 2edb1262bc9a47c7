//! Sizes as they are written: `64KiB`, `1MiB`, `10MB`, or plain bytes.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::wording::quoted;

/// A number of bytes: `64KiB`, `1MiB`, `1GiB` (powers of 1024), `10MB` (powers of 1000), `512`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

const SUCH_AS: &str = "such as `64KiB`, `1MiB`, `1GiB`, `10MB` or `512` for bytes";

impl Size {
    fn from_text(text: &str) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let unit = if unit.is_empty() { "B" } else { unit };
        let scale = UNITS.iter().find(|(name, _)| *name == unit);
        let (Some((_, scale)), false) = (scale, number.is_empty()) else {
            return Err(format!("{} is not a size; write one {SUCH_AS}", quoted(text)));
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*scale))
            .map(Self)
            .ok_or_else(|| format!("the size {} is too large; write one {SUCH_AS}", quoted(text)))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, scale): &&(&str, u64)| *scale > 1 && self.0.is_multiple_of(*scale);
        match UNITS.iter().find(whole) {
            Some((unit, scale)) if self.0 > 0 => write!(f, "{}{unit}", self.0 / scale),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a size {SUCH_AS}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                Size::from_text(text).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Size, E> {
                Ok(Size(number))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes: `64KiB`, `1MiB`, `1GiB` (powers of 1024), `10KB`, `10MB`, `10GB` (powers of 1000), or a plain number.",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": r"^[0-9]+([KMG]iB|[kKMG]?B)?$|\$\{" },
            ],
            "examples": ["64KiB", "1MiB", "10MB", 512],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        let pairs = [
            ("512", 512),
            ("512B", 512),
            ("64KiB", 65_536),
            ("1MiB", 1_048_576),
            ("1GiB", 1 << 30),
            ("10kB", 10_000),
            ("10MB", 10_000_000),
            ("2GB", 2_000_000_000),
            ("0", 0),
        ];
        for (text, bytes) in pairs {
            assert_eq!(Size::from_text(text), Ok(Size(bytes)));
        }
        assert_eq!(Size(65_536).to_string(), "64KiB");
        assert_eq!(Size(10_000_000).to_string(), "10MB");
        assert_eq!(Size(513).to_string(), "513");
        assert_eq!(Size(0).to_string(), "0");
    }

    #[test]
    fn a_wrong_size_is_answered_with_a_right_one() {
        for text in ["", "KiB", "64k", "64kib", "1.5MiB", "-1", "99999999999GiB", "1 MiB"] {
            assert!(Size::from_text(text).unwrap_err().contains("`64KiB`"), "{text}");
        }
    }
}
