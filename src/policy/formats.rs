//! From the formats that users write to compiled ones.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::codes::Coded;
use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::{Encoding, FormatPreset, IstioMesh, LineFormat, LogFormat, ObservabilityMesh, Permission};
use crate::format::{self, CompiledFormat, Diagnostic, EnvoyVersion, FormatErrors, Preset, Setting, Traffic};
use crate::policy::membership::name_of;
use crate::policy::versions::oldest_proxy;
use crate::snapshot::View;

/// A compiled line, and whether what is absent is left out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The format.
    pub format: Arc<CompiledFormat>,
    /// Whether what is absent is left out.
    pub omit_empty_values: bool,
}

/// The lines of a format: of requests, and of TCP connections where they have one of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Of requests; of TCP connections too unless `tcp` is set.
    pub http: Line,
    /// Of TCP connections.
    pub tcp: Option<Line>,
    /// What proxies take and nobody wants.
    pub warnings: Vec<Warning>,
}

/// A warning of a format, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Path below the format: empty, or `.tcp`.
    pub path: &'static str,
    /// What is odd.
    pub diagnostic: Diagnostic,
}

/// Most warnings that a condition names.
const NAMED_WARNINGS: usize = 3;

impl Lines {
    /// The condition that the format is accepted with warnings, the gravest of them named; `place` is where it stands.
    pub fn warned(&self, place: &str) -> Option<Finding> {
        let mut gravest: Vec<&Warning> = self.warnings.iter().collect();
        gravest.sort_by_key(|warning| !warning.diagnostic.kind.is_grave());
        let named: Vec<String> = gravest
            .into_iter()
            .take(NAMED_WARNINGS)
            .map(|warning| format!("{place}{}: {}.", warning.path, Coded(&warning.diagnostic)))
            .collect();
        let more = match self.warnings.len().checked_sub(NAMED_WARNINGS) {
            None | Some(0) => String::new(),
            Some(more) => format!(" (And {more} more.)"),
        };
        (!named.is_empty()).then(|| {
            let message = format!("{}{more}", named.join(" "));
            Finding::holds(ConditionType::Accepted, Reason::AcceptedWithWarnings, message)
        })
    }
}

/// A format that does not compile, and where.
#[derive(Clone, Debug)]
pub struct BadFormat {
    /// Path below the format: empty, or `.tcp`.
    pub path: &'static str,
    /// What is wrong.
    pub errors: Arc<FormatErrors>,
}

/// Compiles the lines of a format.
///
/// # Errors
/// The first of them that does not compile for the oldest proxy.
pub fn lines(format: &LogFormat, setting: impl Into<Setting>) -> Result<Lines, BadFormat> {
    let setting = setting.into();
    let line = |path, line: &LineFormat, traffic| {
        let compiled = compile(line, setting.with(traffic)).map_err(|errors| BadFormat { path, errors })?;
        let written = Line {
            format: compiled.format,
            omit_empty_values: line.omit_empty_values,
        };
        let warnings = compiled.warnings.iter().cloned();
        let warnings: Vec<_> = warnings.map(|diagnostic| Warning { path, diagnostic }).collect();
        Ok((written, warnings))
    };
    if !has_tcp_line(format) {
        let (http, warnings) = line("", &format.line, Traffic::Both)?;
        let tcp = None;
        return Ok(Lines { http, tcp, warnings });
    }
    let (http, mut warnings) = line("", &format.line, Traffic::Http)?;
    let tcp = match &format.tcp {
        Some(own) => {
            let (tcp, of_tcp) = line(".tcp", own, Traffic::Tcp)?;
            warnings.extend(of_tcp);
            tcp
        }
        // The same words in the preset's other form: what there is to say of them was said.
        None => line("", &format.line, Traffic::Tcp)?.0,
    };
    let tcp = Some(tcp).filter(|tcp| *tcp != http);
    Ok(Lines { http, tcp, warnings })
}

/// Whether a format has a line of its own for TCP connections: written so, or its preset's.
pub fn has_tcp_line(format: &LogFormat) -> bool {
    let preset = format.line.preset.map(preset_of);
    format.tcp.is_some() || preset.is_some_and(Preset::has_tcp_form)
}

/// The oldest Envoy that a mesh's formats have to serve.
///
/// # Errors
/// The finding while that cannot be told.
pub fn oldest_envoy(view: &View<'_>, mesh: &ObservabilityMesh, istio: &IstioMesh) -> Result<EnvoyVersion, Finding> {
    match oldest_proxy(view, mesh, istio) {
        Ok(oldest) => Ok(oldest.version),
        Err(error) => Err(Finding::unknown(ConditionType::Accepted, error.reason, error.message)),
    }
}

/// A line that compiles.
#[derive(Clone)]
struct CompiledLine {
    format: Arc<CompiledFormat>,
    warnings: Arc<[Diagnostic]>,
}

/// What compiling a line gives.
type CompiledOrNot = Result<CompiledLine, Arc<FormatErrors>>;

/// Compiled lines by what was compiled.
type CompiledLines = HashMap<(LineFormat, Setting), CompiledOrNot>;

/// Most compiled lines that are remembered.
const REMEMBERED_LINES: usize = 4096;

/// Compiles a line as users write it.
///
/// Every pass over a namespace needs the formats of all its policies, and they seldom change: results are remembered,
/// by content, so that what is remembered can never be wrong.
fn compile(line: &LineFormat, setting: Setting) -> CompiledOrNot {
    static REMEMBERED: LazyLock<Mutex<CompiledLines>> = LazyLock::new(Mutex::default);
    let key = (line.clone(), setting);
    let mut remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(compiled) = remembered.get(&key) {
        return compiled.clone();
    }
    if remembered.len() >= REMEMBERED_LINES {
        remembered.clear();
    }
    let compiled = compile_anew(line, setting);
    remembered.insert(key, compiled.clone());
    compiled
}

const fn preset_of(preset: FormatPreset) -> Preset {
    match preset {
        FormatPreset::Istio => Preset::Istio,
        FormatPreset::Envoy => Preset::Envoy,
        FormatPreset::Kuma => Preset::Kuma,
        FormatPreset::Ecs => Preset::Ecs,
        FormatPreset::OpenTelemetry => Preset::OpenTelemetry,
    }
}

fn compile_anew(line: &LineFormat, setting: Setting) -> CompiledOrNot {
    let compiled = format::compile(&spec(line), setting).map_err(Arc::new)?;
    Ok(CompiledLine {
        format: Arc::new(compiled.format),
        warnings: compiled.warnings.into(),
    })
}

/// A line as the compiler reads it.
pub fn spec(line: &LineFormat) -> format::FormatSpec {
    let base = match (&line.text, line.preset) {
        (Some(text), _) => format::Base::Text(text.clone()),
        (None, Some(preset)) => format::Base::Preset(preset_of(preset)),
        (None, None) => format::Base::Empty,
    };
    let encoding = match line.encoding {
        Encoding::Text => format::Encoding::Text,
        Encoding::Json => format::Encoding::Json,
    };
    let field = |f: &crate::crds::FormatField| format::Field {
        name: f.name.clone(),
        value: f.value.clone(),
        nest: f.nest,
    };
    format::FormatSpec {
        encoding,
        base,
        fields: line.fields.iter().map(field).collect(),
        omit: line.omit.clone(),
    }
}

/// The format that a policy may have, its own where the mesh's tenancy allows it; else `None`, with a sentence that says
/// so.
pub fn permitted<'m>(
    mesh: &ObservabilityMesh,
    own: Option<&'m LogFormat>,
    is_tenant: bool,
) -> (Option<&'m LogFormat>, Option<String>) {
    let Some(own) = own else { return (None, None) };
    let tenancy = &mesh.spec.tenancy;
    let is_custom = |line: &LineFormat| line.text.is_some() || !line.fields.is_empty();
    let denied = if !is_tenant {
        None
    } else if tenancy.override_format == Permission::Denied {
        Some("only the mesh's own format (tenancy.overrideFormat: Denied)")
    } else if tenancy.custom_formats == Permission::Denied && own.lines().any(|(_, line)| is_custom(line)) {
        Some("only presets (tenancy.customFormats: Denied)")
    } else {
        None
    };
    let Some(what) = denied else {
        return (Some(own), None);
    };
    let name = name_of(mesh);
    let message = format!("spec.format: ObservabilityMesh {name} allows tenants {what}; the mesh's format is used.");
    (None, Some(message))
}
