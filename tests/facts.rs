//! What we say of others' defaults is what their own sources say, in the version that `tools/control-plane` fetches.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/control_plane.rs"]
mod control_plane;

use std::collections::BTreeMap;

use sightline::format::{
    Base, CompiledFormat, Encoding, EnvoyVersion, FormatSpec, OtlpFormat, Preset, compile, otlp_attributes,
};

/// The source of Istio that holds its default formats. `tools/control-plane/build.sh` puts it beside the binaries.
async fn istio_source() -> String {
    let bin = control_plane::find_binaries().await.unwrap();
    let file = bin.with_file_name("facts").join("istio-accesslog.go");
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The string literals of Go in a piece of source. Those that occur here are written as JSON's are.
fn literals(source: &str) -> Vec<String> {
    let literals = serde_json::Deserializer::from_str;
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find('"') {
        let mut stream = literals(&rest[at..]).into_iter::<String>();
        found.push(stream.next().unwrap().unwrap());
        rest = &rest[at + stream.byte_offset()..];
    }
    found
}

/// What stands between `start` and the next `end`.
fn between<'s>(source: &'s str, start: &str, end: &str) -> &'s str {
    let after = source.split_once(start).unwrap_or_else(|| panic!("no {start}")).1;
    after.split_once(end).unwrap().0
}

fn istio(encoding: Encoding) -> CompiledFormat {
    let spec = FormatSpec {
        encoding,
        base: Base::Preset(Preset::Istio),
        fields: Vec::new(),
        omit: Vec::new(),
    };
    compile(&spec, EnvoyVersion::OLDEST_SUPPORTED).unwrap().format
}

#[tokio::test]
async fn the_preset_istio_is_the_default_text_of_istios_source() {
    let source = istio_source().await;
    let text = literals(between(&source, "EnvoyTextLogFormat = ", "\n\n")).concat();
    assert!(text.contains("%START_TIME%"), "{text}");
    assert_eq!(istio(Encoding::Text), CompiledFormat::Text(text));
}

#[tokio::test]
async fn the_preset_istio_has_the_default_labels_of_istios_source() {
    let source = istio_source().await;
    let labels = between(&source, "EnvoyJSONLogFormatIstio = ", "\n\t}\n");
    let labels: BTreeMap<String, String> = labels
        .lines()
        .filter(|line| line.contains("StringValue: "))
        .map(|line| match literals(line).as_slice() {
            [name, value] => (name.clone(), value.clone()),
            other => panic!("{line}: {other:?}"),
        })
        .collect();
    assert!(labels.len() > 20, "{labels:?}");
    assert_eq!(otlp_attributes(&istio(Encoding::Json)), OtlpFormat::Attributes(labels));
}

#[test]
fn literals_of_go_are_read_with_their_escapes() {
    assert_eq!(literals(r#"= "a \"b\" " + "c\n" // x"#), ["a \"b\" ", "c\n"]);
}
