//! YAML in and out: one place that knows the library and its traps.

use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

/// YAML that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// The text is no YAML.
    #[error("not valid YAML: {0}")]
    Read(String),
    /// The value has no YAML form.
    #[error("cannot be written as YAML: {0}")]
    Write(String),
}

/// Writes a value as block YAML. Strings that YAML 1.1 reads as booleans or numbers are quoted (Istio reads YAML 1.1:
/// a bare `n` was refused there, a bare `y` became `true`).
pub fn to_yaml(value: &Value) -> Result<String, YamlError> {
    serde_saphyr::to_string(value).map_err(|e| YamlError::Write(e.to_string()))
}

/// Reads every document of a YAML text. Empty documents are left out.
///
/// The error names line and column and shows nothing of the text: there may be a Secret in it.
pub fn read_documents(text: &str) -> Result<Vec<Value>, YamlError> {
    read(text, DuplicateKeyPolicy::Error)
}

/// Reads like [`read_documents`], but of a key that stands twice the last one counts: so does Istio for MeshConfig.
pub fn read_leniently(text: &str) -> Result<Vec<Value>, YamlError> {
    read(text, DuplicateKeyPolicy::LastWins)
}

fn read(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Vec<Value>, YamlError> {
    let options = serde_saphyr::options! { duplicate_keys: duplicate_keys };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| YamlError::Read(error.without_snippet().to_string()))?;
    Ok(documents.into_iter().filter(|d| !d.is_null()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_and_quotes_nothing_of_the_file() {
        let error = read_documents("stringData:\n  password: hunter2\n bad: [\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
