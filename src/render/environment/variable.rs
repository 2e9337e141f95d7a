//! Environment variables, as the dialects render them and [`crate::rollout::template`] writes them.

use serde_json::{Value, json};

/// One environment variable of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvVar {
    /// Name, from the closed list of its dialect.
    pub name: String,
    /// Where its value comes from.
    pub source: Source,
}

/// Where the value of a variable comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// It stands in the pod template, so `$(X)` in it is replaced by Kubernetes with the value of the variable `X` that
    /// stands in front of it (`$$(X)` is the text `$(X)`). Never empty: an empty value is left out by the API server and
    /// reads as unset to most programs.
    Text(String),
    /// A field of the pod, by its path.
    Field(String),
    /// A key of a Secret of the pod's namespace.
    Secret {
        /// Name of the Secret.
        name: String,
        /// Its key.
        key: String,
    },
}

impl EnvVar {
    /// A variable of this name and value.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            source: Source::Text(value.into()),
        }
    }

    /// A variable with the value of a field of the pod.
    pub fn of_field(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            source: Source::Field(path.into()),
        }
    }

    /// A variable with the value of a key of a Secret.
    pub fn of_secret(name: impl Into<String>, secret: &str, key: &str) -> Self {
        Self {
            name: name.into(),
            source: Source::Secret {
                name: secret.to_owned(),
                key: key.to_owned(),
            },
        }
    }

    /// The entry of `env` in a pod template, as the API server keeps it (`apiVersion` is its default).
    pub fn to_entry(&self) -> Value {
        match &self.source {
            Source::Text(value) => json!({"name": self.name, "value": value}),
            Source::Field(_) | Source::Secret { .. } => json!({"name": self.name, "valueFrom": self.content()}),
        }
    }

    /// What tells it from another of its name: the text, or `valueFrom`.
    pub fn content(&self) -> Value {
        match &self.source {
            Source::Text(value) => json!(value),
            Source::Field(path) => json!({"fieldRef": {"apiVersion": "v1", "fieldPath": path}}),
            Source::Secret { name, key } => json!({"secretKeyRef": {"name": name, "key": key}}),
        }
    }

    /// The same of an entry of `env` in a pod template.
    pub fn content_of(entry: &Value) -> Option<&Value> {
        match entry.get("valueFrom") {
            None | Some(Value::Null) => entry.get("value").filter(|value| value.is_string()),
            from => from,
        }
    }

    /// Its value as people read it; that of a Secret is named, not told.
    pub fn shown(&self) -> String {
        match &self.source {
            Source::Text(value) => value.clone(),
            Source::Field(path) => format!("<field {path}>"),
            Source::Secret { name, key } => format!("<secret {name}/{key}>"),
        }
    }

    /// Names that the value refers to by `$(NAME)`, in their order.
    pub fn references(&self) -> Vec<&str> {
        let Source::Text(value) = &self.source else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut rest = value.as_str();
        while let Some(dollar) = rest.find('$') {
            let (_, from_dollar) = rest.split_at(dollar);
            rest = from_dollar.get(1..).unwrap_or_default();
            if let Some(after) = rest.strip_prefix('$') {
                rest = after;
            } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
                found.push(name);
                rest = after;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_kubernetes_expands_them() {
        let refs = |value: &str| {
            EnvVar::new("A", value)
                .references()
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(refs("http://$(HOST):$(PORT)"), ["HOST", "PORT"]);
        assert_eq!(refs("$$(HOST)"), Vec::<String>::new());
        assert_eq!(refs("$$$(HOST)"), ["HOST"]);
        assert_eq!(refs("$(HOST"), Vec::<String>::new());
        assert_eq!(refs("costs 5$"), Vec::<String>::new());
    }

    #[test]
    fn the_content_of_a_variable_is_that_of_its_entry() {
        for var in [
            EnvVar::new("A", "x"),
            EnvVar::of_field("A", "metadata.name"),
            EnvVar::of_secret("A", "s", "k"),
        ] {
            assert_eq!(EnvVar::content_of(&var.to_entry()), Some(&var.content()));
        }
        assert_eq!(EnvVar::content_of(&json!({"name": "A"})), None);
        assert_eq!(
            EnvVar::of_secret("A", "s", "k").shown(),
            "<secret s/k>",
            "a value of a Secret is never told"
        );
    }
}
