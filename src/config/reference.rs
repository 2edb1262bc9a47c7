//! The reference for people: docs/configuration.md, made from the schema so that it cannot differ
//! from what is read.

use std::fmt::Write as _;

use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{Deserializer, Visitor};
use serde_json::Value;

use super::schema::{schema, without_default};
use super::{
    ActiveCheck, Admin, Breaker, Certificate, ClientAuth, Config, Cors, Drain, Endpoint, HashField,
    Health, Heartbeat, KeepAlive, Limits, Listener, Log, Match, MaxConnections, Passive,
    ProxyProtocol, Queue, Rate, Rebalance, Resolver, Retries, Route, StickyBy, StickyCookie,
    Timeouts, Tls, Upgrades, Upstream, WebSocket,
};

/// The sections in the order of the page: the type, its heading, and its keys in order.
fn sections() -> [(&'static str, &'static str, Vec<&'static str>); 33] {
    [
        ("Config", "The file", keys::<Config>()),
        ("Listener", "listeners[]", keys::<Listener>()),
        ("Limits", "listeners[].limits", keys::<Limits>()),
        ("ProxyProtocol", "listeners[].proxy_protocol", keys::<ProxyProtocol>()),
        ("Tls", "listeners[].tls", keys::<Tls>()),
        ("Certificate", "listeners[].tls.certificates[]", keys::<Certificate>()),
        ("ClientAuth", "listeners[].tls.client_auth", keys::<ClientAuth>()),
        ("Route", "routes[]", keys::<Route>()),
        ("Match", "routes[].match", keys::<Match>()),
        ("Cors", "routes[].cors", keys::<Cors>()),
        ("Timeouts", "timeouts", keys::<Timeouts>()),
        ("WebSocket", "websocket", keys::<WebSocket>()),
        ("Heartbeat", "websocket.heartbeat", keys::<Heartbeat>()),
        ("Rate", "websocket.client_rate, websocket.upstream_rate", keys::<Rate>()),
        ("Upstream", "upstreams.NAME", keys::<Upstream>()),
        ("Endpoint", "upstreams.NAME.endpoints[]", keys::<Endpoint>()),
        ("HashField", "upstreams.NAME.hash_by", keys::<HashField>()),
        ("StickyBy", "upstreams.NAME.sticky", keys::<StickyBy>()),
        (
            "StickyCookie",
            "upstreams.NAME.sticky.cookie, upstreams.NAME.sticky.engineio",
            keys::<StickyCookie>(),
        ),
        ("KeepAlive", "upstreams.NAME.keep_alive", keys::<KeepAlive>()),
        ("Health", "upstreams.NAME.health", keys::<Health>()),
        ("ActiveCheck", "upstreams.NAME.health.active", keys::<ActiveCheck>()),
        ("Passive", "upstreams.NAME.health.passive", keys::<Passive>()),
        ("Upgrades", "upstreams.NAME.upgrades", keys::<Upgrades>()),
        ("MaxConnections", "upstreams.NAME.max_connections", keys::<MaxConnections>()),
        ("Queue", "upstreams.NAME.queue", keys::<Queue>()),
        ("Retries", "upstreams.NAME.retries", keys::<Retries>()),
        ("Breaker", "upstreams.NAME.breaker", keys::<Breaker>()),
        ("Resolver", "resolver", keys::<Resolver>()),
        ("Rebalance", "upstreams.NAME.rebalance", keys::<Rebalance>()),
        ("Admin", "admin", keys::<Admin>()),
        ("Drain", "drain", keys::<Drain>()),
        ("Log", "log", keys::<Log>()),
    ]
}

const OPENING: &str = "\
# Configuration reference

<!-- Made by `bowline schema --markdown` from the types in src/config/. Do not edit. -->

A configuration is one YAML file. A key that is not listed here is refused, and so is a key with
nothing after it. `bowline check FILE` lists every mistake with its line. `bowline schema` prints a
JSON Schema, with which editors complete and check while you type.

Any text may hold `${VAR}` or `${VAR:-default}` from the environment; an unset variable without
default is a mistake. `$$` is a plain `$`.

";

/// The reference as Markdown: one table for each part of the file.
pub fn reference() -> String {
    let schema = schema();
    let mut page = OPENING.to_owned();
    for (name, heading, keys) in sections() {
        let part = if name == "Config" { &schema } else { &schema["$defs"][name] };
        let about = part["description"].as_str().unwrap_or_default();
        let heading = if name == "Config" { heading.to_owned() } else { format!("`{heading}`") };
        line(&mut page, &format!("## {heading}\n\n{about}\n"));
        line(&mut page, "| Key | Type | Default | Meaning |\n|---|---|---|---|");
        for key in keys {
            let property = &part["properties"][key];
            let described = property["description"].as_str().unwrap_or_default();
            let (meaning, default) = without_default(described);
            let meaning = format!("{meaning}{}", words(property, &schema));
            let kind = kind(property, &schema);
            line(
                &mut page,
                &format!("| `{key}` | {kind} | {default} | {} |", meaning.replace('|', "\\|")),
            );
        }
        page.push('\n');
    }
    line(&mut page, "## Values\n\n| Type | Written |\n|---|---|");
    for (name, shown) in SCALARS {
        let about = schema["$defs"][name]["description"].as_str().unwrap_or_default();
        line(&mut page, &format!("| {shown} | {about} |"));
    }
    page
}

const SCALARS: [(&str, &str); 8] = [
    ("Time", "time"),
    ("Limit", "time or `off`"),
    ("Size", "size"),
    ("Count", "number"),
    ("Switch", "switch"),
    ("Percent", "share"),
    ("Statuses", "statuses"),
    ("TlsVersion", "version"),
];

fn line(page: &mut String, text: &str) {
    // Writing to a String cannot fail.
    writeln!(page, "{text}").unwrap_or_default();
}

/// What may be written, in a word or two, with a link to the part that describes it.
fn kind(property: &Value, schema: &Value) -> String {
    if let Some(name) = referred(property) {
        if let Some((_, shown)) = SCALARS.iter().find(|(scalar, _)| *scalar == name) {
            return (*shown).to_owned();
        }
        if name == "OneOrMany" {
            return "text or list".to_owned();
        }
        if !choices(&schema["$defs"][name]).is_empty() {
            return "word".to_owned();
        }
        if let Some(ways) = schema["$defs"][name]["anyOf"].as_array() {
            let ways: Vec<String> = ways.iter().map(|way| kind(way, schema)).collect();
            return ways.join(" or ");
        }
        let section = sections().into_iter().find(|(section, ..)| *section == name);
        return section.map_or_else(
            || name.to_owned(),
            |(_, heading, _)| format!("[{name}]({})", anchor(heading)),
        );
    }
    if property["enum"].is_array() {
        return "word".to_owned();
    }
    match property["type"].as_str() {
        Some("string") => "text".to_owned(),
        Some("array") => format!("list of {}", kind(&property["items"], schema)),
        Some("object") => format!("mapping of {}", kind(&property["additionalProperties"], schema)),
        other => other.unwrap_or("any").to_owned(),
    }
}

/// The words of an enumeration, each with its meaning.
fn words(property: &Value, schema: &Value) -> String {
    let Some(name) = referred(property) else { return String::new() };
    let words = choices(&schema["$defs"][name]);
    words.iter().map(|(word, meaning)| format!("<br>`{word}`: {meaning}")).collect()
}

fn choices(definition: &Value) -> Vec<(&str, &str)> {
    let choices = definition["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    choices
        .iter()
        .filter_map(|choice| Some((choice["const"].as_str()?, choice["description"].as_str()?)))
        .collect()
}

fn referred(property: &Value) -> Option<&str> {
    property["$ref"].as_str()?.strip_prefix("#/$defs/")
}

/// The anchor that Markdown readers give to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept: String = kept.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    format!("#{kept}")
}

/// The keys of a type in the order of its source; the schema sorts them.
fn keys<T: for<'de> Deserialize<'de>>() -> Vec<&'static str> {
    struct Probe<'a>(&'a mut Vec<&'static str>);

    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(serde::de::Error::custom("not a mapping of settings"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Error> {
            self.0.extend(fields);
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
            unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut keys = Vec::new();
    // The probe always fails, after it has seen the keys.
    drop(T::deserialize(Probe(&mut keys)));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_in_the_reference_with_type_default_and_meaning() {
        let schema = schema();
        let page = reference();
        let defs = schema["$defs"].as_object().unwrap();
        let parts = defs.iter().filter(|(_, part)| part["properties"].is_object());
        for (name, part) in parts.chain([(&"Config".to_owned(), &schema)]) {
            let section = sections().into_iter().find(|(section, ..)| section == name);
            let (_, _, keys) = section.unwrap_or_else(|| panic!("{name} has no section"));
            let properties = part["properties"].as_object().unwrap();
            assert_eq!(properties.len(), keys.len(), "{name}");
            for key in keys {
                let (meaning, default) =
                    without_default(properties[key]["description"].as_str().unwrap());
                assert!(!meaning.is_empty() && !default.is_empty(), "{name}.{key}");
                assert!(page.contains(&format!("| `{key}` | ")), "{name}.{key}");
            }
        }
    }
}
