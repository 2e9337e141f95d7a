//! What a code means, for people: `sightline lint --explain`, and the pages of `docs/lint`.

use std::fmt::Write as _;

use super::codes::{Code, TABLE};
use super::examples::Example;
use super::{Options, lint, text};
use crate::format::EnvoyVersion;

/// Where the page of a code stands in the repository.
pub fn page_path(code: &Code) -> String {
    format!("docs/lint/{}.md", code.id)
}

/// What `sightline lint --explain` prints.
pub fn explanation(code: &Code) -> String {
    let Code {
        id,
        name,
        severity,
        meaning,
        remedy,
    } = code;
    let mut said = format!("{id} {name} ({})\n\n{meaning}\n{remedy}\n", severity.as_str());
    if let Some(Example { bad, mended, .. }) = Example::of(code) {
        // Writing into a String does not fail.
        let _ = write!(said, "\nBad:\n\n{}\nMended:\n\n{}", indented(bad), indented(mended));
    }
    let _ = writeln!(said, "\nThe page: {}", page_path(code));
    said
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "  {line}");
        all
    })
}

/// The example of a code in Markdown; empty where there is none.
pub fn example(code: &Code) -> String {
    let Some(Example { bad, mended, .. }) = Example::of(code) else {
        return String::new();
    };
    format!("Bad:\n\n```yaml\n{bad}```\n\nMended:\n\n```yaml\n{mended}```\n")
}

/// `docs/lint/SL001.md`.
pub fn page(code: &Code) -> String {
    let Code {
        id,
        name,
        severity,
        meaning,
        remedy,
    } = code;
    let mut page = format!(
        "<!-- Generated from src/codes.rs and src/lint/examples/{id} by `make generate`; do not edit. -->\n\n\
         # {id}: {name}\n\nSeverity: {}. [All codes](README.md)\n\n{meaning}\n\n{remedy}\n",
        severity.as_str()
    );
    if let Some(Example { bad, mended, .. }) = Example::of(code) {
        let _ = write!(
            page,
            "\n## Bad\n\n```yaml\n{bad}```\n\n```text\n{}```\n\n## Mended\n\n```yaml\n{mended}```\n",
            reports(code, bad)
        );
    }
    page
}

/// What lint says of a code in its bad example.
fn reports(code: &Code, bad: &str) -> String {
    let options = Options {
        oldest: EnvoyVersion::OLDEST_SUPPORTED,
        mesh: None,
    };
    let findings = lint(bad, options).unwrap_or_default();
    let of_code = findings.iter().filter(|finding| finding.code == code);
    of_code.map(|finding| text::report("bad.yaml", bad, finding)).collect()
}

/// `docs/lint/README.md`.
pub fn index() -> String {
    let mut page = String::from(INTRO);
    for (title, range) in GROUPS {
        let codes: Vec<&Code> = TABLE.iter().filter(|code| range.contains(&number(code))).collect();
        if codes.is_empty() {
            continue;
        }
        let _ = write!(
            page,
            "\n## {title}\n\n| code | name | severity | meaning |\n| --- | --- | --- | --- |\n"
        );
        for code in codes {
            let Code {
                id,
                name,
                severity,
                meaning,
                ..
            } = code;
            let _ = writeln!(
                page,
                "| [{id}]({id}.md) | `{name}` | {} | {} |",
                severity.as_str(),
                meaning.replace('|', "\\|")
            );
        }
    }
    page
}

fn number(code: &Code) -> u16 {
    code.id.trim_start_matches("SL").parse().unwrap_or_default()
}

/// Numbers by what they are about, as `src/codes.rs` deals them out.
const GROUPS: &[(&str, std::ops::RangeInclusive<u16>)] = &[
    ("Formats that are refused", 1..=49),
    ("Formats that nobody wants", 50..=99),
    ("Filters", 100..=199),
    ("Files", 200..=299),
    ("Policies", 300..=399),
    ("Cost", 400..=499),
];

const INTRO: &str = "<!-- Generated from src/codes.rs and src/lint/docs.rs by `make generate`; do not edit. -->

# Codes of sightline lint

`sightline lint FILE…` finds broken access-log formats and filters before a proxy does, and policies that do not do what
they look like. What else stands in a file is left alone. The conditions of our resources name the same codes: `SL007 at
text, character 4, …`.

| read | where |
| --- | --- |
| Sightline | TrafficLog, TracingBackend, ObservabilityMesh |
| Istio | Telemetry, EnvoyFilter, WasmPlugin; MeshConfig in its ConfigMap, an IstioOperator, Sail's Istio, values of Helm (alone, in Argo CD's Application, in Flux's HelmRelease) |
| Kuma | MeshAccessLog, MeshTrace, Mesh, on Kubernetes and in universal form |
| Envoy | bootstraps, files of resources, ConfigMaps that hold them; Envoy Gateway's EnvoyProxy and EnvoyPatchPolicy |
| agents | SolarMesh's `grpc-logging`, environment of OpenTelemetry and interLink in workloads |

The files of one call are taken for those of one cluster: a provider that a Telemetry names is looked for in the MeshConfig
beside it. A text that cannot be read alone, such as a template of Helm, is told and makes the exit code 2.

```sh
sightline lint deploy/                      # files, folders, patterns in quotes, or - for standard input
sightline lint --cluster                    # what the cluster of the kubeconfig has
sightline lint --istio-version 1.30 deploy/ # for these proxies; --envoy-version, --kuma-version
sightline lint --text '%REQ(X-TENANT)%'     # one format
sightline lint --explain SL007              # a code, with an example
sightline lint -o sarif deploy/ > out.sarif # for code scanning; -o json for programs
sightline lint --cost deploy/               # what formats cost a proxy: docs/cost.md
```

The exit code is 0 where nothing is found at or over the bar (`--fail-on`), 1 where something is, 2 where something could
not be read. A code never changes its meaning, and one that goes out of use is not given again.

Each page has a file that gives the code, what is said of it, and the same file mended; they stand in
`src/lint/examples`.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_in_the_index_once() {
        let index = index();
        for code in TABLE {
            let link = format!("| [{0}]({0}.md) |", code.id);
            assert_eq!(index.matches(&link).count(), 1, "{}", code.id);
        }
    }

    #[test]
    fn a_page_shows_what_lint_says_of_its_bad_example() {
        for code in TABLE {
            let said = format!("{}[{}]: ", code.severity.as_str(), code.id);
            assert!(page(code).contains(&said), "{}", code.id);
        }
    }
}
