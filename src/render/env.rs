//! Environment variables, as the dialects render them and [`crate::rollout::template`] writes them.

use serde_json::{Value, json};

/// One environment variable of a container: a name and a plain value.
///
/// The value is what stands in the pod template, so `$(X)` in it is replaced by Kubernetes with the value of the
/// variable `X` that stands in front of it (`$$(X)` is the text `$(X)`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvVar {
    /// Name, from the closed list of its dialect.
    pub name: String,
    /// Value. Never empty: an empty value is left out by the API server and reads as unset to most programs.
    pub value: String,
}

impl EnvVar {
    /// A variable of this name and value.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }

    /// The entry of `env` in a pod template.
    pub fn to_entry(&self) -> Value {
        json!({"name": self.name, "value": self.value})
    }

    /// Names that the value refers to by `$(NAME)`, in their order.
    pub fn references(&self) -> Vec<&str> {
        let mut found = Vec::new();
        let mut rest = self.value.as_str();
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
}
