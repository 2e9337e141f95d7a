//! How fast formats are parsed and checked, beside `serde_json` on the same bytes. `make bench`; figures and what they
//! have to be are in docs/benchmarks.md.

#![allow(
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark that cannot run has to say so"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Map, Value};
use sightline::format::{
    Base, CompiledFormat, Encoding, EnvoyVersion, FormatSpec, Preset, check_json, check_text, compile,
};

const OLDEST: EnvoyVersion = EnvoyVersion::OLDEST_SUPPORTED;

fn spec(encoding: Encoding, base: Base) -> FormatSpec {
    FormatSpec {
        encoding,
        base,
        fields: Vec::new(),
        omit: Vec::new(),
    }
}

fn istio_text() -> String {
    match compile(&spec(Encoding::Text, Base::Preset(Preset::Istio)), OLDEST).map(|compiled| compiled.format) {
        Ok(CompiledFormat::Text(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn istio_json() -> Map<String, Value> {
    match compile(&spec(Encoding::Json, Base::Preset(Preset::Istio)), OLDEST).map(|compiled| compiled.format) {
        Ok(CompiledFormat::Json(fields)) => fields,
        other => panic!("{other:?}"),
    }
}

/// A text: the format itself, and `serde_json` reading it as a JSON string.
fn text(c: &mut Criterion) {
    let text = istio_text();
    let quoted = serde_json::to_string(&text).expect("text");
    let mut group = c.benchmark_group("istio-text");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("serde_json", |b| {
        b.iter(|| serde_json::from_str::<Value>(black_box(&quoted)).expect("JSON"));
    });
    group.bench_function("parse-and-check", |b| {
        b.iter(|| check_text(black_box(&text), OLDEST).expect("a format"));
    });
    let spec = spec(Encoding::Text, Base::Text(text.clone()));
    group.bench_function("compile", |b| {
        b.iter(|| compile(black_box(&spec), OLDEST).expect("a format"));
    });
    group.finish();
}

/// A JSON format: its strings are parsed and checked; `serde_json` reads the document.
fn json(c: &mut Criterion) {
    let fields = istio_json();
    let document = serde_json::to_string(&fields).expect("text");
    let mut group = c.benchmark_group("istio-json");
    group.throughput(Throughput::Bytes(document.len() as u64));
    group.bench_function("serde_json", |b| {
        b.iter(|| serde_json::from_str::<Value>(black_box(&document)).expect("JSON"));
    });
    group.bench_function("parse-and-check", |b| {
        b.iter(|| check_json(black_box(&fields), OLDEST).expect("a format"));
    });
    group.finish();
}

/// The formats of 10,000 policies, half text and half JSON with fields of their own, on one core.
fn policies(c: &mut Criterion) {
    let specs: Vec<FormatSpec> = (0..10_000)
        .map(|index| {
            let encoding = if index % 2 == 0 { Encoding::Text } else { Encoding::Json };
            let mut spec = spec(encoding, Base::Preset(Preset::Istio));
            spec.fields = (0..5)
                .map(|field| sightline::format::Field {
                    name: format!("field-{field}"),
                    value: format!("%REQ(X-TENANT-{index}?X-TEAM):40%"),
                    nest: false,
                })
                .collect();
            spec
        })
        .collect();
    let mut group = c.benchmark_group("10000-traffic-logs");
    group.sample_size(10);
    group.bench_function("compile", |b| {
        b.iter(|| {
            for spec in &specs {
                black_box(compile(spec, OLDEST).expect("a format"));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, text, json, policies);
criterion_main!(benches);
