//! The operators of Envoy, read from `operators.tsv`: the table is data, so that a new Envoy is a new row.
//!
//! Columns `since`, `params` and `max_length` may hold a version: `params` of `1.38+` are optional since 1.38 and
//! forbidden before; `max_length` of `1.37+` likewise. `unsafe` lengths are documented but refused by Envoy. The last
//! column, `known_defects`, is left out where there is none.

use std::sync::LazyLock;

use super::setting::Traffic;
use super::version::{EnvoyVersion, KumaVersion};

/// The table, as it stands beside this file.
const SOURCE: &str = include_str!("operators.tsv");

/// The columns that must stand in the first line.
const HEADER: &str = "operator\targument_grammar\tscope\tsince\tnotes\tparams\tmax_length\tjson_type\tsince_basis\trequires\tseen_in\tsyntax\tknown_defects";

/// One operator of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operator {
    pub name: &'static str,
    pub grammar: Grammar,
    pub params: Presence,
    pub length: Presence,
    pub availability: Availability,
    /// The traffic on which it says something, whatever its arguments are.
    pub traffic: Traffic,
    /// What a value that is this operator alone becomes in JSON.
    pub json: JsonType,
    /// As the documentation writes it: `%REQ(X[?Y])[:Z]%`.
    pub syntax: &'static str,
    /// What is known to go wrong with it in some Envoys.
    pub defects: Vec<Defect>,
}

/// Types of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonType {
    String,
    Number,
    /// As what it reads: metadata, filter state or an expression.
    Any,
}

/// A known defect of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Defect {
    /// `CVE-2026-47220`
    pub id: &'static str,
    /// What happens: `crash`.
    pub effect: &'static str,
    /// The arguments one of which it takes; none: whatever the arguments are.
    pub options: Vec<&'static str>,
    /// The releases that have it, for a person: `1.37.0-1.37.4, 1.38.0-1.38.2`.
    pub releases: &'static str,
    /// The newest minor line with such a release.
    pub newest: EnvoyVersion,
}

/// Whether something may be written, or must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Forbidden,
    Optional,
    OptionalSince(EnvoyVersion),
    Required,
}

/// Where an operator can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Availability {
    /// In every substitution string since this version. (An HTTP operator prints `-` on TCP.)
    Since(EnvoyVersion),
    /// With a formatter extension that meshes add where they find the operator; on every supported Envoy.
    AddedExtension(&'static str),
    /// Only with a formatter extension that the meshes do not configure.
    NeedsExtension(&'static str),
    /// Only in the access log of Envoy's generic proxy.
    GenericProxy,
    /// Kuma replaces it before Envoy sees it, since this version.
    Kuma(KumaVersion),
}

/// The forms of arguments, one for each text of the column `argument_grammar`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    None,
    AllowWhitespaces,
    CelExpression,
    Coalesce,
    CommonDuration,
    FilterState,
    GrpcStatus,
    Header,
    Metadata,
    MaskPrefixLength,
    Name,
    Namespace,
    Path,
    QueryParams,
    ServerName,
    TimeFormat,
    XfccKey,
}

/// Formatter extensions that istiod adds where the operator is used: `reference/targets.md` §1.5. Extensions whose
/// operators became built in (`… before 1.34`) need nothing on a supported Envoy.
const EXTENSIONS_ADDED_BY_MESHES: [&str; 1] = ["envoy.formatter.req_without_query"];

struct Table {
    /// By [`bucket`], which few names have the same of: faster to search than by a hash of the whole name.
    operators: Vec<Vec<Operator>>,
    /// Rows that could not be read. A test proves that there is none.
    malformed: Vec<String>,
}

/// Some three for each operator.
const BUCKETS: usize = 512;

/// Of a name its length and three of its characters.
fn bucket(name: &str) -> usize {
    let bytes = name.as_bytes();
    let character = |at: usize| bytes.get(at).copied().map_or(0, usize::from);
    let (length, last) = (bytes.len(), bytes.len().saturating_sub(1));
    (length + 31 * character(0) + 67 * character(length / 2) + 5 * character(last)) % BUCKETS
}

static TABLE: LazyLock<Table> = LazyLock::new(|| read(SOURCE));

/// The operator of this name.
pub(super) fn operator(name: &str) -> Option<&'static Operator> {
    TABLE.get(name)
}

/// The names of all operators, in any order.
pub(super) fn operator_names() -> impl Iterator<Item = &'static str> {
    TABLE.operators.iter().flatten().map(|operator| operator.name)
}

impl Table {
    fn get(&self, name: &str) -> Option<&Operator> {
        let candidates = self.operators.get(bucket(name))?;
        candidates.iter().find(|operator| operator.name == name)
    }

    fn insert(&mut self, operator: Operator) {
        if let Some(bucket) = self.operators.get_mut(bucket(operator.name)) {
            bucket.push(operator);
        }
    }
}

fn read(source: &'static str) -> Table {
    let mut table = Table {
        operators: std::iter::repeat_with(Vec::new).take(BUCKETS).collect(),
        malformed: Vec::new(),
    };
    let mut lines = source.lines();
    if lines.next() != Some(HEADER) {
        table
            .malformed
            .push("the first line does not name the columns".to_owned());
    }
    for line in lines {
        match row(line) {
            Ok(operator) if table.get(operator.name).is_some() => {
                table.malformed.push(format!("`{}` stands twice", operator.name));
            }
            Ok(operator) => {
                table.insert(operator);
            }
            Err(reason) => table.malformed.push(format!("{reason}: {line}")),
        }
    }
    table
}

fn row(line: &'static str) -> Result<Operator, String> {
    let cells: Vec<&'static str> = line.split('\t').collect();
    let [
        name,
        grammar,
        scope,
        since,
        _notes,
        params,
        length,
        json_type,
        _basis,
        requires,
        _seen_in,
        syntax,
        ref more @ ..,
    ] = *cells
    else {
        return Err("not 12 or 13 columns".to_owned());
    };
    let defects = match *more {
        [] => Vec::new(),
        [defects] => defects.split("; ").map(defect).collect::<Result<_, _>>()?,
        _ => return Err("not 12 or 13 columns".to_owned()),
    };
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    {
        return Err("the name is not in upper case".to_owned());
    }
    Ok(Operator {
        name,
        grammar: argument_grammar(grammar)?,
        params: match params {
            "none" => Presence::Forbidden,
            "optional" => Presence::Optional,
            "required" => Presence::Required,
            version => Presence::OptionalSince(and_later(version)?),
        },
        length: match length {
            "no" | "unsafe" => Presence::Forbidden,
            "yes" => Presence::Optional,
            version => Presence::OptionalSince(and_later(version)?),
        },
        availability: availability(scope, since, requires)?,
        traffic: match scope {
            "http" => Traffic::Http,
            "tcp" => Traffic::Tcp,
            _ => Traffic::Both,
        },
        json: match json_type {
            "string" => JsonType::String,
            "number" => JsonType::Number,
            "any" => JsonType::Any,
            other => return Err(format!("no JSON type `{other}`")),
        },
        syntax,
        defects,
    })
}

fn argument_grammar(cell: &str) -> Result<Grammar, String> {
    Ok(match cell {
        "" => Grammar::None,
        "ALLOW_WHITESPACES" => Grammar::AllowWhitespaces,
        "EXPR" => Grammar::CelExpression,
        r#"{"operators":[...]}"# => Grammar::Coalesce,
        "START:END[:ms|us|ns]" => Grammar::CommonDuration,
        "KEY[:PLAIN|TYPED|FIELD[:FIELD_NAME]]" => Grammar::FilterState,
        "CAMEL_STRING|SNAKE_STRING|NUMBER" => Grammar::GrpcStatus,
        "X[?Y]" => Grammar::Header,
        "TYPE:NS[:KEY[:KEY]...]" => Grammar::Metadata,
        "MASK_PREFIX_LEN" => Grammar::MaskPrefixLength,
        "NAME" | "X" | "PATH[:WATCHED_DIR]" => Grammar::Name,
        "NS[:KEY[:KEY]...]" => Grammar::Namespace,
        "[WQ|NQ][:ORIG|PATH|ORIG_OR_PATH]" => Grammar::Path,
        "ORIG|DECODED" => Grammar::QueryParams,
        "SNI_ONLY|SNI_FIRST|HOST_FIRST[:ORIG|HOST|ORIG_OR_HOST]" => Grammar::ServerName,
        "FORMAT" => Grammar::TimeFormat,
        "by|hash|cert|chain|subject|uri|dns" => Grammar::XfccKey,
        other => return Err(format!("no argument grammar `{other}`")),
    })
}

fn availability(scope: &str, since: &str, requires: &'static str) -> Result<Availability, String> {
    if requires == "Kuma only: Envoy itself refuses it" {
        let since = match since {
            "" => KumaVersion::OLDEST_SUPPORTED,
            version => {
                let version = version.strip_prefix("Kuma ").unwrap_or(version);
                version.parse().map_err(|error| format!("{error}"))?
            }
        };
        return Ok(Availability::Kuma(since));
    }
    match scope {
        "generic-proxy" => return Ok(Availability::GenericProxy),
        "both" | "http" | "tcp" => {}
        other => return Err(format!("no scope `{other}`")),
    }
    if EXTENSIONS_ADDED_BY_MESHES.contains(&requires) {
        return Ok(Availability::AddedExtension(requires));
    }
    let built_in = match requires.split_once(" before ") {
        Some((_, version)) => version_of(version)? <= EnvoyVersion::OLDEST_SUPPORTED,
        None => requires == "built-in",
    };
    if !built_in {
        return Ok(Availability::NeedsExtension(requires));
    }
    Ok(Availability::Since(match since {
        "initial" => EnvoyVersion::new(1, 0),
        // Not older than this is known; no supported Envoy is older.
        bound => version_of(bound.strip_prefix("<=").unwrap_or(bound))?,
    }))
}

/// `ID: EFFECT[ with ARGUMENT|ARGUMENT] in RELEASES`, the newest release last.
fn defect(cell: &'static str) -> Result<Defect, String> {
    let malformed = || format!("no known defect `{cell}`");
    let (id, rest) = cell.split_once(": ").ok_or_else(malformed)?;
    let (what, releases) = rest.split_once(" in ").ok_or_else(malformed)?;
    let (effect, options) = what.split_once(" with ").unwrap_or((what, ""));
    let last = releases.rsplit([' ', '-']).next().ok_or_else(malformed)?;
    Ok(Defect {
        id,
        effect,
        options: options.split('|').filter(|option| !option.is_empty()).collect(),
        releases,
        newest: last.parse().map_err(|_| malformed())?,
    })
}

/// `1.37+`
fn and_later(cell: &str) -> Result<EnvoyVersion, String> {
    version_of(
        cell.strip_suffix('+')
            .ok_or_else(|| format!("neither a word of the column nor a version: `{cell}`"))?,
    )
}

/// The first minor version whose every patch has it: a patch (`1.31.1`) counts for the next one.
fn version_of(cell: &str) -> Result<EnvoyVersion, String> {
    let version: EnvoyVersion = cell.parse().map_err(|error| format!("{error}"))?;
    Ok(if cell.matches('.').count() > 1 {
        version.next_minor()
    } else {
        version
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_well_formed() {
        assert_eq!(TABLE.malformed, Vec::<String>::new());
        assert_eq!(operator_names().count(), SOURCE.lines().count() - 1);
    }

    #[test]
    fn a_malformed_row_is_found() {
        for (bad, reason) in [
            ("REQ\tX[?Y]", "not 12 or 13 columns"),
            ("req\t\tboth\t1.1\t\tnone\tno\tstring\t\tbuilt-in\tdocs\t", "upper case"),
            ("REQ\t\tudp\t1.1\t\tnone\tno\tstring\t\tbuilt-in\tdocs\t", "no scope"),
            (
                "REQ\tY\tboth\t1.1\t\tnone\tno\tstring\t\tbuilt-in\tdocs\t",
                "no argument grammar",
            ),
            (
                "REQ\t\tboth\tsoon\t\tnone\tno\tstring\t\tbuilt-in\tdocs\t",
                "no Envoy version",
            ),
            (
                "REQ\t\tboth\t1.1\t\tsome\tno\tstring\t\tbuilt-in\tdocs\t",
                "nor a version",
            ),
            (
                "REQ\t\tboth\t1.1\t\tnone\tmaybe\tstring\t\tbuilt-in\tdocs\t",
                "nor a version",
            ),
            ("REQ\t\tboth\t1.1\t\tnone\tno\tdate\t\tbuilt-in\tdocs\t", "no JSON type"),
            (
                "REQ\t\tboth\t1.1\t\tnone\tno\tany\t\tbuilt-in\tdocs\t\tCVE-1 in all",
                "no known defect",
            ),
            (
                "REQ\t\tboth\t1.1\t\tnone\tno\tany\t\tbuilt-in\tdocs\t\tCVE-1: crash in all",
                "no known defect",
            ),
        ] {
            let error = row(bad).expect_err(bad);
            assert!(error.contains(reason), "{bad}: {error}");
        }
        assert_eq!(read("operator\nREQ").malformed.len(), 2);
    }

    #[test]
    fn operators_with_arguments_say_which_and_those_without_have_no_grammar() {
        for operator in TABLE.operators.iter().flatten() {
            let takes_none = operator.params == Presence::Forbidden;
            assert_eq!(operator.grammar == Grammar::None, takes_none, "{}", operator.name);
            assert!(
                operator.syntax.starts_with(&format!("%{}", operator.name)),
                "{}",
                operator.name
            );
            assert!(operator.syntax.ends_with('%'), "{}", operator.name);
        }
    }

    #[test]
    fn a_feature_of_a_patch_release_counts_from_the_next_minor() {
        let raw = operator("UPSTREAM_CLUSTER_RAW").unwrap();
        assert_eq!(raw.availability, Availability::Since(EnvoyVersion::new(1, 32)));
    }

    #[test]
    fn a_defect_has_its_effect_its_arguments_and_the_newest_line_that_has_it() {
        let defects = &operator("REQUESTED_SERVER_NAME").unwrap().defects;
        let read: Vec<_> = defects
            .iter()
            .map(|defect| (defect.id, defect.effect, defect.options.as_slice(), defect.newest))
            .collect();
        let expected: [(&str, &str, &[&str], EnvoyVersion); 2] = [
            (
                "CVE-2026-47220",
                "crash",
                &["HOST_FIRST", "SNI_FIRST"],
                EnvoyVersion::new(1, 38),
            ),
            ("CVE-2024-45808", "log injection", &[], EnvoyVersion::new(1, 31)),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn kumas_own_operators_know_the_kuma_that_brought_them() {
        for (name, since) in [
            ("KUMA_MESH", KumaVersion::OLDEST_SUPPORTED),
            ("KUMA_ZONE", KumaVersion::new(2, 14)),
        ] {
            assert_eq!(
                operator(name).unwrap().availability,
                Availability::Kuma(since),
                "{name}"
            );
        }
    }
}
