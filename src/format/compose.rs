//! A preset plus fields minus what is omitted, in either encoding.

use serde_json::{Map, Value};

use super::checker::{self, Findings, Reader};
use super::diagnostic::{Diagnostic, Kind, nearest};
use super::presets::PresetField;
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
    let mut map: Map<String, Value> = preset_fields(preset)
        .iter()
        .filter(|field| !is_omitted(spec, field.name))
        .map(|field| (field.name.to_owned(), Value::from(field.value)))
        .collect();
    check_nesting(spec, preset, findings);
    for field in &spec.fields {
        let keys = keys(field);
        if keys.len() <= DEEPEST {
            insert(&mut map, &keys, &field.value);
        }
    }
    if map.is_empty() {
        findings
            .errors
            .push(nothing_left(if preset.is_some() { "omit" } else { "fields" }));
    }
    map
}

/// Most keys that lead to a nested field. Envoy 1.36 and 1.40 read 33 and refuse 40 in a configuration file; a message
/// of xDS stands some levels deeper.
const DEEPEST: usize = 16;

/// The keys that lead to a field, from the outside in.
fn keys(field: &Field) -> Vec<&str> {
    if field.nest {
        field.name.split('.').collect()
    } else {
        vec![&field.name]
    }
}

/// An entry that is there keeps its place. Where a value stands in the way, that was reported.
fn insert(map: &mut Map<String, Value>, keys: &[&str], value: &str) {
    match keys {
        [] => {}
        [key] => {
            map.insert((*key).to_owned(), Value::from(value));
        }
        [key, inner @ ..] => {
            let object = map.entry(*key).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(object) = object {
                insert(object, inner, value);
            }
        }
    }
}

/// A name is that of a value or of an object, not of both.
fn check_nesting(spec: &FormatSpec, preset: Option<Preset>, findings: &mut Findings) {
    let preset_names: Vec<&str> = preset_fields(preset)
        .iter()
        .map(|field| field.name)
        .filter(|name| !is_omitted(spec, name) && !is_replaced(spec, name))
        .collect();
    for (index, field) in spec.fields.iter().enumerate() {
        let own = keys(field);
        let mut conflict = |message: &str, help: &str| {
            let path = format!("fields[{}].name", field.name);
            let whole = 0..field.name.len();
            let conflict = Diagnostic::at(Kind::Conflict, &path, &field.name, whole, message, help);
            findings.errors.push(conflict);
        };
        for earlier in spec.fields.iter().take(index) {
            let (value, member) = if leads_through(&own, &keys(earlier)) {
                (&earlier.name, &field.name)
            } else if leads_through(&keys(earlier), &own) {
                (&field.name, &earlier.name)
            } else {
                continue;
            };
            let message = format!("`{value}` is a field with a value, so `{member}` cannot be inside it");
            conflict(&message, "rename one of them");
        }
        if let Some(value) = preset_names.iter().find(|name| leads_through(&own, &[**name])) {
            let message = format!(
                "`{value}` is a field of the preset, so `{}` cannot be inside it",
                field.name
            );
            conflict(&message, &format!("rename the field, or write `{value}` in `omit`"));
        }
    }
}

/// Whether `outer` is on the way to `keys`, and not its end.
fn leads_through(keys: &[&str], outer: &[&str]) -> bool {
    keys.len() > outer.len() && keys.starts_with(outer)
}

fn preset_fields(preset: Option<Preset>) -> &'static [PresetField] {
    preset.map_or(&[], |preset| preset.layout().fields)
}

/// Whether a field takes the place of the preset's of the same name.
fn is_replaced(spec: &FormatSpec, name: &str) -> bool {
    spec.encoding == Encoding::Json && spec.fields.iter().any(|field| field.name == name)
}

/// Access logs have the extensions that their operators need.
fn check(source: &str, path: &str, oldest: EnvoyVersion, findings: &mut Findings) {
    let extensions = true;
    checker::check(source, path, Reader { oldest, extensions }, findings);
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
    let preset_fields = preset_fields(preset);
    for field in preset_fields
        .iter()
        .filter(|field| !is_omitted(spec, field.name) && !is_replaced(spec, field.name))
    {
        check(field.value, &format!("preset[{}]", field.name), oldest, findings);
    }
    for name in &spec.omit {
        let path = format!("omit[{name}]");
        let known = || preset_fields.iter().map(|field| field.name);
        if is_replaced(spec, name) {
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
        match spec.encoding {
            Encoding::Text => check_text_field(field, &path, findings),
            Encoding::Json => check_keys(field, &path, findings),
        }
        // istiod adds the extension where it finds its operator in a text or in a member of the outermost object.
        let extensions = keys(field).len() == 1;
        let reader = Reader { oldest, extensions };
        checker::check(&field.value, &format!("{path}.value"), reader, findings);
    }
}

/// Each key of a nested name must be one.
fn check_keys(field: &Field, path: &str, findings: &mut Findings) {
    if !field.nest || field.name.is_empty() {
        return;
    }
    let mut error = |span, message: &str, help: &str| {
        let path = format!("{path}.name");
        let error = Diagnostic::at(Kind::InvalidField, &path, &field.name, span, message, help);
        findings.errors.push(error);
    };
    let keys = keys(field);
    if keys.len() > DEEPEST {
        let message = format!("the name nests {} deep, and {DEEPEST} is the most", keys.len());
        error(0..field.name.len(), &message, "write fewer dots");
    }
    let mut at = 0;
    for key in keys {
        if key.is_empty() {
            // The dot after it, or before it at the end.
            let dot = at.min(field.name.len() - 1);
            let help = "write a name on each side of a dot, such as `a.b`";
            error(dot..dot + 1, "a part of the nested name is empty", help);
            break;
        }
        at += key.len() + 1;
    }
}

/// ` name=value` must stay one column of one line.
fn check_text_field(field: &Field, path: &str, findings: &mut Findings) {
    if field.nest {
        findings.errors.push(Diagnostic::whole(
            Kind::InvalidField,
            &format!("{path}.nest"),
            "a text has no nested fields",
            "leave `nest` out, or set the encoding JSON",
        ));
    }
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
