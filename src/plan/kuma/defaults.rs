//! What Kuma's definitions and webhooks fill in where we say nothing. Of an object's own fields the API server's record
//! tells what is ours; inside a list it does not, and lists are compared whole.

use serde_json::Value;

/// Members of what stands in lists, with the value that is filled in (the definitions of v2.9.13 to v2.14.3 and of the main
/// branch of August 2026; seen live on 2.13.10 and the latter). Up to 2.14 an `endpoint` may stand empty beside a
/// `backendRef`.
fn is_default(member: &str, value: &Value) -> bool {
    match member {
        "omitEmptyValues" | "splitService" | "traceId128bit" => value == &Value::Bool(false),
        "sharedSpanContext" => value == &Value::Bool(true),
        "apiVersion" => value == "httpJson",
        "endpoint" => value == "",
        "port" => value == 5670,
        "path" => value == "/metrics",
        _ => false,
    }
}

/// A live value without the defaults that are not wanted.
pub fn without_defaults(wanted: &Value, live: &Value) -> Value {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            let kept = live.iter().filter_map(|(member, live)| match wanted.get(member) {
                Some(wanted) => Some((member.clone(), without_defaults(wanted, live))),
                None => (!is_default(member, live)).then(|| (member.clone(), live.clone())),
            });
            Value::Object(kept.collect())
        }
        (Value::Array(wanted), Value::Array(live)) if wanted.len() == live.len() => {
            let items = wanted.iter().zip(live);
            items.map(|(wanted, live)| without_defaults(wanted, live)).collect()
        }
        (_, live) => live.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn backend(file: &Value) -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"rules": [{"default": {"backends": [{"type": "File", "file": file}]}}]}})
    }

    #[test]
    fn what_is_filled_in_is_no_difference_and_what_was_wanted_before_is() {
        let wanted = backend(&json!({"path": "/dev/stdout", "format": {"type": "Plain", "plain": "x"}}));
        let filled =
            json!({"path": "/dev/stdout", "format": {"type": "Plain", "plain": "x", "omitEmptyValues": false}});
        assert_eq!(without_defaults(&wanted, &backend(&filled)), wanted);
        let smaller = backend(&json!({"path": "/dev/stdout"}));
        assert_ne!(
            without_defaults(&smaller, &backend(&filled)),
            smaller,
            "its format has to go"
        );
        let omits = json!({"path": "/dev/stdout", "format": {"type": "Plain", "plain": "x", "omitEmptyValues": true}});
        assert_ne!(
            without_defaults(&wanted, &backend(&omits)),
            wanted,
            "it was another value"
        );
    }

    #[test]
    fn an_empty_endpoint_beside_a_reference_is_no_difference() {
        let wanted = json!([{"openTelemetry": {"backendRef": {"kind": "MeshOpenTelemetryBackend"}}}]);
        let live = json!([{"openTelemetry": {"backendRef": {"kind": "MeshOpenTelemetryBackend"}, "endpoint": ""}}]);
        assert_eq!(without_defaults(&wanted, &live), wanted);
    }
}
