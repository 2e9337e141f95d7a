//! Sets of values of CEL, as far as they are told apart. A set may hold more than what can come out, never less.

use std::collections::BTreeSet;
use std::ops::BitOr;

use crate::cel::functions::Kind;

/// Kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u16);

impl Kinds {
    pub const NONE: Self = Self(0);
    pub const BOOL: Self = Self(1);
    pub const INT: Self = Self(1 << 1);
    pub const UINT: Self = Self(1 << 2);
    pub const DOUBLE: Self = Self(1 << 3);
    pub const STRING: Self = Self(1 << 4);
    pub const BYTES: Self = Self(1 << 5);
    pub const TIMESTAMP: Self = Self(1 << 6);
    pub const DURATION: Self = Self(1 << 7);
    pub const LIST: Self = Self(1 << 8);
    pub const MAP: Self = Self(1 << 9);
    pub const TYPE: Self = Self(1 << 10);
    pub const NULL: Self = Self(1 << 11);
    /// A message of Envoy's API, such as `xds.node`.
    pub const MESSAGE: Self = Self(1 << 12);
    pub const ALL: Self = Self((1 << 13) - 1);
    pub const INTEGERS: Self = Self(Self::INT.0 | Self::UINT.0);
    pub const NUMBERS: Self = Self(Self::INTEGERS.0 | Self::DOUBLE.0);

    /// What can be the key of a map.
    pub const KEYS: Self = Self(Self::BOOL.0 | Self::INTEGERS.0 | Self::STRING.0);

    /// Of what can be equal to each other; kinds of two families never are.
    const FAMILIES: [Self; 9] = [
        Self::BOOL,
        Self::NUMBERS,
        Self::STRING,
        Self::BYTES,
        Self::TIMESTAMP,
        Self::DURATION,
        Self::LIST,
        Self(Self::MAP.0 | Self::MESSAGE.0 | Self::NULL.0),
        Self::TYPE,
    ];
    /// Of what one can be less than the other.
    const ORDERED: [Self; 6] = [
        Self::BOOL,
        Self::NUMBERS,
        Self::STRING,
        Self::BYTES,
        Self::TIMESTAMP,
        Self::DURATION,
    ];

    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Bool => Self::BOOL,
            Kind::Int => Self::INT,
            Kind::Uint => Self::UINT,
            Kind::Double => Self::DOUBLE,
            Kind::String => Self::STRING,
            Kind::Bytes => Self::BYTES,
            Kind::Timestamp => Self::TIMESTAMP,
            Kind::Duration => Self::DURATION,
            Kind::List => Self::LIST,
            Kind::Map => Self::MAP,
            Kind::Type => Self::TYPE,
            Kind::Any => Self::ALL,
        }
    }

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether there is one of the others among them.
    pub const fn has(self, other: Self) -> bool {
        !self.and(other).is_none()
    }

    /// Whether all are among the others.
    pub const fn all_in(self, other: Self) -> bool {
        self.without(other).is_none()
    }
}

impl BitOr for Kinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Sets of whole numbers: ranges in order, with gaps between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(i128, i128)>);

/// More ranges become one.
const MAX_RANGES: usize = 16;
const LEAST: i128 = i128::MIN;
const MOST: i128 = i128::MAX;

impl Ranges {
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    pub fn all() -> Self {
        Self::between(LEAST, MOST)
    }

    pub fn between(low: i128, high: i128) -> Self {
        Self(if low <= high { vec![(low, high)] } else { Vec::new() })
    }

    pub fn one(number: i128) -> Self {
        Self::between(number, number)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn least(&self) -> Option<i128> {
        self.0.first().map(|(low, _)| *low)
    }

    pub fn most(&self) -> Option<i128> {
        self.0.last().map(|(_, high)| *high)
    }

    pub fn only(&self) -> Option<i128> {
        self.least().filter(|least| Some(*least) == self.most())
    }

    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        for (low, high) in &self.0 {
            for (other_low, other_high) in &other.0 {
                let range = (*low.max(other_low), *high.min(other_high));
                if range.0 <= range.1 {
                    both.push(range);
                }
            }
        }
        Self::joined(both)
    }

    pub fn union(&self, other: &Self) -> Self {
        Self::joined(self.0.iter().chain(&other.0).copied().collect())
    }

    pub fn without(&self, number: i128) -> Self {
        let below = number
            .checked_sub(1)
            .map_or(Self::empty(), |high| Self::between(LEAST, high));
        let above = number
            .checked_add(1)
            .map_or(Self::empty(), |low| Self::between(low, MOST));
        self.intersection(&below.union(&above))
    }

    fn joined(mut ranges: Vec<(i128, i128)>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(i128, i128)> = Vec::new();
        for (low, high) in ranges {
            match joined.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => joined.push((low, high)),
            }
        }
        match (joined.first(), joined.last()) {
            (Some(first), Some(last)) if joined.len() > MAX_RANGES => Self::between(first.0, last.1),
            _ => Self(joined),
        }
    }
}

/// Sets of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Texts {
    OneOf(BTreeSet<String>),
    AllBut(BTreeSet<String>),
}

impl Texts {
    pub const fn all() -> Self {
        Self::AllBut(BTreeSet::new())
    }

    fn intersection(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::OneOf(a), Self::OneOf(b)) => Self::OneOf(a & b),
            (Self::OneOf(one), Self::AllBut(not)) | (Self::AllBut(not), Self::OneOf(one)) => Self::OneOf(one - not),
            (Self::AllBut(a), Self::AllBut(b)) => Self::AllBut(a | b),
        }
    }

    fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::OneOf(a), Self::OneOf(b)) => Self::OneOf(a | b),
            (Self::OneOf(one), Self::AllBut(not)) | (Self::AllBut(not), Self::OneOf(one)) => Self::AllBut(not - one),
            (Self::AllBut(a), Self::AllBut(b)) => Self::AllBut(a & b),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::OneOf(texts) if texts.is_empty())
    }

    /// All of them, where they are known.
    pub fn known(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::OneOf(texts) => Some(texts),
            Self::AllBut(_) => None,
        }
    }
}

/// A set of values: of each kind those that the kind's own part names, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Values {
    kinds: Kinds,
    holds: bool,
    fails: bool,
    /// Of `int` and `uint`.
    integers: Ranges,
    /// Of durations, in nanoseconds.
    spans: Ranges,
    texts: Texts,
}

/// What a comparison can come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Compared {
    pub holds: bool,
    pub fails: bool,
    pub error: bool,
}

impl Values {
    /// All values of the kinds.
    pub fn all(kinds: Kinds) -> Self {
        let integers = match (kinds.has(Kinds::INT), kinds.has(Kinds::UINT)) {
            (true, true) => Ranges::between(i64::MIN.into(), u64::MAX.into()),
            (true, false) => Ranges::between(i64::MIN.into(), i64::MAX.into()),
            (false, _) => Ranges::between(0, u64::MAX.into()),
        };
        Self {
            kinds,
            holds: true,
            fails: true,
            integers,
            spans: Ranges::all(),
            texts: Texts::all(),
        }
    }

    pub fn none() -> Self {
        Self::all(Kinds::NONE)
    }

    pub fn any() -> Self {
        Self::all(Kinds::ALL)
    }

    pub fn truth(holds: bool, fails: bool) -> Self {
        Self {
            holds,
            fails,
            ..Self::all(Kinds::BOOL)
        }
        .reduced()
    }

    /// Of kinds among `int` and `uint`.
    pub fn integers(kinds: Kinds, integers: &Ranges) -> Self {
        let all = Self::all(kinds);
        let integers = all.integers.intersection(integers);
        Self { integers, ..all }.reduced()
    }

    pub fn spans(spans: Ranges) -> Self {
        Self {
            spans,
            ..Self::all(Kinds::DURATION)
        }
        .reduced()
    }

    pub fn texts(texts: Texts) -> Self {
        Self {
            texts,
            ..Self::all(Kinds::STRING)
        }
        .reduced()
    }

    pub fn text(text: &str) -> Self {
        Self::texts(Texts::OneOf([text.to_owned()].into()))
    }

    /// Without kinds of which nothing is left.
    fn reduced(mut self) -> Self {
        for (empty, kinds) in [
            (!self.holds && !self.fails, Kinds::BOOL),
            (self.integers.is_empty(), Kinds::INTEGERS),
            (self.spans.is_empty(), Kinds::DURATION),
            (self.texts.is_empty(), Kinds::STRING),
        ] {
            if empty {
                self.kinds = self.kinds.without(kinds);
            }
        }
        self
    }

    pub const fn kinds(&self) -> Kinds {
        self.kinds
    }

    pub const fn is_empty(&self) -> bool {
        self.kinds.is_none()
    }

    pub const fn can_hold(&self) -> bool {
        self.holds && self.kinds.has(Kinds::BOOL)
    }

    pub const fn can_fail(&self) -> bool {
        self.fails && self.kinds.has(Kinds::BOOL)
    }

    /// The integers among them.
    pub fn as_integers(&self) -> Ranges {
        self.part(Kinds::INTEGERS, &self.integers)
    }

    /// The durations among them.
    pub fn as_spans(&self) -> Ranges {
        self.part(Kinds::DURATION, &self.spans)
    }

    fn part(&self, kinds: Kinds, ranges: &Ranges) -> Ranges {
        if self.kinds.has(kinds) {
            ranges.clone()
        } else {
            Ranges::empty()
        }
    }

    /// All texts, where nothing but known texts is there.
    pub fn known_texts(&self) -> Option<&BTreeSet<String>> {
        self.texts.known().filter(|_| self.kinds.all_in(Kinds::STRING))
    }

    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            kinds: self.kinds.and(other.kinds),
            holds: self.holds && other.holds,
            fails: self.fails && other.fails,
            integers: self.integers.intersection(&other.integers),
            spans: self.spans.intersection(&other.spans),
            texts: self.texts.intersection(&other.texts),
        }
        .reduced()
    }

    pub fn union(&self, other: &Self) -> Self {
        if self.is_empty() {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        Self {
            kinds: self.kinds | other.kinds,
            holds: self.can_hold() || other.can_hold(),
            fails: self.can_fail() || other.can_fail(),
            integers: self.as_integers().union(&other.as_integers()),
            spans: self.as_spans().union(&other.as_spans()),
            texts: match (self.kinds.has(Kinds::STRING), other.kinds.has(Kinds::STRING)) {
                (true, true) => self.texts.union(&other.texts),
                (true, false) => self.texts.clone(),
                (false, _) => other.texts.clone(),
            },
        }
    }

    /// The values without those that are the one value that `other` is, if it is one.
    pub fn without(&self, other: &Self) -> Self {
        let mut left = self.clone();
        if other.kinds.all_in(Kinds::INTEGERS)
            && let Some(number) = other.integers.only()
        {
            left.integers = left.integers.without(number);
        } else if other.kinds.all_in(Kinds::DURATION)
            && let Some(span) = other.spans.only()
        {
            left.spans = left.spans.without(span);
        } else if let Some(texts) = other.known_texts()
            && texts.len() == 1
        {
            left.texts = left.texts.intersection(&Texts::AllBut(texts.clone()));
        } else if other.kinds.all_in(Kinds::BOOL) && other.holds != other.fails {
            left.holds &= !other.holds;
            left.fails &= !other.fails;
        }
        left.reduced()
    }

    /// The values that can be equal to one of the others. A double can be equal to an integer, and is not followed.
    pub fn equal_to(&self, other: &Self) -> Self {
        let families = Kinds::FAMILIES.into_iter().filter(|family| other.kinds.has(*family));
        let kinds = families.fold(Kinds::NONE, |all, family| all | family);
        let mut same = Self {
            kinds: self.kinds.and(kinds),
            ..self.clone()
        };
        // What a double is equal to is not known.
        if !other.kinds.has(Kinds::DOUBLE) {
            same.integers = same.integers.intersection(&other.as_integers());
        }
        same.spans = same.spans.intersection(&other.as_spans());
        if other.kinds.has(Kinds::STRING) {
            same.texts = same.texts.intersection(&other.texts);
        }
        same.holds &= other.can_hold();
        same.fails &= other.can_fail();
        same.reduced()
    }

    /// The values that can be less than one of the others, or not more.
    pub fn below(&self, other: &Self, or_equal: bool) -> Self {
        self.on_side(other, |ranges| {
            let most = ranges.most()?;
            Some(Ranges::between(
                LEAST,
                if or_equal { most } else { most.checked_sub(1)? },
            ))
        })
    }

    /// The values that can be more than one of the others, or not less.
    pub fn above(&self, other: &Self, or_equal: bool) -> Self {
        self.on_side(other, |ranges| {
            let least = ranges.least()?;
            Some(Ranges::between(
                if or_equal { least } else { least.checked_add(1)? },
                MOST,
            ))
        })
    }

    fn on_side(&self, other: &Self, side: impl Fn(&Ranges) -> Option<Ranges>) -> Self {
        let ordered = Kinds::ORDERED.into_iter().filter(|family| other.kinds.has(*family));
        let kinds = ordered.fold(Kinds::NONE, |all, family| all | family);
        let mut left = Self {
            kinds: self.kinds.and(kinds),
            ..self.clone()
        };
        let cut = |ranges: &Ranges, by: &Ranges| ranges.intersection(&side(by).unwrap_or(Ranges::empty()));
        if !other.kinds.has(Kinds::DOUBLE) {
            left.integers = cut(&left.integers, &other.as_integers());
        }
        left.spans = cut(&left.spans, &other.as_spans());
        left.reduced()
    }

    /// The one value that they are, where it is known.
    fn is_one(&self) -> bool {
        match self.kinds {
            Kinds::BOOL => self.holds != self.fails,
            Kinds::INT | Kinds::UINT => self.integers.only().is_some(),
            Kinds::DURATION => self.spans.only().is_some(),
            Kinds::STRING => self.texts.known().is_some_and(|texts| texts.len() == 1),
            Kinds::NULL => true,
            _ => false,
        }
    }

    /// `self == other`, which is never an error.
    pub fn equals(&self, other: &Self) -> Compared {
        let holds = !self.equal_to(other).is_empty() && !other.equal_to(self).is_empty();
        Compared {
            holds,
            fails: !(holds && self.is_one() && other.is_one()),
            error: false,
        }
    }

    /// `self < other`
    pub fn is_less(&self, other: &Self) -> Compared {
        let mut compared = Compared::default();
        let mut families = Kinds::NONE;
        for family in Kinds::ORDERED {
            let (left, right) = (self.kinds.and(family), other.kinds.and(family));
            if left.is_none() || right.is_none() {
                continue;
            }
            families = families | family;
            let (holds, fails) = match family {
                Kinds::BOOL => (self.fails && other.holds, self.holds || other.fails),
                Kinds::NUMBERS if (left | right).all_in(Kinds::INTEGERS) => less(&self.integers, &other.integers),
                Kinds::DURATION => less(&self.spans, &other.spans),
                _ => (true, true),
            };
            compared.holds |= holds;
            compared.fails |= fails;
        }
        let one_family = Kinds::ORDERED
            .into_iter()
            .any(|family| self.kinds.all_in(family) && other.kinds.all_in(family));
        compared.error = !one_family || families.is_none();
        compared
    }
}

/// Whether one of the first can be less than one of the second, and whether it can be not less.
fn less(left: &Ranges, right: &Ranges) -> (bool, bool) {
    (left.least() < right.most(), left.most() >= right.least())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_keep_their_gaps() {
        let code = Ranges::between(100, 599);
        let gap = code.without(404);
        assert_eq!(gap.intersection(&Ranges::one(404)), Ranges::empty());
        assert_eq!(gap.union(&Ranges::one(404)), code);
        assert_eq!((gap.least(), gap.most(), gap.only()), (Some(100), Some(599), None));
        assert!(Ranges::between(2, 1).is_empty());
        let many = (0..40).fold(Ranges::empty(), |all, n| all.union(&Ranges::one(n * 2)));
        assert_eq!((many.least(), many.most()), (Some(0), Some(78)));
        assert!(many.0.len() <= MAX_RANGES);
    }

    #[test]
    fn values_of_two_kinds_are_never_equal_and_not_compared() {
        let (text, number) = (Values::text("a"), Values::all(Kinds::INT));
        assert_eq!(
            text.equals(&number),
            Compared {
                fails: true,
                ..Compared::default()
            }
        );
        assert_eq!(
            text.is_less(&number),
            Compared {
                error: true,
                ..Compared::default()
            }
        );
        assert!(Values::any().equals(&text).holds && Values::any().is_less(&text).error);
    }
}
