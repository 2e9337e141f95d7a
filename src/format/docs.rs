//! Tables for `docs/format.md` and `docs/cost.md`, made of what the compiler itself goes by.

use std::fmt::Write as _;

use super::Preset;
use super::cost;
use super::presets::{Form, PresetField};
use super::setting::Traffic;
use super::table::{self, Availability, JsonType, Operator, Presence};
use super::version::EnvoyVersion;

/// The fields of every preset: of requests, and of TCP connections where they differ.
pub fn presets() -> String {
    let mut page = String::new();
    for preset in Preset::ALL {
        let name = preset.name();
        let http = preset.form(Traffic::Http);
        if preset.has_tcp_form() {
            heading(&mut page, name, "HTTP requests", http);
            heading(&mut page, name, "TCP connections", preset.form(Traffic::Tcp));
        } else {
            heading(&mut page, name, "all traffic", http);
        }
    }
    page
}

fn heading(page: &mut String, name: &str, of: &str, form: &Form) {
    let _ = write!(page, "\n### {name}: {of}\n\n");
    let text = form.text(|field| Some(field.value.into()));
    if text.is_empty() {
        page.push_str("JSON only.\n\n");
    } else {
        let _ = write!(page, "```text\n{text}\n```\n\n");
    }
    page.push_str("| field | value |\n| --- | --- |\n");
    for PresetField { name, value } in form.fields {
        let _ = writeln!(page, "| `{name}` | `{value}` |");
    }
}

/// What operators, and what stands around them, cost Envoy, for `docs/cost.md`.
pub fn costs() -> String {
    let mut page =
        String::from("\n| what | measured | weight | middle half | bytes |\n| --- | --- | --- | --- | --- |\n");
    for row in cost::rows() {
        let name = match row.kind {
            "operator" => format!("`{}`", row.name),
            "variant" => row.name.to_owned(),
            kind => format!("{kind}: {}", row.name),
        };
        let measured = row.measured.replace('|', "\\|");
        let bytes = if row.bytes == 0 {
            String::new()
        } else {
            row.bytes.to_string()
        };
        let _ = match row.weight {
            Some(weight) => {
                let (low, high) = row.spread;
                writeln!(page, "| {name} | `{measured}` | {weight} | {low}–{high} | {bytes} |")
            }
            None => writeln!(page, "| {name} | as `{measured}` |  |  |  |"),
        };
    }
    page
}

/// What each supported Envoy takes that the one before it does not, and then every operator.
pub fn operators() -> String {
    let mut page = String::from("\n| from | taken |\n| --- | --- |\n");
    let mut names: Vec<&str> = table::operator_names().collect();
    names.sort_unstable();
    let all = || names.iter().filter_map(|name| table::operator(name));
    for version in EnvoyVersion::supported() {
        let is_first = version == EnvoyVersion::OLDEST_SUPPORTED;
        let new: Vec<String> = all().flat_map(|operator| taken_since(operator, version)).collect();
        let new = match (is_first, new.is_empty()) {
            (true, _) => "all operators of the table below that name no version".to_owned(),
            (false, true) => "nothing new".to_owned(),
            (false, false) => new.join(", "),
        };
        let _ = writeln!(page, "| {version} | {new} |");
    }
    page.push_str("\n| operator | from | says something on | alone in JSON | remarks |\n");
    page.push_str("| --- | --- | --- | --- | --- |\n");
    for operator in all() {
        let on = match operator.traffic {
            Traffic::Both => "HTTP, TCP",
            Traffic::Http => "HTTP",
            Traffic::Tcp => "TCP",
        };
        let json = match operator.json {
            JsonType::String => "string",
            JsonType::Number => "number",
            JsonType::Any => "as it reads",
        };
        let syntax = operator.syntax.replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{syntax}` | {} | {on} | {json} | {} |",
            from(operator),
            remarks(operator)
        );
    }
    page
}

/// What of an operator came with this very version.
fn taken_since(operator: &Operator, version: EnvoyVersion) -> Vec<String> {
    let name = operator.name;
    let is_new = |presence: Presence| presence == Presence::OptionalSince(version);
    let whole = operator.availability == Availability::Since(version);
    let new = [
        whole.then(|| format!("`{name}`")),
        (!whole && is_new(operator.params)).then(|| format!("arguments of `{name}`")),
        (!whole && is_new(operator.length)).then(|| format!("a length of `{name}`")),
    ];
    new.into_iter().flatten().collect()
}

fn from(operator: &Operator) -> String {
    match operator.availability {
        Availability::Since(version) if version <= EnvoyVersion::OLDEST_SUPPORTED => String::new(),
        Availability::Since(version) => version.to_string(),
        Availability::AddedExtension(_) => "Istio only".to_owned(),
        Availability::NeedsExtension(_) | Availability::GenericProxy => "refused".to_owned(),
        Availability::Kuma(version) => format!("Kuma {version} only"),
    }
}

fn remarks(operator: &Operator) -> String {
    let since = |what: &str, presence: Presence| match presence {
        Presence::OptionalSince(version) => Some(format!("{what} from {version}")),
        _ => None,
    };
    let needs = match operator.availability {
        Availability::AddedExtension(extension) | Availability::NeedsExtension(extension) => {
            Some(format!("needs the extension `{extension}`"))
        }
        Availability::GenericProxy => Some("only for Envoy's generic proxy".to_owned()),
        Availability::Since(_) | Availability::Kuma(_) => None,
    };
    let defects = operator.defects.iter().map(|defect| {
        let with = match defect.options.as_slice() {
            [] => String::new(),
            options => format!(" with `{}`", options.join("` or `")),
        };
        format!("{} ({}{with}) in {}", defect.id, defect.effect, defect.releases)
    });
    let own = [
        needs,
        since("arguments", operator.params),
        since("a length", operator.length),
    ];
    let all: Vec<String> = own.into_iter().flatten().chain(defects).collect();
    all.join("; ")
}
