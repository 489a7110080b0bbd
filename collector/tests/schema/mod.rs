//! The part of OpenAPI and JSON Schema that `docs/openapi.json` uses: addresses from examples, and whether a value has a shape.

use serde_json::Value;

/// What a `$ref` stands for.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("there is no {reference}")),
        None => value,
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~,:".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The address of an operation, each parameter with its example.
pub(crate) fn address(document: &Value, path: &str, operation: &Value) -> String {
    let (mut path, mut query) = (path.to_owned(), Vec::new());
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let parameter = resolved(document, parameter);
        let name = parameter["name"].as_str().unwrap();
        let Some(example) = parameter.get("example").map(text) else {
            assert!(parameter["required"] != true, "{path}: {name} has no example");
            continue;
        };
        match parameter["in"].as_str().unwrap() {
            "path" => path = path.replace(&format!("{{{name}}}"), &encoded(&example)),
            "query" => query.push(format!("{name}={}", encoded(&example))),
            other => assert_eq!(other, "header"),
        }
    }
    assert!(!path.contains('{'), "{path} has a parameter that is not described");
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

/// The headers and body of an operation's example; no bytes where the body is none of JSON.
pub(crate) fn body(operation: &Value) -> (Vec<(&'static str, String)>, Vec<u8>) {
    let Some((kind, content)) = operation["requestBody"]["content"].as_object().and_then(|content| content.iter().next()) else {
        return (Vec::new(), Vec::new());
    };
    let bytes = content.get("example").map(|example| example.to_string().into_bytes());
    (vec![("Content-Type", kind.clone())], bytes.unwrap_or_default())
}

/// Requires that an answer is what its response describes.
pub(crate) fn check_response(document: &Value, response: &Value, head: &str, body: &[u8], what: &str) {
    let Some(content) = resolved(document, response)["content"].as_object() else {
        return;
    };
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
    let found = content.iter().find(|(name, _)| kind.split(';').next() == Some(name.as_str()));
    let (name, content) = found.unwrap_or_else(|| panic!("the type {kind:?} is not described: {what}"));
    if name == "application/json" {
        let value: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {what}"));
        check(document, &content["schema"], &value, what);
    }
}

/// Requires that a value has a shape. An object has no other properties than those that are described, unless it says so.
fn check(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolved(document, schema);
    // One type, or a list of it and null.
    let nullable = schema["type"].as_array().is_some_and(|types| types.contains(&Value::from("null")));
    if nullable && value.is_null() {
        return;
    }
    let kind = if nullable { schema["type"][0].as_str() } else { schema["type"].as_str() };
    let kind = kind.unwrap_or_else(|| panic!("no type: {schema}"));
    let fits = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the type {other} is not known here"),
    };
    assert!(fits, "{value} is no {kind}: {at}");
    if let Some(least) = schema["minimum"].as_f64() {
        assert!(value.as_f64().unwrap() >= least, "{value} is below {least}: {at}");
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{value} is none of {allowed:?}: {at}");
    }
    for element in value.as_array().into_iter().flatten() {
        check(document, &schema["items"], element, at);
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{name} is missing: {at}");
    }
    for (name, property) in value.as_object().into_iter().flatten() {
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(known), _) => check(document, known, property, &format!("{name}, {at}")),
            (None, Value::Bool(true)) => {}
            (None, Value::Object(_)) => check(document, &schema["additionalProperties"], property, &format!("{name}, {at}")),
            _ => panic!("{name} is not described: {at}"),
        }
    }
}
