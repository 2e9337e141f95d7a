//! What the matrix of scenarios and faults is printed from: a line for each cell that held.

use std::io::Write as _;
use std::path::Path;

use anyhow::Result;

/// Notes a cell that held. `tools/test.sh` makes the table of them.
pub fn record(fault: &str, scenario: &str, result: &str) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/matrix");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}.tsv", std::process::id()));
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    // One write of a whole line: tests run side by side.
    file.write_all(format!("{fault}\t{scenario}\t{result}\n").as_bytes())?;
    Ok(())
}
