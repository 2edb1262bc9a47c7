//! Which endpoint gets the next request, and by what of the request that is decided.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// Which endpoint gets the next request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The one with the fewest requests and open WebSockets for its weight; right for long-lived
    /// sockets.
    #[default]
    LeastConnections,
    /// Each in turn, as often as its weight says, evenly spread.
    RoundRobin,
    /// Of two at random the one with fewer requests and open WebSockets for its weight, and among
    /// equals the one whose handshakes were answered sooner.
    PowerOfTwo,
    /// Any, as often as its weight says.
    Random,
    /// By a hash of the request (`hash_by`) on a ring of points: when an endpoint comes or goes, only
    /// its own share moves.
    RingHash,
    /// By a hash of the request (`hash_by`) in a table of 65,537 places: more even than the ring,
    /// and found in one step; about twice as much moves when an endpoint comes or goes.
    Maglev,
}

/// What of a request is hashed.
#[derive(Debug, Clone, PartialEq)]
pub enum HashBy {
    /// The client's address.
    ClientIp,
    /// The path, without its query.
    Path,
    /// One named field.
    Field(HashField),
}

/// A named part of the request, exactly one of the three. Requests that lack it go by load where it
/// picks endpoints, as with `power_of_two`, and are not counted where it is what `quotas` go by.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping with `header`, `cookie` or `query`")]
pub struct HashField {
    /// The first header of this name. Default: none.
    pub header: Option<String>,
    /// The first cookie of this name. Default: none.
    pub cookie: Option<String>,
    /// The first query parameter of this name, decoded. Default: none.
    pub query: Option<String>,
}

const WORDS: &[&str] = &["client_ip", "path"];

impl Balance {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeastConnections => "least_connections",
            Self::RoundRobin => "round_robin",
            Self::PowerOfTwo => "power_of_two",
            Self::Random => "random",
            Self::RingHash => "ring_hash",
            Self::Maglev => "maglev",
        }
    }

    /// Whether it looks at the request.
    pub fn hashes(self) -> bool {
        matches!(self, Self::RingHash | Self::Maglev)
    }
}

impl<'de> Deserialize<'de> for HashBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = HashBy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`client_ip`, `path`, or a mapping such as `{ header: x-user }`")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<HashBy, E> {
                match word {
                    "client_ip" => Ok(HashBy::ClientIp),
                    "path" => Ok(HashBy::Path),
                    _ => Err(E::unknown_variant(word, WORDS)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HashBy, A::Error> {
                HashField::deserialize(MapAccessDeserializer::new(map)).map(HashBy::Field)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for HashBy {
    fn schema_name() -> Cow<'static, str> {
        "HashBy".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = generator.subschema_for::<HashField>();
        json_schema!({
            "description": "`client_ip`, `path`, or a mapping that names a header, a cookie or a query parameter.",
            "anyOf": [{ "enum": WORDS }, mapping],
        })
    }
}
