//! What keeps a client with the endpoint that it met first.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::Time;

/// What keeps a client with its endpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum Sticky {
    /// A cookie of Bowline's, with nothing else said about it.
    Cookie,
    /// The session of engine.io (socket.io), with nothing else said about its cookie.
    Engineio,
    /// The client's address.
    ClientIp,
    /// As the mapping says.
    By(StickyBy),
}

/// What keeps a client with its endpoint, exactly one of the three.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping with `cookie`, `engineio` or `header`"
)]
pub struct StickyBy {
    /// A cookie of Bowline's. Default: none.
    pub cookie: Option<StickyCookie>,
    /// The session of engine.io (socket.io), and a cookie of Bowline's. Default: none.
    pub engineio: Option<StickyCookie>,
    /// The value of this header, hashed: the same value meets the same endpoint, through every
    /// Bowline with the same endpoints. Requests without it go by `balance`. Default: none.
    pub header: Option<String>,
}

/// Bowline's cookie: which endpoint, opaque and signed with `secret`. It is always HttpOnly, has
/// the path `/`, and is Secure where the client came over TLS. One that was not signed with this
/// secret is ignored, one whose endpoint is gone is replaced.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of cookie settings")]
pub struct StickyCookie {
    /// Its name; upstreams that are met under one host need different ones. Default: `bowline_` and
    /// eight letters made of the upstream's name.
    pub name: Option<String>,
    /// How long the client keeps it. Default: until the browser is closed.
    pub max_age: Option<Time>,
    /// Which requests from other sites carry it. Default: `lax`.
    pub same_site: Option<SameSite>,
}

/// Which requests from other sites carry a cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// Only those that follow a link.
    #[default]
    Lax,
    /// None.
    Strict,
    /// All, as a page on another site needs whose scripts talk to this one. Browsers take it over
    /// TLS only; elsewhere Bowline says `Lax`.
    None,
}

const WORDS: &[&str] = &["cookie", "engineio", "client_ip"];

impl<'de> Deserialize<'de> for Sticky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Sticky;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "`cookie`, `engineio`, `client_ip`, or a mapping such as `{ header: x-user }`",
                )
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Sticky, E> {
                match word {
                    "cookie" => Ok(Sticky::Cookie),
                    "engineio" => Ok(Sticky::Engineio),
                    "client_ip" => Ok(Sticky::ClientIp),
                    _ => Err(E::unknown_variant(word, WORDS)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Sticky, A::Error> {
                StickyBy::deserialize(MapAccessDeserializer::new(map)).map(Sticky::By)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Sticky {
    fn schema_name() -> Cow<'static, str> {
        "Sticky".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = generator.subschema_for::<StickyBy>();
        json_schema!({
            "description": "`cookie`, `engineio`, `client_ip`, or a mapping with `cookie`, `engineio` or `header`.",
            "anyOf": [{ "enum": WORDS }, mapping],
        })
    }
}
