//! `sightline preview`: the line that Envoy would print for a described request, without Envoy.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args, ValueEnum};
use serde_json::Value;

use super::files::{self, Document};
use crate::admission;
use crate::codes::Coded;
use crate::crds::{Encoding, FormatField, FormatPreset, LineFormat, LogFormat, ObservabilityMesh, TrafficLog};
use crate::explain::{marked, source_of};
use crate::format::preview::{Preview, Sample, preview};
use crate::format::{self, Diagnostic, Dialect, EnvoyVersion, KumaVersion, Setting, Traffic};
use crate::policy::formats;
use crate::snapshot::key_of;
use crate::yaml;

/// Text or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EncodingArg {
    /// One line of text.
    Text,
    /// One JSON object.
    Json,
}

/// Flags of `sightline preview`.
///
/// Exit code 0: printed. 1: a format is not one that Envoy takes. 2: the input could not be read.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").args(["paths", "preset", "text", "fields", "print_sample"]).multiple(true).required(true)))]
pub struct PreviewArgs {
    /// File, folder or - (standard input): the line of each TrafficLog and ObservabilityMesh in it is printed below its
    /// name. Repeatable.
    #[arg(short = 'f', long = "filename", value_name = "PATH", conflicts_with_all = ["preset", "text", "fields", "omit", "encoding", "omit_empty_values"])]
    paths: Vec<PathBuf>,
    /// A known format, as in spec.format.preset of a TrafficLog, such as Istio.
    #[arg(long, value_parser = preset)]
    preset: Option<FormatPreset>,
    /// A whole line, such as '%REQ(:METHOD)% %RESPONSE_CODE%'.
    #[arg(long, conflicts_with_all = ["preset", "fields", "omit"])]
    text: Option<String>,
    /// A field to add, such as 'tenant=%REQ(X-TENANT)%'. Repeatable.
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field)]
    fields: Vec<FormatField>,
    /// A field of the preset to leave out, by its JSON name, such as user_agent. Repeatable.
    #[arg(long, value_name = "NAME", requires = "preset")]
    omit: Vec<String>,
    /// How it is written. Default: json for fields alone, else text.
    #[arg(long, value_enum)]
    encoding: Option<EncodingArg>,
    /// Leave out what is absent, as omitEmptyValues of a format does.
    #[arg(long)]
    omit_empty_values: bool,
    /// JSON or YAML file, or -, that describes the request; what it leaves out is as in the built-in sample. Default: the
    /// built-in sample.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Preview a TCP connection: the built-in one. (A file describes one with request: null.)
    #[arg(long, conflicts_with = "request")]
    tcp: bool,
    /// The proxy's version. What a later Envoy brought is an error.
    #[arg(long, value_name = "VERSION", default_value_t = EnvoyVersion::OLDEST_SUPPORTED)]
    envoy_version: EnvoyVersion,
    /// Preview what Kuma of this version makes of it, with its own operators. Default: Istio, which has none.
    #[arg(long, value_name = "VERSION")]
    kuma_version: Option<KumaVersion>,
    /// Print the sample as YAML, to be edited and given to --request; nothing else.
    #[arg(long)]
    print_sample: bool,
}

fn preset(name: &str) -> Result<FormatPreset, String> {
    serde_json::from_value(Value::from(name)).map_err(|error| error.to_string())
}

fn field(text: &str) -> Result<FormatField, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write NAME=VALUE, such as 'tenant=%REQ(X-TENANT)%'")?;
    Ok(FormatField {
        name: name.to_owned(),
        value: value.to_owned(),
        nest: false,
    })
}

/// A format to preview, and what to call it.
struct Named {
    /// Empty for the format of the flags.
    of: String,
    format: LogFormat,
}

/// A line of a format, for a sample.
struct Previewed<'f> {
    /// What to add to the format's name.
    what: &'static str,
    line: &'f LineFormat,
    traffic: Traffic,
    sample: Sample,
}

impl PreviewArgs {
    /// Previews.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let input = self.sample().and_then(|sample| {
            let formats = if self.print_sample {
                Ok(Vec::new())
            } else {
                self.formats()
            };
            Ok((sample, formats?))
        });
        let (sample, formats) = match input {
            Ok(input) => input,
            Err(error) => {
                eprintln!("error: {error:#}");
                return Ok(ExitCode::from(2));
            }
        };
        if self.print_sample {
            print!("{}", yaml::to_yaml(&serde_json::to_value(&sample)?)?);
            return Ok(ExitCode::SUCCESS);
        }
        let mut refused = false;
        for named in &formats {
            for previewed in self.lines(&named.format, sample.clone()) {
                refused |= !self.print(&named.of, &previewed)?;
            }
        }
        Ok(if refused { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }

    fn sample(&self) -> anyhow::Result<Sample> {
        let Some(path) = &self.request else {
            return Ok(if self.tcp { Sample::tcp() } else { Sample::default() });
        };
        let (file, text) = files::read_text(path)?;
        let documents = yaml::read_documents(&text).map_err(|error| anyhow::anyhow!("{file}: {error}"))?;
        let document = match documents.as_slice() {
            [document] => document.clone(),
            _ => anyhow::bail!("{file}: one sample is needed; `sightline preview --print-sample` prints one to edit"),
        };
        serde_json::from_value(document).map_err(|error| anyhow::anyhow!("{file}: {error}"))
    }

    fn formats(&self) -> anyhow::Result<Vec<Named>> {
        if !self.paths.is_empty() {
            return of_documents(files::read(&self.paths)?);
        }
        let fields_alone = self.preset.is_none() && self.text.is_none();
        let encoding = match self.encoding {
            Some(EncodingArg::Json) => Encoding::Json,
            None if fields_alone => Encoding::Json,
            _ => Encoding::Text,
        };
        let line = LineFormat {
            encoding,
            preset: self.preset,
            text: self.text.clone(),
            fields: self.fields.clone(),
            omit: self.omit.clone(),
            omit_empty_values: self.omit_empty_values,
        };
        Ok(vec![Named {
            of: String::new(),
            format: LogFormat { line, tcp: None },
        }])
    }

    /// The lines of a format: that of the sample, and for the formats of files that of TCP connections, where it is another
    /// one and no request was described.
    fn lines<'f>(&self, format: &'f LogFormat, sample: Sample) -> Vec<Previewed<'f>> {
        let tcp = |sample| Previewed {
            what: ", TCP",
            line: format.tcp.as_ref().unwrap_or(&format.line),
            traffic: Traffic::Tcp,
            sample,
        };
        if sample.request.is_none() {
            return vec![tcp(sample)];
        }
        let has_tcp_line = formats::has_tcp_line(format);
        let http = Previewed {
            what: "",
            line: &format.line,
            traffic: if has_tcp_line { Traffic::Http } else { Traffic::Both },
            sample,
        };
        let asked_for_both = !self.paths.is_empty() && self.request.is_none();
        let tcp = (has_tcp_line && asked_for_both).then(|| tcp(Sample::tcp()));
        std::iter::once(http).chain(tcp).collect()
    }

    /// Prints a line, or why there is none; whether there is one.
    fn print(&self, of: &str, previewed: &Previewed<'_>) -> anyhow::Result<bool> {
        let Previewed {
            what,
            line,
            traffic,
            sample,
        } = previewed;
        let name = if of.is_empty() {
            String::new()
        } else {
            format!("{of}{what}: ")
        };
        let dialect = self.kuma_version.map_or(Dialect::Istio, Dialect::Kuma);
        let setting = Setting::new(dialect, self.envoy_version).with(*traffic);
        let compiled = match format::compile(&formats::spec(line), setting) {
            Ok(compiled) => compiled,
            Err(errors) => {
                for error in errors.iter() {
                    report("error", &name, line, error);
                }
                return Ok(false);
            }
        };
        for warning in &compiled.warnings {
            report("warning", &name, line, warning);
        }
        let Preview { line, untold } = preview(&compiled.format, line.omit_empty_values, sample, self.envoy_version);
        for (operator, reason) in untold {
            eprintln!("warning: {name}`{operator}` cannot be previewed: {reason}; <{operator}> stands there");
        }
        let mut out = std::io::stdout().lock();
        if !of.is_empty() {
            writeln!(out, "# {of}{what}")?;
        }
        out.write_all(&line)?;
        Ok(true)
    }
}

/// A finding, with carets below what is meant.
fn report(kind: &str, name: &str, line: &LineFormat, diagnostic: &Diagnostic) {
    eprintln!("{kind}: {name}{}", Coded(diagnostic));
    let source = source_of(line, &diagnostic.path);
    if let Some((text, carets)) = source.and_then(|source| marked(source, &diagnostic.span)) {
        eprintln!("  {text}\n  {carets}");
    }
}

/// The formats of our resources, by their names. A TrafficLog without one has that of the only mesh, if there is one.
fn of_documents(documents: Vec<Document>) -> anyhow::Result<Vec<Named>> {
    let mut meshes: Vec<(String, ObservabilityMesh)> = Vec::new();
    let mut logs: Vec<(String, TrafficLog)> = Vec::new();
    for Document { file, object } in documents {
        if !admission::is_ours(&object) {
            continue;
        }
        let admitted = admission::admit(&object)
            .map_err(|rejection| anyhow::anyhow!("{file}: {} {rejection}", rejection.headline()))?;
        let key = key_of(&admitted);
        match admitted.get("kind").and_then(Value::as_str) {
            Some("ObservabilityMesh") => meshes.push((key.name, serde_json::from_value(admitted)?)),
            Some("TrafficLog") => logs.push((key.to_string(), serde_json::from_value(admitted)?)),
            _ => {}
        }
    }
    anyhow::ensure!(
        !(meshes.is_empty() && logs.is_empty()),
        "no file holds a TrafficLog or an ObservabilityMesh; give one, or --preset, --text or --field"
    );
    let of_mesh = match meshes.as_slice() {
        [(_, mesh)] => Some(mesh.spec.logging.format.clone()),
        _ => None,
    };
    let mut formats: Vec<Named> = meshes
        .into_iter()
        .map(|(name, mesh)| Named {
            of: format!("ObservabilityMesh {name}"),
            format: mesh.spec.logging.format,
        })
        .collect();
    for (key, log) in logs.into_iter().filter(|(_, log)| !log.spec.disabled) {
        let of = format!("TrafficLog {key}");
        let format = log.spec.format.or_else(|| of_mesh.clone()).unwrap_or_else(|| {
            eprintln!(
                "assumed: {of} has the default format of a mesh; no file, or more than one, says what its mesh has"
            );
            LogFormat::default()
        });
        formats.push(Named { of, format });
    }
    Ok(formats)
}
