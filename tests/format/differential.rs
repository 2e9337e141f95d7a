//! Accepted here if and only if accepted there, in each supported version; and where Envoy says at which position it
//! stopped, we stop there too.

use std::collections::BTreeSet;

use serde_json::Value;
use sightline::format::{
    Base, Diagnostic, Encoding, EnvoyVersion, FormatErrors, FormatSpec, Kind, check_json, compile, unreadable_at,
};

use crate::differences::{DIFFERENCES, Difference};
use crate::envoy::{Release, Verdict, json_log, text_log, verdicts};
use crate::every_release;
use crate::generator::Generator;
use crate::record::expressions;

/// What a test is about: a format, in one of the encodings.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    Text(String),
    Json(Value),
}

impl Format {
    fn access_log(&self) -> Value {
        match self {
            Self::Text(text) => text_log(text),
            Self::Json(fields) => json_log(fields),
        }
    }

    pub fn check(&self, oldest: EnvoyVersion) -> Result<(), FormatErrors> {
        match self {
            Self::Text(text) => {
                let spec = FormatSpec {
                    encoding: Encoding::Text,
                    base: Base::Text(text.clone()),
                    fields: Vec::new(),
                    omit: Vec::new(),
                };
                compile(&spec, oldest).map(drop)
            }
            Self::Json(fields) => check_json(fields.as_object().unwrap(), oldest).map(drop),
        }
    }
}

/// How we and an Envoy disagree, if we do and not by design.
fn disagreement(format: &Format, version: EnvoyVersion, envoy: &Verdict) -> Option<String> {
    let ours = format.check(version);
    let errors: Vec<&Diagnostic> = ours.as_ref().err().into_iter().flat_map(FormatErrors::iter).collect();
    let by_design = |error: &&Diagnostic| DIFFERENCES.iter().any(|difference| difference.explains(error));
    match envoy {
        Verdict::Accepted if errors.iter().all(by_design) => None,
        Verdict::Refused(message) if ours.is_err() => {
            let first = errors.iter().copied().find(|error| !by_design(error));
            let same = match format {
                // Of several strings it is not said which is meant.
                Format::Json(_) => true,
                // The message ends at the first NUL.
                Format::Text(text) if text.contains('\0') => true,
                Format::Text(text) => first.is_none_or(|first| is_same(text, first, message)),
            };
            (!same).then(|| format!("Envoy says {message:?}, we say {first:?}"))
        }
        Verdict::Crashed if ours.is_err() => None,
        _ => Some(format!("Envoy: {envoy:?}, we: {errors:?}")),
    }
}

/// Whether the first of our errors is about what Envoy's message is about.
fn is_same(text: &str, first: &Diagnostic, message: &str) -> bool {
    let is_syntax = matches!(
        first.kind,
        Kind::StrayPercent
            | Kind::UnclosedPercent
            | Kind::UnclosedParenthesis
            | Kind::MisplacedParenthesis
            | Kind::LowerCase
            | Kind::InvalidLength
    );
    match message.split_once("Couldn't find valid command at position ") {
        Some((_, position)) => is_syntax && position.trim_end().parse().ok() == unreadable_at(text),
        None => {
            !is_syntax && (!message.contains("Not supported field in StreamInfo: ") || message.contains(&first.excerpt))
        }
    }
}

/// Whether we refuse the format for this reason and no other, whatever the version is.
pub fn is_refused_for(format: &Format, difference: &Difference) -> bool {
    Release::all().into_iter().all(|release| {
        let errors = format.check(release.version().unwrap()).err();
        errors.is_some_and(|errors| errors.iter().all(|error| difference.explains(error)))
    })
}

/// All that we and the Envoys disagree on.
pub async fn disagreements(formats: &[Format]) -> Vec<String> {
    let logs: Vec<Value> = formats.iter().map(Format::access_log).collect();
    let mut found = Vec::new();
    for (release, verdicts) in every_release(&logs).await {
        let version = release.version().unwrap();
        for (format, verdict) in formats.iter().zip(&verdicts) {
            if let Some(how) = disagreement(format, version, verdict) {
                found.push(format!("{} {format:?}: {how}", release.name()));
            }
        }
    }
    found
}

async fn agree(formats: &[Format]) {
    let found = disagreements(formats).await;
    let shown: Vec<&String> = found.iter().take(100).collect();
    assert!(
        found.is_empty(),
        "{} disagreements on {} formats: {shown:#?}",
        found.len(),
        formats.len()
    );
}

/// Strings of each kind that are made by chance. `SIGHTLINE_FORMATS=20000` makes more.
fn how_many() -> usize {
    std::env::var("SIGHTLINE_FORMATS").map_or(1_000, |count| count.parse().unwrap())
}

/// The seed; another one with `SIGHTLINE_SEED=n`, so that a run of CI does not fail by chance.
fn seed() -> u64 {
    let seed = std::env::var("SIGHTLINE_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("SIGHTLINE_SEED={seed}");
    seed
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operator_is_judged_with_each_of_its_arguments_as_every_envoy_judges_it() {
    let formats: Vec<Format> = Generator::exhaustive().into_iter().map(Format::Text).collect();
    assert!(formats.len() > 4_000, "{}", formats.len());
    agree(&formats).await;
}

/// The names of operators stand in the binary as they are written; all else that looks so is no operator for us either.
/// (An error shows 48 characters of a name.)
#[tokio::test(flavor = "multi_thread")]
async fn every_operator_that_the_newest_envoy_knows_is_in_the_table() {
    let newest = Release::newest().unwrap();
    let binary = std::fs::read(newest.program().await.unwrap()).unwrap();
    let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let words = binary.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    let names: BTreeSet<&str> = words
        .filter(|word| (3..=48).contains(&word.len()) && word.iter().all(|byte| is_name(*byte)))
        .filter_map(|word| std::str::from_utf8(word).ok())
        .collect();
    assert!(
        names.contains("UPSTREAM_CLUSTER_RAW") && names.len() > 10_000,
        "{}",
        names.len()
    );
    let formats: Vec<Format> = names.iter().map(|name| Format::Text(format!("%{name}%"))).collect();
    let logs: Vec<Value> = formats.iter().map(Format::access_log).collect();
    let said = verdicts(newest, &logs).await.unwrap();
    let version = newest.version().unwrap();
    let found = formats.iter().zip(&said);
    let found: Vec<String> = found
        .filter_map(|(format, said)| disagreement(format, version, said))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_and_mutated_texts_are_judged_as_every_envoy_judges_them() {
    let mut generator = Generator::new(seed());
    let texts: Vec<String> = (0..how_many()).map(|_| generator.text()).collect();
    let alone = Generator::exhaustive();
    let seeds = texts.iter().chain(alone.iter().step_by(alone.len() / how_many() + 1));
    let mutants: Vec<String> = seeds.map(|text| generator.mutant(text)).collect();
    let formats: Vec<Format> = texts.into_iter().chain(mutants).map(Format::Text).collect();
    agree(&formats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_json_formats_are_judged_as_every_envoy_judges_them() {
    let mut generator = Generator::new(seed());
    let formats: Vec<Format> = (0..how_many()).map(|_| Format::Json(generator.json())).collect();
    agree(&formats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_in_formats_are_judged_as_every_envoy_judges_them() {
    let mut generator = Generator::new(seed());
    let recorded = expressions();
    let mutants: Vec<String> = recorded
        .iter()
        .cycle()
        .take(how_many())
        .map(|e| generator.mutant(e))
        .collect();
    let operator = |expression: &String| Format::Text(format!("%CEL({expression})%"));
    let formats: Vec<Format> = recorded.iter().chain(&mutants).map(operator).collect();
    agree(&formats).await;
}
