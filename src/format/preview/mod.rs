//! The line that Envoy would print for a described request, or connection, without Envoy. Pure.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `sample` | what a description can say, and the built-in one |
//! | `operators` | what each operator prints of it; and which cannot be told, and why |
//! | `cel` | what expressions come to |
//! | `http` | paths, queries, gRPC statuses, the header of client certificates |
//! | `address`, `time`, `json`, `flags` | how Envoy writes such things |
//! | `differences` | where a line may differ from Envoy's, by design |
//!
//! A test runs requests through Envoy and compares its lines with these, byte for byte (`tests/format/lines.rs`).

mod address;
mod cel;
mod differences;
mod flags;
mod http;
mod json;
mod operators;
mod sample;
mod time;

use serde_json::{Map, Value as Json};

pub use address::Address;
pub use differences::{DIFFERENCES, Difference};
pub use flags::{RESPONSE_FLAGS, ResponseFlag, UnknownFlag};
pub use operators::UNTELLABLE;
pub use sample::{
    Attempt, Certificate, Cluster, Connection, FilterState, HeaderValue, Headers, Kuma, Metadata, Millis, Proxy,
    Request, Response, Route, Sample, Times, Tls, Trace, Upstream, VirtualHost, Wire,
};

use super::parser::{self, Part};
use super::{CompiledFormat, EnvoyVersion};
use operators::{Call, Proxied};

/// A line, and what is not Envoy's in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// With the newline at its end. Bytes: a value that is cut to a length may end inside a character.
    pub line: Vec<u8>,
    /// Operators of which no description can tell the value, each once, with the reason. `<NAME>` stands in the line.
    pub untold: Vec<(&'static str, &'static str)>,
}

/// The line that Envoy of that version prints. `omit_empty_values` as in its configuration.
pub fn preview(format: &CompiledFormat, omit_empty_values: bool, sample: &Sample, version: EnvoyVersion) -> Preview {
    let mut writer = Writer {
        proxied: Proxied { sample, version },
        omit_empty_values,
        untold: Vec::new(),
    };
    let line = match format {
        CompiledFormat::Text(text) => writer.text(text),
        CompiledFormat::Json(fields) => {
            let mut line = writer.object(fields).unwrap_or_else(|| b"{}".to_vec());
            line.push(b'\n');
            line
        }
    };
    Preview {
        line,
        untold: writer.untold,
    }
}

/// The first Envoy whose `omit_empty_values` leaves members out of JSON; those before write `null` all the same.
const OMITS_MEMBERS_SINCE: EnvoyVersion = EnvoyVersion::new(1, 40);

struct Writer<'a> {
    proxied: Proxied<'a>,
    omit_empty_values: bool,
    untold: Vec<(&'static str, &'static str)>,
}

impl Writer<'_> {
    fn value(&mut self, call: Call<'_>) -> operators::Value {
        let (value, untold) = self.proxied.value(call);
        for reason in untold {
            if !self.untold.contains(&reason) {
                self.untold.push(reason);
            }
        }
        value
    }

    /// The printed form of each part.
    fn parts(&mut self, source: &str) -> Vec<Vec<u8>> {
        let empty = if self.omit_empty_values { "" } else { "-" };
        let parts = parser::parse(source).parts;
        let printed = parts.into_iter().map(|part| match part {
            Part::Literal(text) => text.as_bytes().to_vec(),
            Part::Percent => b"%".to_vec(),
            Part::Operator(operator) => self
                .value(Call::of(&operator))
                .into_text()
                .unwrap_or_else(|| empty.as_bytes().to_vec()),
        });
        printed.collect()
    }

    fn text(&mut self, source: &str) -> Vec<u8> {
        self.parts(source).concat()
    }

    /// A member's value; `None` where it is to be left out. One operator alone keeps its type.
    fn member(&mut self, value: &Json) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match value {
            Json::Object(members) => return self.object(members),
            Json::String(source) => {
                if let [Part::Operator(operator)] = parser::parse(source).parts.as_slice() {
                    let value = self.value(Call::of(operator));
                    if value.is_null() && self.omits_members() {
                        return None;
                    }
                    value.write_json(&mut out);
                } else {
                    out.push(b'"');
                    for part in self.parts(source) {
                        json::write_escaped(&part, &mut out);
                    }
                    out.push(b'"');
                }
            }
            constant => json::write(constant, &mut out),
        }
        Some(out)
    }

    fn omits_members(&self) -> bool {
        self.omit_empty_values && self.proxied.version >= OMITS_MEMBERS_SINCE
    }

    /// Members by their keys in order; `None` where all of them are left out.
    fn object(&mut self, members: &Map<String, Json>) -> Option<Vec<u8>> {
        let mut out = vec![b'{'];
        for (key, member) in json::sorted(members) {
            let Some(value) = self.member(member) else { continue };
            if out.len() > 1 {
                out.push(b',');
            }
            json::write_string(key.as_bytes(), &mut out);
            out.push(b':');
            out.extend(value);
        }
        out.push(b'}');
        (out.len() > 2 || !self.omits_members()).then_some(out)
    }
}

#[cfg(test)]
mod tests;
