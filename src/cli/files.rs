//! Reading Kubernetes objects from files, folders and standard input.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::yaml;

/// An object, and the file that it stands in.
#[derive(Clone, Debug)]
pub struct Document {
    /// File, or `-`.
    pub file: String,
    /// The object.
    pub object: Value,
}

/// Files that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file system refused.
    #[error("{file}: {source}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text is no YAML.
    #[error("{file}: {source}")]
    Yaml {
        /// Which.
        file: String,
        /// Why.
        source: yaml::YamlError,
    },
    /// A document is no object with a kind.
    #[error("{file}: document {number} is no Kubernetes object: it needs apiVersion and kind")]
    NoObject {
        /// Which file.
        file: String,
        /// Which document, from 1.
        number: usize,
    },
    /// A pattern that is none.
    #[error("{file}: no such file, and no pattern such as '**/*.yaml': {source}")]
    Pattern {
        /// The pattern.
        file: String,
        /// Why.
        source: glob::PatternError,
    },
    /// A pattern without files.
    #[error("{file}: no file matches the pattern")]
    NoMatch {
        /// The pattern.
        file: String,
    },
    /// A folder without files.
    #[error("{file}: the folder holds no .yaml, .yml or .json file")]
    Empty {
        /// Which.
        file: String,
    },
}

/// Reads all objects of all paths: files, folders (with what is below them, sorted), `-`. Lists are taken apart.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Document>, FilesError> {
    let mut documents = Vec::new();
    for path in paths {
        for file in expand(path)? {
            read_file(&file, &mut documents)?;
        }
    }
    Ok(documents)
}

/// The files that a path means: itself, what is below a folder, or what matches a pattern such as `**/*.yaml`, sorted.
pub fn expand(path: &Path) -> Result<Vec<PathBuf>, FilesError> {
    if !path.is_dir() {
        let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[']));
        if let Some(pattern) = pattern.filter(|_| !path.exists()) {
            return matching(pattern);
        }
        return Ok(vec![path.to_owned()]);
    }
    let files = files_below(path)?;
    if files.is_empty() {
        return Err(FilesError::Empty {
            file: path.display().to_string(),
        });
    }
    Ok(files)
}

/// The files that match, sorted. What begins with a dot is left out, as a shell does; of folders that match, nothing counts.
fn matching(pattern: &str) -> Result<Vec<PathBuf>, FilesError> {
    let file = || pattern.to_owned();
    let options = glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };
    let matches = glob::glob_with(pattern, options).map_err(|source| FilesError::Pattern { file: file(), source })?;
    let matches = matches.filter(|path| !path.as_ref().is_ok_and(|path| path.is_dir()));
    let files: Vec<PathBuf> = matches.collect::<Result<_, _>>().map_err(|error| FilesError::Read {
        file: error.path().display().to_string(),
        source: error.into(),
    })?;
    if files.is_empty() {
        return Err(FilesError::NoMatch { file: file() });
    }
    Ok(files)
}

fn read_file(path: &Path, documents: &mut Vec<Document>) -> Result<(), FilesError> {
    let (file, text) = read_text(path)?;
    parse(&file, &text, documents)
}

/// What to call a file in messages, and its text. `-` is standard input.
pub fn read_text(path: &Path) -> Result<(String, String), FilesError> {
    let file = path.display().to_string();
    let read = if file == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    match read {
        Ok(text) => Ok((file, text)),
        Err(source) => Err(FilesError::Read { file, source }),
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, FilesError> {
    let failed = |source| FilesError::Read {
        file: folder.display().to_string(),
        source,
    };
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else if path
            .extension()
            .is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
        {
            files.push(path);
        }
    }
    Ok(files)
}

fn parse(file: &str, text: &str, documents: &mut Vec<Document>) -> Result<(), FilesError> {
    let read = yaml::read_documents(text).map_err(|source| FilesError::Yaml {
        file: file.to_owned(),
        source,
    })?;
    for (index, object) in read.into_iter().enumerate() {
        if object.get("kind").and_then(Value::as_str).is_none() || object.get("apiVersion").is_none() {
            return Err(FilesError::NoObject {
                file: file.to_owned(),
                number: index + 1,
            });
        }
        let is_list = object
            .get("kind")
            .and_then(Value::as_str)
            .is_some_and(|kind| kind.ends_with("List"));
        match object.get("items").and_then(Value::as_array).filter(|_| is_list) {
            Some(items) => documents.extend(items.iter().map(|item| Document {
                file: file.to_owned(),
                object: item.clone(),
            })),
            None => documents.push(Document {
                file: file.to_owned(),
                object,
            }),
        }
    }
    Ok(())
}
