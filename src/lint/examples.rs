//! What each code looks like: a file that gives it, and the same file mended. They are files of `src/lint/examples`, one
//! folder for each code, to be read and linted as they stand; a test lints them all.
//!
//! A new code needs `examples/SL123/bad.yaml`, `examples/SL123/mended.yaml` and a line in the list here.

use super::codes::Code;

/// A file that gives a code, and the same file without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    id: &'static str,
    /// Gives the code.
    pub bad: &'static str,
    /// Gives nothing at all.
    pub mended: &'static str,
}

impl Example {
    /// That of a code.
    pub fn of(code: &Code) -> Option<&'static Self> {
        EXAMPLES.iter().find(|example| example.id == code.id)
    }
}

macro_rules! examples {
    ($($id:literal)*) => {
        const EXAMPLES: &[Example] = &[$(Example {
            id: $id,
            bad: include_str!(concat!("examples/", $id, "/bad.yaml")),
            mended: include_str!(concat!("examples/", $id, "/mended.yaml")),
        }),*];
    };
}

examples! {
    "SL001" "SL002" "SL003" "SL004" "SL005" "SL006" "SL007" "SL008" "SL009" "SL010" "SL011" "SL012" "SL013" "SL014"
    "SL015" "SL016" "SL017"
    "SL050" "SL051" "SL052" "SL053" "SL054" "SL055" "SL056" "SL057" "SL058"
    "SL100" "SL101" "SL102" "SL103" "SL104" "SL105" "SL106" "SL107" "SL108"
    "SL150" "SL151" "SL152" "SL153" "SL154"
    "SL200"
    "SL300" "SL301" "SL302" "SL303" "SL304" "SL305" "SL306" "SL307" "SL308" "SL309" "SL310" "SL311" "SL312" "SL313"
    "SL320" "SL321" "SL322" "SL323" "SL324" "SL325" "SL326" "SL327" "SL328" "SL329" "SL330" "SL331"
    "SL340" "SL341" "SL342" "SL343" "SL344"
    "SL360" "SL361" "SL370" "SL380" "SL381" "SL382"
}

#[cfg(test)]
mod tests {
    use super::super::codes::TABLE;
    use super::super::{Options, lint};
    use super::*;
    use crate::format::EnvoyVersion;

    fn found(text: &str) -> Vec<&'static str> {
        let options = Options {
            oldest: EnvoyVersion::OLDEST_SUPPORTED,
            mesh: None,
        };
        let findings = lint(text, options).unwrap_or_else(|error| panic!("{error}\n{text}"));
        findings.iter().map(|finding| finding.code.id).collect()
    }

    #[test]
    fn each_code_has_an_example_that_gives_it_and_one_that_gives_nothing() {
        let mut wrong = Vec::new();
        for code in TABLE {
            let (id, name) = (code.id, code.name);
            let Some(example) = Example::of(code) else {
                wrong.push(format!(
                    "{id} ({name}) has no example: write src/lint/examples/{id}/bad.yaml, a file that gives it, and \
                     src/lint/examples/{id}/mended.yaml, the same file without any finding; then add \"{id}\" to the list in \
                     src/lint/examples.rs and run make generate"
                ));
                continue;
            };
            let (bad, mended) = (found(example.bad), found(example.mended));
            if !bad.contains(&id) {
                wrong.push(format!(
                    "src/lint/examples/{id}/bad.yaml has to give {id} and gives {bad:?}"
                ));
            }
            if !mended.is_empty() {
                wrong.push(format!("src/lint/examples/{id}/mended.yaml gives {mended:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn an_example_is_of_a_code_of_the_table() {
        let unknown = |example: &&Example| Code::find(example.id).is_none();
        assert_eq!(EXAMPLES.iter().find(unknown), None);
    }
}
