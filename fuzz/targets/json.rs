//! Any JSON object as a format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use sightline_fuzz::format::check_json;

fuzz_target!(|document: &str| {
    if let Ok(fields) = serde_json::from_str::<Map<String, Value>>(document) {
        sightline_fuzz::hold(|_| None, |version| check_json(&fields, version));
    }
});
