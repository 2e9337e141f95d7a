//! From a line of text to the fields of JSON, with names that a person would choose.

use super::diagnostic::{Diagnostic, FormatErrors};
use super::express::{Expressed, Inexpressible};
use super::parser::{self, OperatorUse, Part};
use super::setting::Traffic;
use super::table::{self, Grammar};
use super::{Field, Preset};

/// The fields of JSON that say what a text says: one for each operator, in order, each under a name of its own.
///
/// The name is the one that stands before the operator (`tenant=%REQ(X-TENANT)%`, `"code": %RESPONSE_CODE%`), else that of
/// Istio's default format for the same operator, else it is made of the operator's name or argument. Words between the
/// operators are lost: JSON has no place for them.
///
/// # Errors
///
/// Where the text cannot be read.
pub fn text_to_fields(text: &str) -> Result<Expressed<Vec<Field>>, FormatErrors> {
    let parsed = parser::parse(text);
    if let Some(error) = parsed.error {
        let error = Diagnostic::at(error.kind, "text", text, error.span, &error.message, &error.help);
        if let Some(errors) = FormatErrors::from_found(vec![error], || None) {
            return Err(errors);
        }
    }
    let (mut fields, mut lost): (Vec<Field>, Vec<Inexpressible>) = (Vec::new(), Vec::new());
    let mut before = String::new();
    for part in parsed.parts {
        match part {
            Part::Literal(literal) => before.push_str(literal),
            Part::Percent => before.push('%'),
            Part::Operator(operator) => {
                let (rest, given) = split_name(&before);
                lost.extend(word(rest));
                let name = given.map_or_else(|| name_of(&operator), str::to_owned);
                fields.push(Field {
                    name: unused(name, &fields),
                    value: Part::Operator(operator).to_string(),
                    nest: false,
                });
                before.clear();
            }
        }
    }
    lost.extend(word(&before));
    Ok(Expressed::new(fields, lost))
}

/// What stands before an operator, without the name that is given to it there: `NAME=`, `NAME: ` or `"NAME": "`.
fn split_name(before: &str) -> (&str, Option<&str>) {
    let quote = ['"', '\''];
    let named = before.trim_end_matches([' ', '"', '\'']);
    let Some(named) = named.strip_suffix(['=', ':']) else {
        return (before, None);
    };
    let named = named.trim_end().trim_end_matches(quote);
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    let rest = named.trim_end_matches(is_of_name);
    match named.get(rest.len()..) {
        Some(name) if name.chars().any(|c| c.is_ascii_alphabetic()) => (rest, Some(name)),
        _ => (before, None),
    }
}

/// Text that says something: with a letter or a digit.
fn word(text: &str) -> Option<Inexpressible> {
    let trimmed = text.trim_matches(|c: char| !c.is_alphanumeric());
    (!trimmed.is_empty()).then(|| Inexpressible::Literal(trimmed.to_owned()))
}

/// The name of Istio's default format for this operator, or of Kuma's, or one made of it.
fn name_of(operator: &OperatorUse<'_>) -> String {
    let without_length = OperatorUse {
        length: None,
        ..*operator
    };
    let written = Part::Operator(without_length).to_string();
    let known = [Preset::Istio, Preset::Kuma].iter().find_map(|preset| {
        let mut fields = preset.form(Traffic::Http).fields.iter();
        fields.find(|field| field.value == written).map(|field| field.name)
    });
    known.map_or_else(|| made_name(operator), str::to_owned)
}

fn made_name(operator: &OperatorUse<'_>) -> String {
    let name = operator.name;
    let arguments = operator.arguments.unwrap_or_default();
    let last = || arguments.rsplit(':').find(|part| !part.is_empty()).unwrap_or(name);
    let made = match table::operator(name).map(|operator| operator.grammar) {
        Some(Grammar::Header) => {
            // Where one of the two is a pseudo header, it is what the other stands for.
            let mut headers = arguments.split('?').filter(|header| !header.is_empty());
            let pseudo = arguments.split('?').find(|header| header.starts_with(':'));
            let header = pseudo.or_else(|| headers.next()).unwrap_or(name);
            let header = header.trim_start_matches(':');
            match name {
                "RESP" | "RESPONSE_HEADER" => format!("response_{header}"),
                "TRAILER" | "RESPONSE_TRAILER" => format!("trailer_{header}"),
                _ => header.to_owned(),
            }
        }
        Some(Grammar::Name) if name == "QUERY_PARAM" => format!("query_{arguments}"),
        Some(Grammar::Name) => arguments.to_owned(),
        Some(Grammar::Namespace | Grammar::Metadata) => last().to_owned(),
        Some(Grammar::FilterState) => arguments.split(':').next().unwrap_or(name).to_owned(),
        Some(Grammar::XfccKey) => format!("xfcc_{arguments}"),
        _ => name.to_owned(),
    };
    let lower = made.to_ascii_lowercase();
    let plain: String = lower
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let plain = plain.trim_matches('_');
    if plain.is_empty() {
        name.to_ascii_lowercase()
    } else {
        plain.to_owned()
    }
}

/// The name, with a number behind it where it is taken.
fn unused(name: String, fields: &[Field]) -> String {
    let is_taken = |name: &str| fields.iter().any(|field| field.name == name);
    if !is_taken(&name) {
        return name;
    }
    let numbered = (2..).map(|number: usize| format!("{name}_{number}"));
    let mut free = numbered.filter(|name| !is_taken(name));
    free.next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(text: &str) -> (Vec<(String, String)>, Vec<String>) {
        let expressed = text_to_fields(text).expect("readable");
        let fields = expressed.value.into_iter().map(|field| (field.name, field.value));
        let lost = expressed.lost.iter().map(ToString::to_string);
        (fields.collect(), lost.collect())
    }

    fn names(text: &str) -> Vec<String> {
        converted(text).0.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn istios_own_text_becomes_istios_own_json() {
        let form = Preset::Istio.form(Traffic::Both);
        let text = form.text(|field| Some(field.value.into()));
        let (mut fields, lost) = converted(&text);
        let known = form.fields.iter();
        let mut known: Vec<_> = known
            .map(|field| (field.name.to_owned(), field.value.to_owned()))
            .collect();
        fields.sort();
        known.sort();
        assert_eq!(fields, known);
        assert_eq!(lost, [""; 0]);
    }

    #[test]
    fn a_name_that_stands_before_an_operator_is_its_name() {
        assert_eq!(
            names(
                r#"tenant=%REQ(X-TENANT)% code: %RESPONSE_CODE% {"a.b": "%DURATION%", 'c' : %PROTOCOL%} @t="%START_TIME%""#
            ),
            ["tenant", "code", "a.b", "c", "@t"]
        );
        assert_eq!(names("12:%DURATION% =%PROTOCOL%"), ["duration", "protocol"], "no name");
    }

    #[test]
    fn names_are_made_of_what_the_operator_reads() {
        for (operator, name) in [
            ("%REQ(X-TENANT):20%", "x_tenant"),
            ("%REQ(X-HOST?:AUTHORITY)%", "authority"),
            ("%REQ(:AUTHORITY):9%", "authority"),
            ("%RESP(CONTENT-TYPE)%", "response_content_type"),
            ("%TRAILER(GRPC-MESSAGE)%", "trailer_grpc_message"),
            ("%DYNAMIC_METADATA(envoy.lua:user:id)%", "id"),
            ("%METADATA(CLUSTER:istio)%", "istio"),
            ("%FILTER_STATE(wasm.peer:PLAIN)%", "wasm_peer"),
            ("%ENVIRONMENT(POD_NAME)%", "pod_name"),
            ("%QUERY_PARAM(page)%", "query_page"),
            ("%CEL(request.path)%", "cel"),
            ("%START_TIME(%s)%", "start_time"),
            ("%UPSTREAM_CLUSTER%", "upstream_cluster"),
            ("%REQ(?)%", "req"),
        ] {
            assert_eq!(names(operator), [name], "{operator}");
        }
        assert_eq!(
            names("%REQ(A)% %REQ(A):3% a_2=%REQ(B)% %REQ(a)%"),
            ["a", "a_2", "a_2_2", "a_3"]
        );
    }

    #[test]
    fn words_without_an_operator_are_said_to_be_lost() {
        let (fields, lost) = converted("[%START_TIME%] took %DURATION%ms, 100%% of it");
        assert_eq!(fields.len(), 2);
        assert_eq!(
            lost,
            ["the text `took` is no field", "the text `ms, 100% of it` is no field"]
        );
        assert_eq!(converted("[%START_TIME%] \"%PROTOCOL%\" - ").1, [""; 0]);
    }

    #[test]
    fn a_text_that_cannot_be_read_is_refused_with_the_place() {
        let error = text_to_fields("100% of %PROTOCOL%").expect_err("a stray percent sign");
        assert!(error.to_string().starts_with("text, character 4, `%`"), "{error}");
    }
}
