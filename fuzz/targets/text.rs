//! Any text as a format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sightline_fuzz::format::{Base, Encoding, FormatSpec, compile, unreadable_at};

fuzz_target!(|text: &str| {
    let spec = FormatSpec {
        encoding: Encoding::Text,
        base: Base::Text(text.to_owned()),
        fields: Vec::new(),
        omit: Vec::new(),
    };
    sightline_fuzz::hold(|path| (path == "text").then(|| text.to_owned()), |version| compile(&spec, version));
    if let Some(position) = unreadable_at(text) {
        assert!(text[position..].starts_with('%'), "{position} of {text:?}");
    }
});
