//! The whole core, from documents to objects and statuses.
//!
//! Each folder `cases/CASE` is a case, and its name is the rule that it protects: `in.yaml` holds our resources and the
//! facts of a cluster, `out.yaml` what `sightline render --show-secrets -o plan` makes of them, and what it assumed.
//! `SIGHTLINE_UPDATE=1 cargo test --test render` (or `make golden`) writes `out.yaml` anew; review is the diff.
//!
//! A case whose `in.yaml` has the line `# Facts: complete` gets no assumption: what stands nowhere does not exist.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

mod kuma_elastic;
mod kuma_traps;
mod leaves;
mod properties;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sightline::cli::files::Document;
use sightline::cli::render::plan_value;
use sightline::cli::world::World;
use sightline::conditions::{ConditionType, Reason};
use sightline::plan::simulate::{Converged, converge};
use sightline::yaml::{read_documents, to_yaml};
use similar::TextDiff;

/// Fewest cases that there have to be: a folder that got lost is a rule that nobody watches any more.
const AT_LEAST: usize = 265;

/// The line that says that a case gives every fact.
const COMPLETE: &str = "# Facts: complete";

struct Case {
    name: String,
    folder: PathBuf,
    documents: Vec<Value>,
    complete: bool,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/render/cases");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    let read = |folder: PathBuf| {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(folder.join("in.yaml")).unwrap_or_else(|e| panic!("{name}/in.yaml: {e}"));
        Case {
            documents: read_documents(&text).unwrap_or_else(|e| panic!("{name}/in.yaml: {e}")),
            complete: text.lines().any(|line| line == COMPLETE),
            name,
            folder,
        }
    };
    folders.into_iter().map(read).collect()
}

/// The first moment of every simulation.
fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// Where documents come to rest, what was assumed for that, and the key of their hashes.
pub struct Outcome {
    converged: Converged,
    assumptions: Vec<String>,
    hash_key: Vec<u8>,
}

impl Outcome {
    /// Plays documents. The error is what `sightline render` would print before it exits with 2.
    pub fn of(documents: &[Value], complete: bool) -> Result<Self, String> {
        let documents = documents.iter().map(|object| Document {
            file: "in.yaml".into(),
            object: object.clone(),
        });
        let mut world = World::from_documents(documents.collect(), true).map_err(|problems| problems.join("\n"))?;
        let assumptions = if complete {
            Vec::new()
        } else {
            world.assume_missing_facts()
        };
        let hash_key = world.hash_key().to_vec();
        let converged = world.converge(start()).map_err(|error| error.to_string())?;
        Ok(Self {
            converged,
            assumptions,
            hash_key,
        })
    }

    /// As it stands in `out.yaml`.
    pub fn text(&self) -> String {
        let mut out = json!({"assumptions": self.assumptions});
        let plan = plan_value(&self.converged);
        out.as_object_mut().unwrap().extend(plan.as_object().unwrap().clone());
        to_yaml(&out).unwrap()
    }

    /// Plays on from where it rests: `Err` says what would be written, told or judged anew.
    pub fn rests(&self) -> Result<(), String> {
        let later = start().checked_add(SignedDuration::from_hours(24 * 365)).unwrap();
        let again =
            converge(self.converged.snapshot.clone(), later, &self.hash_key).map_err(|error| error.to_string())?;
        if again.writes > 0 || !again.events.is_empty() {
            return Err(format!(
                "{} writes; events {:?}; deleted {:?}; restarted {:?}",
                again.writes, again.events, again.deleted, again.restarts
            ));
        }
        if again.statuses != self.converged.statuses {
            return Err(format!(
                "statuses differ: {:#?}\n{:#?}",
                again.statuses, self.converged.statuses
            ));
        }
        Ok(())
    }
}

/// The documents reversed, and in a few orders that look random and are the same in every run.
fn orders(documents: &[Value]) -> Vec<Vec<Value>> {
    let mut orders = vec![documents.iter().rev().cloned().collect::<Vec<_>>()];
    let mut seed: usize = 0x2545_f491;
    for _ in 0..3 {
        let mut order = documents.to_vec();
        for i in (1..order.len()).rev() {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345) & 0x7fff_ffff;
            order.swap(i, (seed >> 8) % (i + 1));
        }
        orders.push(order);
    }
    orders
}

fn diff(old: &str, new: &str) -> String {
    TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(3)
        .header("expected", "rendered")
        .to_string()
}

#[test]
fn every_case_comes_out_as_recorded() {
    let update = std::env::var_os("SIGHTLINE_UPDATE").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let text = match Outcome::of(&case.documents, case.complete) {
            Ok(outcome) => outcome.text(),
            Err(error) => {
                wrong.push(format!("== {}\n{error}", case.name));
                continue;
            }
        };
        let file = case.folder.join("out.yaml");
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if update {
            std::fs::write(&file, &text).unwrap();
        } else if text != expected {
            wrong.push(format!("== {}\n{}", case.name, diff(&expected, &text)));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ; where the new result is right, run `make golden`\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_order_of_documents_means_nothing() {
    for case in cases() {
        let text = |documents: &[Value]| Outcome::of(documents, case.complete).map(|outcome| outcome.text());
        let expected = text(&case.documents).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        for order in orders(&case.documents) {
            let other = text(&order).unwrap_or_else(|e| panic!("{}: {e}", case.name));
            assert!(other == expected, "{}: {}", case.name, diff(&expected, &other));
        }
    }
}

#[test]
fn a_second_pass_writes_nothing() {
    for case in cases() {
        let outcome = Outcome::of(&case.documents, case.complete).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        outcome.rests().unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
}

/// `docs/reasons.md` says of which conditions a reason is: what the core gives stands there.
#[test]
fn every_condition_has_a_reason_that_the_docs_know_for_it() {
    for case in cases() {
        let outcome = Outcome::of(&case.documents, case.complete).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        for finding in outcome.converged.statuses.iter().flat_map(|status| &status.findings) {
            let entry = Reason::TABLE
                .iter()
                .find(|entry| entry.reason == finding.reason)
                .unwrap();
            assert!(
                finding.type_ == ConditionType::Ready || entry.of.contains(&finding.type_),
                "{}: {:?} of {:?}: add it to the table",
                case.name,
                finding.reason,
                finding.type_
            );
        }
    }
}

#[test]
fn every_rule_has_a_case_of_its_own() {
    let cases = cases();
    assert!(
        cases.len() >= AT_LEAST,
        "{} cases, {AT_LEAST} are expected",
        cases.len()
    );
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for case in &cases {
        let text = format!("{:?}", case.documents);
        let same = seen.insert(text, &case.name);
        assert_eq!(same, None, "{} and another case have the same in.yaml", case.name);
    }
}
