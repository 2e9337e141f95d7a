//! A preset plus fields minus what is omitted, in either encoding.

use serde_json::{Map, Value};

use super::checker::{Findings, check};
use super::diagnostic::{Diagnostic, Kind, nearest};
use super::version::EnvoyVersion;
use super::{Base, CompiledFormat, Encoding, Field, FormatSpec, Preset};

/// The format that the spec means. Where `findings` has errors afterwards, it is not to be used.
pub(super) fn compose(spec: &FormatSpec, oldest: EnvoyVersion, findings: &mut Findings) -> CompiledFormat {
    match (spec.encoding, &spec.base) {
        (Encoding::Text, Base::Text(text)) => CompiledFormat::Text(raw_text(spec, text, oldest, findings)),
        (Encoding::Text, Base::Preset(preset)) => CompiledFormat::Text(preset_text(spec, *preset, oldest, findings)),
        (Encoding::Text, Base::Empty) => {
            let help = "set `text` or `preset`, or the encoding JSON for fields alone";
            findings.errors.push(Diagnostic::whole(
                Kind::Empty,
                "text",
                "a text format without a text",
                help,
            ));
            CompiledFormat::Text(String::new())
        }
        (Encoding::Json, Base::Text(_)) => {
            let help = "set the encoding Text, or write `fields` instead";
            findings.errors.push(Diagnostic::whole(
                Kind::Conflict,
                "text",
                "`text` does not go with JSON",
                help,
            ));
            CompiledFormat::Json(Map::new())
        }
        (Encoding::Json, Base::Preset(preset)) => CompiledFormat::Json(json(spec, Some(*preset), oldest, findings)),
        (Encoding::Json, Base::Empty) => CompiledFormat::Json(json(spec, None, oldest, findings)),
    }
}

fn raw_text(spec: &FormatSpec, text: &str, oldest: EnvoyVersion, findings: &mut Findings) -> String {
    for (given, path) in [(!spec.fields.is_empty(), "fields"), (!spec.omit.is_empty(), "omit")] {
        if given {
            let message = format!("`{path}` does not go with `text`");
            let help = "write it into the text, or use `preset` instead of `text`";
            findings
                .errors
                .push(Diagnostic::whole(Kind::Conflict, path, &message, help));
        }
    }
    if text.is_empty() {
        let help = "write a text, or `preset: Istio` for the format that Istio takes for an empty one";
        findings
            .errors
            .push(Diagnostic::whole(Kind::Empty, "text", "the text is empty", help));
    }
    check(text, "text", oldest, findings);
    // Istio does the same; a text that ends its line itself is left alone.
    if text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n")
    }
}

fn preset_text(spec: &FormatSpec, preset: Preset, oldest: EnvoyVersion, findings: &mut Findings) -> String {
    check_fields(spec, oldest, findings);
    check_preset(spec, Some(preset), oldest, findings);
    let mut line = preset.layout().text(|name| is_omitted(spec, name));
    for field in &spec.fields {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&field.name);
        line.push('=');
        line.push_str(&field.value);
    }
    if line.is_empty() {
        findings.errors.push(nothing_left("omit"));
    }
    line.push('\n');
    line
}

fn json(
    spec: &FormatSpec,
    preset: Option<Preset>,
    oldest: EnvoyVersion,
    findings: &mut Findings,
) -> Map<String, Value> {
    check_fields(spec, oldest, findings);
    check_preset(spec, preset, oldest, findings);
    let preset_fields = preset.map_or(&[][..], |preset| preset.layout().fields);
    let mut map: Map<String, Value> = preset_fields
        .iter()
        .filter(|field| !is_omitted(spec, field.name))
        .map(|field| (field.name.to_owned(), Value::from(field.value)))
        .collect();
    for field in &spec.fields {
        // An entry that is there keeps its place.
        map.insert(field.name.clone(), Value::from(field.value.as_str()));
    }
    if map.is_empty() {
        findings
            .errors
            .push(nothing_left(if preset.is_some() { "omit" } else { "fields" }));
    }
    map
}

fn is_omitted(spec: &FormatSpec, name: &str) -> bool {
    spec.omit.iter().any(|omitted| omitted == name)
}

/// Istio would take an empty format for its own default.
fn nothing_left(path: &str) -> Diagnostic {
    Diagnostic::whole(
        Kind::Empty,
        path,
        "no field is left to print",
        "keep or add at least one field",
    )
}

/// The preset's operators that are still used must be known to the oldest proxy, and `omit` must name some of them.
fn check_preset(spec: &FormatSpec, preset: Option<Preset>, oldest: EnvoyVersion, findings: &mut Findings) {
    let preset_fields = preset.map_or(&[][..], |preset| preset.layout().fields);
    let replaces = |name: &str| spec.encoding == Encoding::Json && spec.fields.iter().any(|field| field.name == name);
    for field in preset_fields
        .iter()
        .filter(|field| !is_omitted(spec, field.name) && !replaces(field.name))
    {
        check(field.value, &format!("preset[{}]", field.name), oldest, findings);
    }
    for name in &spec.omit {
        let path = format!("omit[{name}]");
        let known = || preset_fields.iter().map(|field| field.name);
        if replaces(name) {
            let message = format!("`{name}` is both omitted and in `fields`");
            let help = "take it out of one of them; a field replaces the preset's of the same name by itself";
            findings.errors.push(Diagnostic::at(
                Kind::Conflict,
                &path,
                name,
                0..name.len(),
                &message,
                help,
            ));
        } else if !known().any(|known| known == name) {
            let message = match preset {
                Some(preset) => format!("the preset {preset:?} has no field `{name}`"),
                None => "there is no preset to take anything away from".to_owned(),
            };
            let help = match nearest(name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "leave it out".to_owned(),
            };
            findings.errors.push(Diagnostic::at(
                Kind::UnknownField,
                &path,
                name,
                0..name.len(),
                &message,
                &help,
            ));
        }
    }
}

fn check_fields(spec: &FormatSpec, oldest: EnvoyVersion, findings: &mut Findings) {
    for (index, field) in spec.fields.iter().enumerate() {
        let path = format!("fields[{}]", field.name);
        let name = |span, message: &str, help: &str| {
            Diagnostic::at(
                Kind::InvalidField,
                &format!("{path}.name"),
                &field.name,
                span,
                message,
                help,
            )
        };
        let whole = 0..field.name.len();
        if field.name.is_empty() {
            findings
                .errors
                .push(name(whole.clone(), "the name is empty", "name the field"));
        }
        if spec.fields.iter().take(index).any(|earlier| earlier.name == field.name) {
            findings
                .errors
                .push(name(whole, "the name is given twice", "keep one of them"));
        }
        if spec.encoding == Encoding::Text {
            check_text_field(field, &path, findings);
        }
        check(&field.value, &format!("{path}.value"), oldest, findings);
    }
}

/// ` name=value` must stay one column of one line.
fn check_text_field(field: &Field, path: &str, findings: &mut Findings) {
    let unfit = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '=' | '%');
    if let Some((at, found)) = field.name.char_indices().find(|(_, c)| unfit(*c)) {
        findings.errors.push(Diagnostic::at(
            Kind::InvalidField,
            &format!("{path}.name"),
            &field.name,
            at..at + found.len_utf8(),
            "a field name in text has no blank, `=` or `%`",
            "write letters, digits, `_` and `-`",
        ));
    }
    if let Some(at) = field.value.find(['\n', '\r']) {
        findings.errors.push(Diagnostic::at(
            Kind::InvalidField,
            &format!("{path}.value"),
            &field.value,
            at..at + 1,
            "a field in text stays on its line",
            "leave the line break out, or use `text` instead of `preset`",
        ));
    }
}
