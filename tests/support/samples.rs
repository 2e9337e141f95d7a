//! The samples: those that the demo's world has everything for, and in folders of their own those that need another mesh.

use std::path::{Path, PathBuf};

/// The files of `config/samples` and of its folders, in order.
pub fn every_sample() -> Vec<PathBuf> {
    let pattern = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/samples/**/*.yaml");
    let files = glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap);
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    assert!(files.len() >= 10, "there are ten samples at least: {files:?}");
    files
}
