//! `OTEL_RESOURCE_ATTRIBUTES`: what is known of who sends (pure).
//!
//! OpenTelemetry's specification asks for commas and equals signs to be percent-encoded, and throws the whole value away
//! on any mistake; so everything but letters, digits and a few signs is encoded. That also keeps `$(…)` of a tag from
//! being expanded by Kubernetes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::EnvVar;
use crate::crds::{Tag, TagType};

/// The variable.
pub const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Attributes by name, each value as it stands in the variable.
pub type Attributes = BTreeMap<String, String>;

/// A text as it stands in the variable, or in that of headers: what W3C's baggage takes unencoded, and not all of it.
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The tags that have their value in the spec, by name.
pub fn literals(tags: &[Tag]) -> impl Iterator<Item = (&str, &str)> {
    let literals = tags.iter().filter(|tag| tag.type_ == TagType::Literal);
    literals.filter_map(|tag| Some((tag.name.as_str(), tag.literal.as_deref()?)))
}

/// The variable; `None` where there are no attributes. Names are sorted.
pub fn variable(attributes: &Attributes) -> Option<EnvVar> {
    let entries: Vec<String> = attributes
        .iter()
        .map(|(name, value)| format!("{}={value}", encoded(name)))
        .collect();
    (!entries.is_empty()).then(|| EnvVar::new(NAME, entries.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_the_variable_is_encoded() {
        assert_eq!(encoded("a,b=c d%e$(F)\"é"), "a%2Cb%3Dc%20d%25e%24%28F%29%22%C3%A9");
        assert_eq!(encoded("https://a.b:1/c_d-e~"), "https://a.b:1/c_d-e~");
    }
}
