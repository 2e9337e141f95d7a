//! The compiler of formats and lint's places alone, from their own sources: to instrument all of what the operator depends
//! on would take minutes, and fuzz none of it.

#![allow(missing_docs, dead_code, unused_imports)]

#[path = "../src/cel/mod.rs"]
pub mod cel;
#[path = "../src/format/mod.rs"]
pub mod format;
#[path = "../src/yaml.rs"]
pub mod yaml;

/// Of lint, what knows where things stand.
#[path = "../src/lint"]
pub mod lint {
    pub mod document;
    pub mod source_map;
}

use format::{EnvoyVersion, FormatErrors};

/// The supported versions, and one on each side.
pub fn versions() -> impl Iterator<Item = EnvoyVersion> {
    (35..=41).map(|minor| EnvoyVersion::new(1, minor))
}

/// What holds for each format in any version: errors point into the text and are one line, and what an Envoy takes, those
/// after it take.
pub fn hold<T>(text_at: impl Fn(&str) -> Option<String>, check: impl Fn(EnvoyVersion) -> Result<T, FormatErrors>) {
    let mut taken = false;
    for version in versions() {
        match check(version) {
            Ok(_) => taken = true,
            Err(errors) => {
                assert!(!taken, "{version} refuses what the version before takes: {errors}");
                for error in errors.iter() {
                    assert!(!error.to_string().contains('\n'), "{error}");
                    if let Some(text) = text_at(&error.path) {
                        assert!(text.get(error.span.clone()).is_some(), "{error:?}");
                    }
                }
            }
        }
    }
}
