//! All there is to say of one format string that somebody else wrote, into a configuration that is not ours.

use super::checker::{self, Findings, Reader};
use super::diagnostic::{Diagnostic, Kind};
use super::setting::{Dialect, Setting};
use super::{kuma, lint};

/// What a format string makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// A whole line of text.
    Line,
    /// A value: of a member of JSON, of an attribute.
    Value,
}

/// What was found in a format string. The path of each is `text`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What Envoy refuses.
    pub errors: Vec<Diagnostic>,
    /// What Envoy takes and nobody wants.
    pub warnings: Vec<Diagnostic>,
}

/// Judges a format string. `has_extensions`: whether the configuration names the formatter extension that
/// `REQ_WITHOUT_QUERY` needs; in a text that Istio reads it does so by itself.
pub fn judge(text: &str, form: Form, setting: Setting, has_extensions: bool) -> Judgement {
    let own_extensions = form == Form::Line && setting.dialect.adds_extensions();
    let reader = Reader {
        oldest: setting.oldest,
        extensions: has_extensions || own_extensions,
        kuma: setting.dialect.kuma(),
    };
    let mut findings = Findings::default();
    // Meshes take it for no format, and Envoy's own format then.
    if text.is_empty() && form == Form::Line && setting.dialect == Dialect::Envoy {
        let help = "write a text, or leave the format out for Envoy's own";
        let empty = Diagnostic::whole(Kind::Empty, "text", "the text is empty", help);
        findings.errors.push(empty);
    }
    checker::check(text, "text", reader, &mut findings);
    if let Some(version) = reader.kuma {
        kuma::check_replacements(text, "text", version, &mut findings);
    }
    lint::check(text, "text", setting, &mut findings);
    if form == Form::Line {
        lint::check_line(text, setting, &mut findings);
    }
    Judgement {
        errors: findings.errors,
        warnings: findings.warnings,
    }
}

/// Whether istiod finds an operator in a text for which it adds the formatter extension.
pub fn needs_extension(text: &str) -> bool {
    checker::needs_extension(text)
}
