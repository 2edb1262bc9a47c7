//! What each client, each key, or all together may ask for.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::{Count, Frequency, HashField, Time};

/// What each client, each key, or all together may ask for, counted once for all workers. Who asks for
/// more gets 429 with `Retry-After`, and what was refused is not counted. At least one of `requests`,
/// `upgrades` and `sockets` is needed.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of quota settings")]
pub struct Quota {
    /// Whom it counts: `client_ip` (IPv6 by /64), one of `{ header: NAME }`, `{ cookie: NAME }` and
    /// `{ query: NAME }` by value, or `all` together. A request without the named part is not
    /// counted. Default: `client_ip`.
    pub per: Per,
    /// Requests that are no WebSocket upgrades, such as `100/s`, `600/min` or `10/h`. Default:
    /// unlimited.
    pub requests: Option<Frequency>,
    /// WebSocket upgrades, such as `5/s`. Default: unlimited.
    pub upgrades: Option<Frequency>,
    /// WebSockets that are open or about to be. Default: unlimited.
    pub sockets: Option<Count>,
    /// Of the rates, what was not used is kept for so long and may come at once; one at least always
    /// may. Default: `1s`.
    pub burst: Option<Time>,
    /// Networks (`10.0.0.0/8`, `::1`) whose clients are not counted. Default: none.
    pub except: Option<Vec<String>>,
}

/// Whom a quota counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Per {
    /// Each client by its address.
    #[default]
    ClientIp,
    /// Everybody together.
    All,
    /// Each value of a named field.
    Field(HashField),
}

const WORDS: &[&str] = &["client_ip", "all"];

impl<'de> Deserialize<'de> for Per {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Per;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`client_ip`, `all`, or a mapping such as `{ header: x-api-key }`")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Per, E> {
                match word {
                    "client_ip" => Ok(Per::ClientIp),
                    "all" => Ok(Per::All),
                    _ => Err(E::unknown_variant(word, WORDS)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Per, A::Error> {
                HashField::deserialize(MapAccessDeserializer::new(map)).map(Per::Field)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Per {
    fn schema_name() -> Cow<'static, str> {
        "Per".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = generator.subschema_for::<HashField>();
        json_schema!({
            "description": "`client_ip`, `all`, or a mapping that names a header, a cookie or a query parameter.",
            "anyOf": [{ "enum": WORDS }, mapping],
        })
    }
}
