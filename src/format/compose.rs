//! A preset plus fields minus what is omitted, in either encoding.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::checker::{self, Findings, Reader};
use super::diagnostic::{Diagnostic, Kind, nearest};
use super::presets::PresetField;
use super::setting::Setting;
use super::{Base, CompiledFormat, Encoding, Field, FormatSpec, Preset, kuma, lint};

/// The format that the spec means. Where `findings` has errors afterwards, it is not to be used.
pub(super) fn compose(spec: &FormatSpec, setting: Setting, findings: &mut Findings) -> CompiledFormat {
    match (spec.encoding, &spec.base) {
        (Encoding::Text, Base::Text(text)) => CompiledFormat::Text(raw_text(spec, text, setting, findings)),
        (Encoding::Text, Base::Preset(preset)) => CompiledFormat::Text(preset_text(spec, *preset, setting, findings)),
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
        (Encoding::Json, Base::Preset(preset)) => CompiledFormat::Json(json(spec, Some(*preset), setting, findings)),
        (Encoding::Json, Base::Empty) => CompiledFormat::Json(json(spec, None, setting, findings)),
    }
}

fn raw_text(spec: &FormatSpec, text: &str, setting: Setting, findings: &mut Findings) -> String {
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
    check_own(text, "text", setting, true, findings);
    lint::check_line(text, setting, findings);
    // Meshes do the same; a text that ends its line itself is left alone.
    if text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n")
    }
}

fn preset_text(spec: &FormatSpec, preset: Preset, setting: Setting, findings: &mut Findings) -> String {
    check_fields(spec, setting, findings);
    check_preset(spec, Some(preset), setting, findings);
    if !preset.has_text() {
        let message = format!("the preset {} has no text: it is names for values", preset.name());
        let error = Diagnostic::whole(Kind::Conflict, "preset", &message, "set the encoding JSON");
        findings.errors.push(error);
        return String::new();
    }
    // What the mesh cannot say keeps its place, so that whoever takes the line apart finds the rest in theirs.
    let mut line = preset
        .form(setting.traffic)
        .text(|field| (!is_omitted(spec, field.name)).then(|| value_of(field, setting).unwrap_or(Cow::Borrowed("-"))));
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

fn json(spec: &FormatSpec, preset: Option<Preset>, setting: Setting, findings: &mut Findings) -> Map<String, Value> {
    check_fields(spec, setting, findings);
    check_preset(spec, preset, setting, findings);
    let mut map: Map<String, Value> = preset_fields(preset, setting)
        .iter()
        .filter(|field| !is_omitted(spec, field.name) && !is_nested_anew(spec, field.name))
        .filter_map(|field| Some((field.name.to_owned(), Value::from(value_of(field, setting)?))))
        .collect();
    check_nesting(spec, preset, setting, findings);
    warn_of_overwritten(spec, preset, setting, findings);
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
fn check_nesting(spec: &FormatSpec, preset: Option<Preset>, setting: Setting, findings: &mut Findings) {
    let preset_names: Vec<&str> = preset_fields(preset, setting)
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

fn preset_fields(preset: Option<Preset>, setting: Setting) -> &'static [PresetField] {
    preset.map_or(&[], |preset| preset.form(setting.traffic).fields)
}

/// What a field of a preset is in this mesh; `None` where the mesh cannot say it.
fn value_of(field: &PresetField, setting: Setting) -> Option<Cow<'static, str>> {
    match kuma::from_kuma(field.value, setting.dialect) {
        Ok(value) if value == field.value => Some(Cow::Borrowed(field.value)),
        Ok(value) => Some(Cow::Owned(value)),
        Err(_) => None,
    }
}

/// Whether a field takes the place of the preset's of the same name.
fn is_replaced(spec: &FormatSpec, name: &str) -> bool {
    spec.encoding == Encoding::Json && spec.fields.iter().any(|field| field.name == name)
}

/// Whether the field that replaces it stands elsewhere, inside objects.
fn is_nested_anew(spec: &FormatSpec, name: &str) -> bool {
    let nested = |field: &Field| field.name == name && keys(field).len() > 1;
    spec.fields.iter().any(nested)
}

fn warn_of_overwritten(spec: &FormatSpec, preset: Option<Preset>, setting: Setting, findings: &mut Findings) {
    let of_preset = |field: &Field| {
        preset_fields(preset, setting)
            .iter()
            .find(|known| known.name == field.name)
    };
    for (field, known) in spec.fields.iter().filter_map(|field| Some((field, of_preset(field)?))) {
        let name = &field.name;
        let message = format!(
            "`{name}` takes the place of the preset's field, which is `{}`",
            known.value
        );
        let path = format!("fields[{name}].name");
        let help = "rename it to have both, or ignore this if it is meant";
        let warning = Diagnostic::at(Kind::Overwrites, &path, name, 0..name.len(), &message, help);
        findings.warnings.push(warning);
    }
}

/// Checks a string. `is_outermost`: istiod adds an extension where it finds its operator in a text or in a member of the
/// outermost object.
fn check(source: &str, path: &str, setting: Setting, is_outermost: bool, findings: &mut Findings) {
    let reader = Reader {
        oldest: setting.oldest,
        extensions: setting.dialect.adds_extensions() && is_outermost,
        kuma: setting.dialect.kuma(),
    };
    checker::check(source, path, reader, findings);
    if let Some(version) = reader.kuma {
        kuma::check_replacements(source, path, version, findings);
    }
}

/// Checks a string that the user wrote.
fn check_own(source: &str, path: &str, setting: Setting, is_outermost: bool, findings: &mut Findings) {
    check(source, path, setting, is_outermost, findings);
    lint::check(source, path, setting, findings);
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
fn check_preset(spec: &FormatSpec, preset: Option<Preset>, setting: Setting, findings: &mut Findings) {
    for field in preset_fields(preset, setting)
        .iter()
        .filter(|field| !is_omitted(spec, field.name) && !is_replaced(spec, field.name))
    {
        let path = format!("preset[{}]", field.name);
        match value_of(field, setting) {
            Some(value) => {
                check(&value, &path, setting, true, findings);
                lint::check_defects(&value, &path, setting.oldest, findings);
            }
            None => findings.warnings.push(not_expressible(field, &path, spec.encoding)),
        }
    }
    for name in &spec.omit {
        let path = format!("omit[{name}]");
        let known = || preset.into_iter().flat_map(Preset::field_names);
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
                Some(preset) => format!("the preset {} has no field `{name}`", preset.name()),
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

/// A field that only Kuma can print.
fn not_expressible(field: &PresetField, path: &str, encoding: Encoding) -> Diagnostic {
    let instead = match encoding {
        Encoding::Text => "`-` stands in its place",
        Encoding::Json => "it is left out",
    };
    let message = format!(
        "only Kuma knows `{}`, and nothing means the same in this mesh: {instead}",
        field.value
    );
    let help = format!("write `{}` in `omit`", field.name);
    Diagnostic::whole(Kind::NotExpressible, path, &message, &help)
}

fn check_fields(spec: &FormatSpec, setting: Setting, findings: &mut Findings) {
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
        let is_outermost = keys(field).len() == 1;
        check_own(&field.value, &format!("{path}.value"), setting, is_outermost, findings);
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
