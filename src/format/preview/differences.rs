//! Where a previewed line may differ from Envoy's, by design.

/// A difference that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where it shows: an operator, or what is printed.
    pub what: &'static str,
    /// A format that shows it.
    pub example: &'static str,
    /// Why it is so.
    pub reason: &'static str,
}

/// All of them, beside the operators of [`super::UNTELLABLE`], which print their name in angle brackets.
pub const DIFFERENCES: [Difference; 3] = [
    Difference {
        what: "EMIT_TIME, EMIT_TIME_LOCAL",
        example: "%EMIT_TIME(%s.%f)%",
        reason: "Envoy prints the moment in which it writes the line, some microseconds after the end; the preview prints \
                 the end: the start and the duration",
    },
    Difference {
        what: "header values that are no UTF-8",
        example: "%REQ(X-LATIN)%",
        reason: "Envoy prints the bytes as they came; a sample is JSON or YAML, and has characters only",
    },
    Difference {
        what: "strftime conversions that do not exist, with a width",
        example: "%START_TIME(%12Q)%",
        reason: "Envoy prints what its C library makes of them; the preview prints them as they stand",
    },
];
