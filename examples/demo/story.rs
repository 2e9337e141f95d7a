//! What the demo prints: headings, commands, what happened. Colours only on a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

use serde_json::{Map, Value};
use sightline::yaml;

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// The story on stdout.
pub struct Story {
    colours: bool,
    started: Instant,
    steps: u32,
    checks: u32,
}

impl Story {
    pub fn begin() -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            colours,
            started: Instant::now(),
            steps: 0,
            checks: 0,
        }
    }

    /// The heading of the next step.
    pub fn step(&mut self, title: &str) {
        self.steps += 1;
        let line = self.paint(BOLD, &format!("{}. {title}", self.steps));
        print(&format!("\n{line}\n"));
    }

    /// A command that is run now.
    pub fn command(&self, line: &str) {
        print(&format!("  {} {}", self.paint(DIM, "$"), self.paint(CYAN, line)));
    }

    /// Output of a command, or a remark.
    #[expect(clippy::unused_self, reason = "all that is printed goes through the story")]
    pub fn text(&self, text: &str) {
        text.trim_end()
            .lines()
            .for_each(|line| print(format!("  {line}").trim_end()));
    }

    /// Something that was checked and holds.
    pub fn holds(&mut self, what: &str) {
        self.checks += 1;
        print(&format!("  {} {what}", self.paint(GREEN, "✓")));
    }

    /// An object as YAML, shortened.
    pub fn object(&self, object: &Value) -> anyhow::Result<()> {
        let yaml = yaml::to_yaml(&shortened(object))?;
        yaml.lines()
            .for_each(|line| print(self.paint(DIM, &format!("    {line}")).trim_end()));
        print("");
        Ok(())
    }

    /// The last line.
    pub fn all_went_well(&self) {
        let line = format!(
            "All went well: {} steps, {} checks, {:.0} s.",
            self.steps,
            self.checks,
            self.started.elapsed().as_secs_f64()
        );
        print(&format!("\n{}", self.paint(GREEN, &line)));
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A reader that went away (`make demo | head`) is no reason to leave a cluster behind.
fn print(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// Long annotations: what kubectl remembers of the last apply, and what Sightline notes of where each entry comes from.
const LONG_ANNOTATIONS: [&str; 2] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "sightline.dev/sources",
];

/// The object without status, without long annotations, and without the metadata that the API server sets.
fn shortened(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
        if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
            let keep = ["name", "namespace", "labels", "annotations"];
            let kept = keep
                .iter()
                .filter_map(|key| metadata.remove(*key).map(|value| ((*key).to_owned(), value)));
            *metadata = kept.collect::<Map<_, _>>();
            if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                annotations.retain(|name, _| !LONG_ANNOTATIONS.contains(&name.as_str()));
                if annotations.is_empty() {
                    metadata.remove("annotations");
                }
            }
        }
        // The API server gives members back in alphabetical order: start as people write.
        let mut sorted = Map::new();
        for key in ["apiVersion", "kind", "metadata"] {
            sorted.extend(members.remove(key).map(|value| (key.to_owned(), value)));
        }
        sorted.append(members);
        *members = sorted;
    }
    object
}
