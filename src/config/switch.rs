//! Counts and switches. Both are also read from strings, since that is what `${VAR}` gives.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::wording::quoted;

/// How many: a whole number from 0 to 4294967295.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(pub u32);

/// `true` or `false`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Switch(pub bool);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number such as `64`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Count, E> {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                match text.parse() {
                    Ok(number) if digits => Ok(Count(number)),
                    _ if digits => Err(E::custom(format_args!(
                        "the number {} is too large; write at most `{}`",
                        quoted(text),
                        u32::MAX
                    ))),
                    _ => Err(E::custom(format_args!(
                        "{} is not a whole number; write one such as `64`",
                        quoted(text)
                    ))),
                }
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Count, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Switch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true` or `false`")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Switch, E> {
                Ok(Switch(on))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Switch, E> {
                text.parse().map(Switch).map_err(|_| {
                    E::custom(format_args!(
                        "{} is neither on nor off; write `true` or `false`",
                        quoted(text)
                    ))
                })
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Count {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A whole number.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": u32::MAX },
                { "type": "string", "pattern": r"^[0-9]+$|\$\{" },
            ],
        })
    }
}

impl JsonSchema for Switch {
    fn schema_name() -> Cow<'static, str> {
        "Switch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`true` or `false`.",
            "anyOf": [
                { "type": "boolean" },
                { "type": "string", "pattern": r"^(true|false)$|\$\{" },
            ],
        })
    }
}
