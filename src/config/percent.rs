//! Shares as they are written: `50%`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::wording::quoted;

/// A share in whole percent, from 0 to 100.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(pub u8);

const SUCH_AS: &str = "from `0%` to `100%`, such as `50%`";

impl Percent {
    fn from_text(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').unwrap_or_default();
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let share = number.parse().ok().filter(|share| digits && *share <= 100);
        share
            .map(Self)
            .ok_or_else(|| format!("{} is not a share; write one {SUCH_AS}", quoted(text)))
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Percent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a share {SUCH_AS}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Percent, E> {
                Percent::from_text(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share in whole percent: `0%` to `100%`.",
            "type": "string",
            "pattern": r"^(100|[0-9]{1,2})%$|\$\{",
            "examples": ["50%"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_whole_number_with_its_sign() {
        for (text, share) in [("0%", 0), ("50%", 50), ("100%", 100)] {
            assert_eq!(Percent::from_text(text), Ok(Percent(share)));
        }
        for text in ["", "%", "50", "101%", "-1%", "+1%", "0.5%", "50 %", "300%"] {
            assert!(Percent::from_text(text).unwrap_err().contains("`50%`"), "{text}");
        }
    }
}
