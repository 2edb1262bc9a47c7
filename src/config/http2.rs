//! Whether a listener speaks HTTP/2, and how a client begins it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::wording::quoted;

/// HTTP/2 on a listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Http2 {
    /// Not at all.
    #[default]
    Off,
    /// Offered in the TLS handshake (ALPN).
    On,
    /// Without TLS, from the first byte on (RFC 9113 section 3.3).
    PriorKnowledge,
}

impl<'de> Deserialize<'de> for Http2 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Http2;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false` or `prior_knowledge`")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Http2, E> {
                Ok(if on { Http2::On } else { Http2::Off })
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Http2, E> {
                match text {
                    "true" => Ok(Http2::On),
                    "false" => Ok(Http2::Off),
                    "prior_knowledge" => Ok(Http2::PriorKnowledge),
                    _ => Err(E::custom(format_args!(
                        "{} is none of them; write `true`, `false` or `prior_knowledge`",
                        quoted(text)
                    ))),
                }
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Http2 {
    fn schema_name() -> Cow<'static, str> {
        "Http2".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`true`, `false` or `prior_knowledge`.",
            "anyOf": [
                { "type": "boolean" },
                { "type": "string", "pattern": r"^(true|false|prior_knowledge)$|\$\{" },
            ],
        })
    }
}
