//! Any text as a YAML file: what lint says of the place of a character is true.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use sightline_fuzz::lint::document::{Document, Node};

fuzz_target!(|text: &str| {
    for document in Document::read_all(text).unwrap_or_default() {
        walk(&document.root, text, &mut HashSet::new());
    }
});

fn walk(node: &Node, text: &str, seen: &mut HashSet<usize>) {
    if !seen.insert(node.identity()) {
        return;
    }
    for (key, value) in node.members() {
        walk(key, text, seen);
        walk(value, text, seen);
    }
    for item in node.items() {
        walk(item, text, seen);
    }
    if let Some(value) = node.as_str() {
        each_character_is_found(node, value, text);
    }
}

/// Where a character stands as itself, or something that stands for it, or (coarse) the whole string.
fn each_character_is_found(node: &Node, value: &str, text: &str) {
    let map = node.source_map(text);
    let whole = map.place(&(0..0));
    assert!(text.get(whole.clone()).is_some(), "{whole:?} in {text:?}");
    for (at, c) in value.char_indices().take(256) {
        let place = map.place(&(at..at + c.len_utf8()));
        let source = text.get(place.clone()).unwrap_or_else(|| panic!("{place:?} in {text:?}"));
        let stands_for_it = source.contains('\\') || source == "''" || source.trim().is_empty();
        assert!(
            place == whole || source.chars().eq([c]) || stands_for_it,
            "{c:?} of {value:?} is {source:?} in {text:?}"
        );
    }
}
