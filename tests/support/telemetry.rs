//! Spans and log records as senders of each kind write them.
//!
//! The number of one is in all that identifies it: trace, span, and the message of a log.

// Every test crate compiles this file and uses its own part of it.
#![allow(dead_code, reason = "each user takes only a part")]

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};

/// Microseconds since 1970.
fn now() -> Result<i64> {
    Ok(i64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros(),
    )?)
}

/// The identity of a trace, as documents have it.
pub fn trace_id(number: u64) -> String {
    format!("{HIGH:016x}{number:016x}")
}

/// The upper half of a trace's identity: not 0, which some take for 64 bits.
const HIGH: u64 = 0x5197_1135_0000_0000;

/// Spans in Zipkin's second format, one for each number of a trace and of a span.
pub fn zipkin(service: &str, spans: impl IntoIterator<Item = (u64, u64)>) -> Result<Vec<u8>> {
    let now = now()?;
    let span = |(trace, span): (u64, u64)| {
        json!({
            "traceId": trace_id(trace), "id": format!("{span:016x}"), "name": "get /orders", "kind": "SERVER",
            "timestamp": now, "duration": 1500, "localEndpoint": {"serviceName": service},
            "tags": {"http.method": "GET", "http.status_code": "200", "http.url": "http://orders/"},
        })
    };
    let spans: Vec<Value> = spans.into_iter().map(span).collect();
    Ok(serde_json::to_vec(&spans)?)
}

/// Log records by OTLP over HTTP, as JSON.
pub fn otlp_logs(service: &str, messages: impl IntoIterator<Item = String>) -> Result<Vec<u8>> {
    let time = format!("{}000", now()?);
    let text = |name: &str, value: &str| json!({"key": name, "value": {"stringValue": value}});
    let record = |message: String| {
        json!({
            "timeUnixNano": time, "severityNumber": 9, "severityText": "INFO", "body": {"stringValue": message},
            "attributes": [text("event.action", "order-placed")],
        })
    };
    let records: Vec<Value> = messages.into_iter().map(record).collect();
    Ok(serde_json::to_vec(&json!({"resourceLogs": [{
        "resource": {"attributes": [text("service.name", service)]},
        "scopeLogs": [{"scope": {"name": "orders"}, "logRecords": records}],
    }]}))?)
}

/// A batch of Jaeger's spans by Thrift's binary protocol, as its clients post it.
pub fn jaeger(service: &str, numbers: impl IntoIterator<Item = u64>) -> Result<Vec<u8>> {
    let now = now()?;
    let spans: Vec<Thrift> = numbers.into_iter().map(|number| jaeger_span(number, now)).collect();
    let process = Thrift::default().text(1, service);
    let batch = Thrift::default().structure(1, process).list(2, spans);
    Ok(batch.end())
}

fn jaeger_span(number: u64, now: i64) -> Thrift {
    let tag = Thrift::default()
        .text(1, "http.method")
        .number32(2, STRING_TAG)
        .text(3, "GET");
    Thrift::default()
        .number64(1, number.cast_signed())
        .number64(2, HIGH.cast_signed())
        .number64(3, number.cast_signed())
        .number64(4, 0)
        .text(5, "GET /orders")
        .number32(7, SAMPLED)
        .number64(8, now)
        .number64(9, 1500)
        .list(10, vec![tag])
}

/// Type of a tag with a text, in Jaeger's definition.
const STRING_TAG: i32 = 0;
/// Flags of a span that is sampled.
const SAMPLED: i32 = 1;

/// A structure on its way into Thrift's binary protocol: fields with type and number, big-endian, and a zero at the end.
#[derive(Default)]
struct Thrift(Vec<u8>);

impl Thrift {
    const I32: u8 = 8;
    const I64: u8 = 10;
    const TEXT: u8 = 11;
    const STRUCTURE: u8 = 12;
    const LIST: u8 = 15;

    fn field(mut self, type_: u8, number: i16, value: &[u8]) -> Self {
        self.0.push(type_);
        self.0.extend(number.to_be_bytes());
        self.0.extend(value);
        self
    }

    fn number32(self, number: i16, value: i32) -> Self {
        self.field(Self::I32, number, &value.to_be_bytes())
    }

    fn number64(self, number: i16, value: i64) -> Self {
        self.field(Self::I64, number, &value.to_be_bytes())
    }

    fn text(self, number: i16, value: &str) -> Self {
        let value = [&length(value.len()), value.as_bytes()].concat();
        self.field(Self::TEXT, number, &value)
    }

    fn structure(self, number: i16, value: Self) -> Self {
        self.field(Self::STRUCTURE, number, &value.end())
    }

    fn list(self, number: i16, items: Vec<Self>) -> Self {
        let mut value = vec![Self::STRUCTURE];
        value.extend(length(items.len()));
        value.extend(items.into_iter().flat_map(Self::end));
        self.field(Self::LIST, number, &value)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(0);
        self.0
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}
