//! Variables that the spec names itself (pure).

use super::{Block, EnvVar, Files, Telling};
use crate::crds::{EnvEntry, SETTABLE};

/// What the spec's own variables give to a container: each stands for itself, and where there are certificates they are
/// mounted with them.
pub fn blocks(env: &[EnvEntry], telling: Telling<'_>) -> Vec<Block> {
    // Stored before the list was what it is now, perhaps.
    let settable = env.iter().filter(|entry| SETTABLE.contains(&entry.name.as_str()));
    let vars = settable.map(|entry| EnvVar::new(&entry.name, &entry.value)).collect();
    let files = telling.exporter.tls().and_then(Files::of);
    vec![Block {
        reads_secrets: files.is_some(),
        files,
        ..Block::of_each(vars)
    }]
}
