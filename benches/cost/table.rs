//! `src/format/cost.tsv`: what to measure, and what it came to.

use std::fmt;

use anyhow::{Context as _, bail, ensure};

use crate::configuration::{Case, Setting};

const HEADER: &str = "kind\tname\tweight\tlow\thigh\tbytes\tsetting\tmeasured";
/// What weights are rounded to, times a power of ten: a step is at least as large as the spread of a busy machine.
const CLASSES: [f64; 8] = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0];

/// The file.
pub struct Table {
    rows: Vec<Vec<String>>,
}

/// The middle of what was measured, and its middle half.
pub struct Estimate {
    median: f64,
    low: f64,
    high: f64,
}

impl Estimate {
    /// Of one figure at least.
    pub fn of(mut figures: Vec<f64>) -> anyhow::Result<Self> {
        ensure!(!figures.is_empty(), "nothing was measured");
        figures.sort_by(f64::total_cmp);
        let at = |quarter: usize| figures[(figures.len() - 1) * quarter / 4];
        Ok(Self {
            median: at(2),
            low: at(1),
            high: at(3),
        })
    }

    /// The class that is nearest, by ratio.
    fn weight(&self) -> f64 {
        let figure = self.median.max(0.1);
        let power = 10_f64.powf(figure.log10().floor());
        let distance = |class: f64| (figure / (class * power)).ln().abs();
        let nearest = CLASSES.into_iter().min_by(|a, b| distance(*a).total_cmp(&distance(*b)));
        nearest.map_or(figure, |class| class * power)
    }
}

impl Table {
    /// Reads it.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines();
        ensure!(lines.next() == Some(HEADER), "the first line does not name the columns");
        let rows = lines
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect();
        Ok(Self { rows })
    }

    /// What is to be measured.
    pub fn cases(&self) -> anyhow::Result<Vec<Case>> {
        let mut cases = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            let [kind, name, _, _, _, _, setting, measured] = row.as_slice() else {
                bail!("line {}: not 8 columns", index + 2);
            };
            let setting = match setting.as_str() {
                "like" => continue,
                "direct" => Setting::Direct,
                "grpc" => Setting::Grpc,
                "proxied" => Setting::Proxied,
                "tls" => Setting::Tls,
                other => bail!("line {}: no setting `{other}`", index + 2),
            };
            cases.push(Case::of(index, kind, name, setting, measured)?);
        }
        Ok(cases)
    }

    /// Writes figures into a row.
    pub fn fill(&mut self, row: usize, estimate: &Estimate, bytes: Option<usize>) -> anyhow::Result<()> {
        let row = self.rows.get_mut(row).context("no such row")?;
        row[2] = tidy(estimate.weight());
        row[3] = format!("{:.2}", estimate.low);
        row[4] = format!("{:.2}", estimate.high);
        row[5] = bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        Ok(())
    }
}

/// Without the noise of binary fractions.
fn tidy(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{}", row.join("\t")))
    }
}
