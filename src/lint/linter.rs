//! Files one after the other, and then what all of them together say.
//!
//! An object is judged when its file is read, and forgotten but for the few facts that policies are judged by. Only one
//! whose judgement asks who reads it, which another file may say, is kept until the end.

use super::findings::{Finding, Judge, Judged, Options};
use super::located::Located;
use super::policies::{self, Noted};
use super::sources;
use crate::format::Dialect;
use crate::yaml::YamlError;

/// A file that was checked.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it was called.
    pub name: String,
    /// Its text; empty where nothing was found.
    pub text: String,
    /// What was found, in the order of the file.
    pub findings: Vec<Finding>,
}

/// Checks files that belong together.
#[derive(Debug)]
pub struct Linter {
    options: Options,
    files: Vec<Checked>,
    facts: Vec<Noted>,
    waiting: Vec<Waiting>,
}

/// An object whose judgement depends on who reads it.
#[derive(Debug)]
struct Waiting {
    file: usize,
    object: Located,
    /// What holds if no file says who reads it.
    judged: Judged,
}

impl Linter {
    /// Without files.
    pub const fn new(options: Options) -> Self {
        Self {
            options,
            files: Vec::new(),
            facts: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Takes a file.
    ///
    /// # Errors
    /// Where it is no YAML; it is then none of the files.
    pub fn add(&mut self, name: String, text: String) -> Result<(), YamlError> {
        let objects = Located::of_file(&text)?.into_iter().flat_map(sources::objects);
        let file = self.files.len();
        self.files.push(Checked {
            name,
            text: String::new(),
            findings: Vec::new(),
        });
        let mut is_needed = false;
        for object in objects {
            let judged = judge(&object, self.options);
            if judged.asked_for_mesh && self.options.mesh.is_none() {
                self.waiting.push(Waiting { file, object, judged });
                is_needed = true;
            } else {
                is_needed |= !judged.findings.is_empty() || !judged.facts.is_empty();
                self.take(file, judged);
            }
        }
        if let Some(checked) = self.files.get_mut(file).filter(|_| is_needed) {
            checked.text = text;
        }
        Ok(())
    }

    /// All files in the order in which they came, with all that was found.
    pub fn finish(mut self) -> Vec<Checked> {
        let waiting = std::mem::take(&mut self.waiting);
        let waiting_facts = waiting.iter().flat_map(|waiting| &waiting.judged.facts);
        let facts = self.facts.iter().map(|noted| &noted.fact).chain(waiting_facts);
        let mesh = self.options.mesh.or_else(|| policies::mesh(facts));
        for Waiting { file, object, judged } in waiting {
            let judged = match mesh {
                Some(mesh) => self.judge_for(&object, mesh),
                None => judged,
            };
            self.take(file, judged);
        }
        let names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        for (file, finding) in policies::check(&self.facts, &names) {
            self.found(file, [finding]);
        }
        for file in &mut self.files {
            let place = |finding: &Finding| (finding.place.start, finding.place.end);
            file.findings.sort_by_key(place);
            if file.findings.is_empty() {
                file.text = String::new();
            }
        }
        self.files
    }

    fn judge_for(&self, object: &Located, mesh: Dialect) -> Judged {
        let options = Options {
            mesh: Some(mesh),
            ..self.options
        };
        judge(object, options)
    }

    fn take(&mut self, file: usize, judged: Judged) {
        self.found(file, judged.findings);
        self.facts.extend(judged.facts.into_iter().map(|fact| Noted {
            file,
            resource: judged.resource.clone(),
            fact,
        }));
    }

    fn found(&mut self, file: usize, findings: impl IntoIterator<Item = Finding>) {
        if let Some(checked) = self.files.get_mut(file) {
            checked.findings.extend(findings);
        }
    }
}

fn judge(object: &Located, options: Options) -> Judged {
    let mut judge = Judge::new(options);
    sources::judge(object, &mut judge);
    policies::note(object, &mut judge);
    judge.into_judged(object)
}
