//! An explanation as a tree for people.

use super::model::Explanation;

/// The text of an explanation.
pub fn text(explanation: &Explanation) -> String {
    format!("{}\n", explanation.name)
}
