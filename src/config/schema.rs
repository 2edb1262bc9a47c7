//! The JSON Schema of the file, for editors. It is made from the types and their doc comments.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Config;

/// The JSON Schema (draft 2020-12) of a configuration file.
///
/// Each setting has its doc comment as its description, and as its default what that comment says
/// after `Default:`, if it is one value.
pub fn schema() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    let mut schema = schema.to_value();
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), json!("Bowline configuration"));
    }
    complete(&mut schema);
    schema
}

/// A description without what it says after `Default:`, and that. `Required.` is such a saying too.
pub(super) fn without_default(description: &str) -> (&str, &str) {
    if let Some((meaning, default)) = description.rsplit_once("Default:") {
        return (meaning.trim_end(), default.trim().trim_end_matches('.'));
    }
    match description.strip_suffix("Required.") {
        Some(meaning) => (meaning.trim_end(), "required"),
        None => (description, ""),
    }
}

fn complete(schema: &mut Value) {
    let object = match schema {
        Value::Object(object) => object,
        Value::Array(items) => return items.iter_mut().for_each(complete),
        _ => return,
    };
    drop_null(object);
    require(object);
    if let Some(Value::String(description)) = object.get_mut("description") {
        *description = one_paragraph(description);
        let default = literal(without_default(description).1);
        if let Some(default) = default {
            object.insert("default".to_owned(), default);
        }
    }
    object.values_mut().for_each(complete);
}

/// What its comment calls required is required.
fn require(object: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = object.get("properties") else { return };
    let required = properties.iter().filter(|(_, property)| {
        let description = property["description"].as_str().unwrap_or_default();
        without_default(description).1 == "required"
    });
    let required: Vec<_> = required.map(|(key, _)| key.clone()).collect();
    if !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
}

/// An optional setting may be left out; it may not be written as nothing.
fn drop_null(object: &mut Map<String, Value>) {
    object.retain(|key, value| key != "default" || !value.is_null());
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice != &json!({ "type": "null" }));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            object.extend(only);
        }
    }
}

/// Doc comments are broken into lines, descriptions are not.
fn one_paragraph(text: &str) -> String {
    text.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

/// The value in backticks, if that is all.
fn literal(default: &str) -> Option<Value> {
    let text = default.strip_prefix('`')?.strip_suffix('`')?;
    if text.contains('`') {
        return None;
    }
    Some(serde_json::from_str(text).unwrap_or_else(|_| json!(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_descriptions_defaults_and_no_null() {
        let schema = schema();
        assert_eq!(schema["$defs"]["Timeouts"]["properties"]["connect"]["default"], "5s");
        assert_eq!(schema["$defs"]["KeepAlive"]["properties"]["max"]["default"], 64);
        assert_eq!(schema["$defs"]["Log"]["properties"]["access"]["default"], true);
        assert_eq!(schema["properties"]["workers"]["$ref"], "#/$defs/Count");
        assert_eq!(schema["properties"]["via"]["type"], "string");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["$defs"]["Certificate"]["required"], json!(["cert", "key"]));
        assert!(schema["$defs"]["Route"]["properties"]["match"].is_object());
        // An origin may be `"null"`, which descriptions say.
        let without_origins = schema.to_string().replace("\\\"null\\\"", "");
        assert!(!without_origins.contains("null"), "{schema:#}");
    }
}
