//! One server of an upstream: its address alone, or with how much of the work it takes.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::{Count, Switch};

/// One server of an upstream.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of endpoint settings")]
pub struct Endpoint {
    /// Where it listens: `10.0.0.1:9001`, `chat.internal:9001` or `http://chat.internal:9001`: one
    /// server, whose name is resolved at each dial. Or who says where several listen, asked again and
    /// again: `dns://chat.internal:9001` or `dns+srv://_ws._tcp.chat.internal`. Required.
    pub address: Option<String>,
    /// How much it takes beside the others: one of weight 3 takes three times as much as one of
    /// weight 1. From 1 to 256; each address of a `dns://` name has it, and SRV records bring their
    /// own. Default: `1`.
    pub weight: Option<Count>,
    /// It takes something only while every endpoint that is no backup is out; whoever is bound to
    /// it by a cookie or a session stays with it. Default: `false`.
    pub backup: Option<Switch>,
}

/// An [`Endpoint`] that may be written as its address.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EndpointEntry(pub Endpoint);

impl From<String> for EndpointEntry {
    fn from(address: String) -> Self {
        Self(Endpoint { address: Some(address), ..Endpoint::default() })
    }
}

impl<'de> Deserialize<'de> for EndpointEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        // By hand: `#[serde(untagged)]` would lose the position of a mistake within the mapping.
        impl<'de> Visitor<'de> for Reader {
            type Value = EndpointEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as `10.0.0.1:9001`, or a mapping with `address`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<EndpointEntry, E> {
                Ok(EndpointEntry::from(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EndpointEntry, A::Error> {
                Endpoint::deserialize(MapAccessDeserializer::new(map)).map(EndpointEntry)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for EndpointEntry {
    fn schema_name() -> Cow<'static, str> {
        "EndpointEntry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = generator.subschema_for::<Endpoint>();
        json_schema!({
            "description": "An address, or a mapping with one.",
            "anyOf": [{ "type": "string" }, mapping],
        })
    }
}
