//! Where we differ from Envoy, and why.

use sightline::format::{Diagnostic, Kind};

use crate::differential::{Format, is_refused_for};
use crate::envoy::text_log;
use crate::every_release;

/// We refuse what Envoy takes. There is no other way to differ: what we take, every Envoy of that version takes.
pub struct Difference {
    /// Words of our error.
    pub ours: &'static str,
    /// Whether the part that we refuse is of the kind that is meant, where the words alone do not say it.
    pub meant: fn(&str) -> bool,
    /// Why it is refused although Envoy takes it.
    pub reason: &'static str,
    /// Texts for which this is the only reason to refuse them, and which at least one supported Envoy takes.
    pub examples: &'static [&'static str],
}

impl Difference {
    /// Whether the error is the one that is meant.
    pub fn explains(&self, error: &Diagnostic) -> bool {
        matches!(error.kind, Kind::Empty | Kind::InvalidArgument)
            && error.message.contains(self.ours)
            && (self.meant)(&error.excerpt)
    }
}

const ANY: fn(&str) -> bool = |_| true;

pub const DIFFERENCES: &[Difference] = &[
    Difference {
        ours: "the text is empty",
        meant: ANY,
        reason: "Istio writes its default format in place of an empty one",
        examples: &[""],
    },
    Difference {
        ours: "messages such as `",
        meant: ANY,
        reason: "a message is of no use in a log, and which ones Envoy knows depends on how it was built",
        examples: &["%CEL(google.protobuf.Timestamp{} == request.time)%"],
    },
    Difference {
        ours: "names in backquotes",
        meant: ANY,
        reason: "only Envoy 1.40 takes them, and `a['b']` says the same",
        examples: &["%CEL(request.`x-y` == 'a')%"],
    },
    Difference {
        ours: "the pattern of `matches` is no RE2",
        meant: ANY,
        reason: "of RE2's rarer parts it was not tried what each does",
        examples: &[
            "%CEL(request.path.matches(r'\\p{Greek}'))%",
            "%CEL(request.path.matches(r'[a&&b]'))%",
            "%CEL(request.path.matches('a{'))%",
        ],
    },
    Difference {
        ours: "the pattern of `matches` is too large",
        meant: ANY,
        reason: "the size of RE2's program is reckoned, and near Envoy's limit reckoned too large",
        examples: &["%CEL(request.path.matches('[^/]{12}'))%"],
    },
    Difference {
        ours: "this is no CEL expression",
        meant: |part| part.contains("e999"),
        reason: "our parser of CEL has no infinite numbers, and nobody compares with one",
        examples: &["%CEL(1e999 > 1.0)%"],
    },
    Difference {
        ours: "this is no CEL expression",
        meant: |part| part.contains("''''") || part.contains("\"\"\"\""),
        reason: "our parser of CEL cannot read a text in three quotation marks that begins with a fourth",
        examples: &["%CEL(request.path == r''''\\f''')%"],
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_is_still_one() {
    for difference in DIFFERENCES {
        assert!(!difference.reason.is_empty() && !difference.examples.is_empty());
        for example in difference.examples {
            let format = Format::Text((*example).to_owned());
            assert!(is_refused_for(&format, difference), "{example:?} is not refused for it");
        }
    }
    let examples = DIFFERENCES.iter().flat_map(|difference| difference.examples);
    let examples: Vec<&str> = examples.copied().collect();
    let logs: Vec<_> = examples.iter().map(|text| text_log(text)).collect();
    let said = every_release(&logs).await;
    for (index, example) in examples.iter().enumerate() {
        let taken = said.iter().any(|(_, verdicts)| verdicts[index].is_accepted());
        assert!(taken, "no Envoy takes {example:?}: {:?}", said[0].1[index]);
    }
}
