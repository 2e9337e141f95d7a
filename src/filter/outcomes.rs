//! What can come out of an expression: true, false, an error; on HTTP, and on TCP, where most attributes are not there.
//!
//! An abstract interpretation: each part has a set of values ([`Values`]) that holds at least what the part can be. To see
//! whether a condition can hold, it is assumed to: each comparison then narrows what the parts in it are, and what the other
//! conditions beside it can be. The answer "cannot" is certain, "can" is not. The rules are those that Envoy 1.36 and 1.40
//! evaluated by: values of two kinds are not equal and not an error, `false && error` is false and `true || error` is
//! true on either side, and `true || 1` too. Two errors are worse, and end the evaluation whatever stands beside them:
//! `matches` with a literal pattern where there is no text, and a map with a key given twice. So
//! `request.headers['x'].matches('a') || true` is an error where the header is missing, and `true || …` is not.

use std::collections::BTreeMap;

use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr};

use super::attributes::{self, Presence, Protocol, Shape};
use super::types;
use super::values::{Compared, Kinds, Ranges, Texts, Values};
use crate::cel::functions::{self, Function, Kind};
use crate::cel::literal_text;
use crate::format::EnvoyVersion;

/// What can come out of a condition. Anything but a condition is an error, as Envoy logs nothing then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub holds: bool,
    pub fails: bool,
    pub error: bool,
}

impl Outcomes {
    /// Nothing is known.
    pub const ANY: Self = Self {
        holds: true,
        fails: true,
        error: true,
    };

    /// Whether nothing but an error can come out.
    pub const fn is_error(self) -> bool {
        !self.holds && !self.fails
    }

    /// Whether nothing but true can come out.
    pub const fn is_true(self) -> bool {
        self.holds && !self.fails && !self.error
    }
}

/// Where an expression is evaluated.
#[derive(Debug, Clone, Copy)]
pub(super) struct World {
    protocol: Protocol,
    /// The Envoy that does it.
    version: EnvoyVersion,
    /// Whether all is there that can be.
    is_complete: bool,
}

/// What a part can come to.
#[derive(Debug, Clone)]
struct Found {
    values: Values,
    error: bool,
    /// Whether it can end the evaluation with an error.
    abort: bool,
}

impl Found {
    /// Whether it can be what is no condition: to `&&` and `||`, that is an error.
    fn is_maybe_no_condition(&self) -> bool {
        self.error || !self.values.kinds().all_in(Kinds::BOOL)
    }
}

/// What is assumed of a part.
#[derive(Debug, Clone, PartialEq)]
enum Known {
    /// It has a value, one of these.
    Is(Values),
    /// Reading it is an error.
    Absent,
}

/// What is assumed of parts, by their text: in one evaluation, equal texts have equal values.
type Assumed = BTreeMap<String, Known>;

impl World {
    pub const fn new(protocol: Protocol, version: EnvoyVersion) -> Self {
        Self {
            protocol,
            version,
            is_complete: false,
        }
    }

    /// The same, where no attribute is missing that can be there.
    pub const fn complete(self) -> Self {
        Self {
            is_complete: true,
            ..self
        }
    }

    /// What can come out of the expression.
    pub fn outcomes(self, expression: &IdedExpr) -> Outcomes {
        // What stands on the right narrows what stands on the left in a second round.
        let can_be = |truth| {
            self.assume(expression, truth, Assumed::new())
                .and_then(|assumed| self.assume(expression, truth, assumed))
                .is_some()
        };
        Outcomes {
            holds: can_be(true),
            fails: can_be(false),
            error: self.can_err(expression, &Assumed::new()),
        }
    }

    /// The innermost part that can only be an error.
    pub fn always_an_error(self, expression: &IdedExpr) -> Option<&IdedExpr> {
        let below = parts_of(expression)
            .into_iter()
            .find_map(|part| self.always_an_error(part));
        let is_error = || self.found(expression, &Assumed::new()).values.is_empty();
        below.or_else(|| is_error().then_some(expression))
    }

    /// What is known where the condition comes to `truth`; `None` where it cannot.
    fn assume(self, part: &IdedExpr, truth: bool, assumed: Assumed) -> Option<Assumed> {
        let found = self.found(part, &assumed).values;
        if !(if truth { found.can_hold() } else { found.can_fail() }) {
            return None;
        }
        let assumed = match &part.expr {
            Expr::Call(call) => self.assume_call(call, truth, assumed)?,
            Expr::Select(select) if select.test => self.assume_has(select, truth, assumed)?,
            _ => assumed,
        };
        narrowed(assumed, part, &Values::truth(truth, !truth))
    }

    fn assume_call(self, call: &CallExpr, truth: bool, assumed: Assumed) -> Option<Assumed> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            ("!_", [one]) => self.assume(one, !truth, assumed),
            ("_&&_", [left, right]) if truth => self.assume(right, true, self.assume(left, true, assumed)?),
            ("_||_", [left, right]) if !truth => self.assume(right, false, self.assume(left, false, assumed)?),
            ("_&&_" | "_||_", [left, right]) => {
                let left = self.assume(left, truth, assumed.clone());
                either(left, self.assume(right, truth, assumed))
            }
            ("_?_:_", [condition, yes, no]) => {
                let yes = self
                    .assume_choice(condition, true, assumed.clone())
                    .and_then(|assumed| self.assume(yes, truth, assumed));
                let no = self
                    .assume_choice(condition, false, assumed)
                    .and_then(|assumed| self.assume(no, truth, assumed));
                either(yes, no)
            }
            ("_==_", [left, right]) => self.assume_equal(left, right, truth, assumed),
            ("_!=_", [left, right]) => self.assume_equal(left, right, !truth, assumed),
            ("_<_", [left, right]) if truth => self.assume_less(left, right, false, assumed),
            ("_<_", [left, right]) => self.assume_less(right, left, true, assumed),
            ("_<=_", [left, right]) if truth => self.assume_less(left, right, true, assumed),
            ("_<=_", [left, right]) => self.assume_less(right, left, false, assumed),
            ("_>_", [left, right]) if truth => self.assume_less(right, left, false, assumed),
            ("_>_", [left, right]) => self.assume_less(left, right, true, assumed),
            ("_>=_", [left, right]) if truth => self.assume_less(right, left, true, assumed),
            ("_>=_", [left, right]) => self.assume_less(left, right, false, assumed),
            ("@in" | "_in_", [one, of]) => self.assume_in(one, of, truth, assumed),
            (name, args) => self.assume_text(name, call.target.as_deref().into_iter().chain(args), truth, assumed),
        }
    }

    /// The condition of a choice is assumed to hold and to fail: choices in it would take twice the time for each level.
    fn assume_choice(self, condition: &IdedExpr, truth: bool, assumed: Assumed) -> Option<Assumed> {
        if !has_choice(condition) {
            return self.assume(condition, truth, assumed);
        }
        let values = self.found(condition, &assumed).values;
        let can = if truth { values.can_hold() } else { values.can_fail() };
        can.then_some(assumed)
    }

    fn assume_equal(self, left: &IdedExpr, right: &IdedExpr, same: bool, assumed: Assumed) -> Option<Assumed> {
        let (a, b) = (self.found(left, &assumed).values, self.found(right, &assumed).values);
        let (a, b) = if same {
            (a.equal_to(&b), b.equal_to(&a))
        } else {
            (a.without(&b), b.without(&a))
        };
        narrowed(narrowed(assumed, left, &a)?, right, &b)
    }

    fn assume_less(self, left: &IdedExpr, right: &IdedExpr, or_equal: bool, assumed: Assumed) -> Option<Assumed> {
        let (a, b) = (self.found(left, &assumed).values, self.found(right, &assumed).values);
        let (below, above) = (a.below(&b, or_equal), b.above(&a, or_equal));
        narrowed(narrowed(assumed, left, &below)?, right, &above)
    }

    fn assume_in(self, one: &IdedExpr, of: &IdedExpr, truth: bool, assumed: Assumed) -> Option<Assumed> {
        let Expr::List(list) = &of.expr else {
            return Some(assumed);
        };
        let elements = list.elements.iter().map(|element| self.found(element, &assumed).values);
        let values = self.found(one, &assumed).values;
        let left = if truth {
            elements.fold(Values::none(), |all, element| all.union(&values.equal_to(&element)))
        } else {
            elements.fold(values, |left, element| left.without(&element))
        };
        narrowed(assumed, one, &left)
    }

    /// A function of a text and a known text.
    fn assume_text<'a>(
        self,
        name: &str,
        parts: impl Iterator<Item = &'a IdedExpr>,
        truth: bool,
        assumed: Assumed,
    ) -> Option<Assumed> {
        let parts: Vec<&IdedExpr> = parts.collect();
        let [one, other] = parts.as_slice() else {
            return Some(assumed);
        };
        let (values, other) = (self.found(one, &assumed).values, self.found(other, &assumed).values);
        let (Some(texts), Some(with)) = (values.known_texts(), other.known_texts()) else {
            return Some(assumed);
        };
        let fitting = texts.iter().filter(|text| {
            with.iter()
                .any(|with| of_texts(name, text, with).is_none_or(|is| is == truth))
        });
        let left = Values::texts(Texts::OneOf(fitting.cloned().collect()));
        narrowed(assumed, one, &left)
    }

    fn assume_has(self, select: &SelectExpr, truth: bool, mut assumed: Assumed) -> Option<Assumed> {
        // Of a message of Envoy's API, a field that is empty is not there and can be read.
        let is_map = self.attribute(&select.operand).is_some_and(|(shape, _)| shape.is_map());
        if !is_map {
            return Some(assumed);
        }
        let field = format!("{}.{}", text(&select.operand)?, select.field);
        match (assumed.get(&field), truth) {
            (Some(Known::Absent), true) | (Some(Known::Is(_)), false) => None,
            (_, true) => Some(assumed),
            (_, false) => {
                assumed.insert(field, Known::Absent);
                Some(assumed)
            }
        }
    }

    /// Whether a condition can come to an error, or to what is no condition.
    fn can_err(self, part: &IdedExpr, assumed: &Assumed) -> bool {
        let under = |condition: &IdedExpr, truth: bool, part: &IdedExpr| {
            self.assume_choice(condition, truth, assumed.clone())
                .is_some_and(|assumed| self.can_err(part, &assumed))
        };
        if let Expr::Call(call) = &part.expr {
            match (call.func_name.as_str(), call.args.as_slice()) {
                ("!_", [one]) => return self.can_err(one, assumed),
                ("_&&_" | "_||_", [left, right]) => {
                    let decided = call.func_name == "_||_";
                    let other = self.found(right, assumed);
                    let can_be_open = if decided {
                        other.values.can_fail()
                    } else {
                        other.values.can_hold()
                    };
                    let left_found = self.found(left, assumed);
                    return left_found.abort
                        || left_found.is_maybe_no_condition() && other.abort
                        || (can_be_open || other.is_maybe_no_condition()) && self.can_err(left, assumed)
                        || under(left, !decided, right);
                }
                ("_?_:_", [condition, yes, no]) => {
                    return self.can_err(condition, assumed)
                        || under(condition, true, yes)
                        || under(condition, false, no);
                }
                _ => {}
            }
        }
        let found = self.found(part, assumed);
        found.abort || found.is_maybe_no_condition()
    }

    fn found(self, part: &IdedExpr, assumed: &Assumed) -> Found {
        let found = self.evaluated(part, assumed);
        match text(part).and_then(|text| assumed.get(&text)) {
            None => found,
            Some(Known::Is(values)) => Found {
                values: found.values.intersection(values),
                error: false,
                abort: false,
            },
            Some(Known::Absent) => error(),
        }
    }

    fn evaluated(self, part: &IdedExpr, assumed: &Assumed) -> Found {
        match &part.expr {
            Expr::Literal(literal) => value(of_literal(literal)),
            Expr::Ident(name) if types::is_type(name) => value(Values::all(Kinds::TYPE)),
            Expr::Select(select) if select.test => self.of_has(select, assumed),
            Expr::Ident(_) => self.of_attribute(part).unwrap_or_else(error),
            Expr::Select(select) => self.of_attribute(part).unwrap_or_else(|| {
                let of = self.found(&select.operand, assumed);
                element(&of.values, Kinds::MAP | Kinds::MESSAGE)
            }),
            Expr::Call(call) => self.of_call(part, call, assumed),
            Expr::List(list) => self.made(&list.elements, Kinds::LIST, assumed),
            Expr::Map(map) => {
                // A key can be given twice.
                let mut made = Found {
                    error: !map.entries.is_empty(),
                    abort: map.entries.len() > 1,
                    ..value(Values::all(Kinds::MAP))
                };
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        continue;
                    };
                    let (key, of) = (self.found(&entry.key, assumed), self.found(&entry.value, assumed));
                    made.abort |= key.abort || of.abort;
                    if !key.values.kinds().has(Kinds::KEYS) || of.values.is_empty() {
                        made.values = Values::none();
                    }
                }
                made
            }
            // These do not get through `cel::parse`.
            Expr::Unspecified | Expr::Comprehension(_) | Expr::Struct(_) => anything(),
        }
    }

    /// What is made of parts, and is an error where one of them is.
    fn made<'a>(self, parts: impl IntoIterator<Item = &'a IdedExpr>, kinds: Kinds, assumed: &Assumed) -> Found {
        let mut made = value(Values::all(kinds));
        for part in parts {
            let found = self.found(part, assumed);
            made.error |= found.error;
            made.abort |= found.abort;
            if found.values.is_empty() {
                made.values = Values::none();
            }
        }
        made
    }

    /// The attribute that the part is, and whether it is there. An unknown one never is.
    fn attribute(self, part: &IdedExpr) -> Option<(Shape, Presence)> {
        let (of, name, by_index) = match &part.expr {
            Expr::Ident(name) => return attributes::root(name).map(|shape| (shape, Presence::Always)),
            Expr::Select(select) if !select.test => (&*select.operand, select.field.as_str(), false),
            Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                ("_[_]", [of, key]) => (of, literal_text(key)?, true),
                _ => return None,
            },
            _ => return None,
        };
        let (shape, there) = self.attribute(of)?;
        let (shape, own) = self.member(shape, name, by_index)?;
        let own = match own {
            Presence::Maybe if self.is_complete => Presence::Always,
            own => own,
        };
        Some((shape, own.min(there)))
    }

    fn member(self, of: Shape, name: &str, by_index: bool) -> Option<(Shape, Presence)> {
        let unknown = Some((Shape::Is(Kind::Any), Presence::Never));
        match of {
            Shape::Message(message) if by_index && !message.is_group() => unknown,
            Shape::Message(message) => match message.attribute(name) {
                Some(attribute) => Some((attribute.shape, attribute.presence(self.protocol, self.version))),
                None => unknown,
            },
            Shape::Headers if self.protocol == Protocol::Tcp => Some((Shape::Is(Kind::String), Presence::Never)),
            Shape::Headers => Some((Shape::Is(Kind::String), Presence::Maybe)),
            Shape::Values => Some((Shape::Is(Kind::Any), Presence::Maybe)),
            Shape::Is(_) | Shape::Texts => None,
        }
    }

    fn of_attribute(self, part: &IdedExpr) -> Option<Found> {
        let (shape, there) = self.attribute(part)?;
        let values = match (shape, there) {
            (_, Presence::Never) => Values::none(),
            (Shape::Is(kind), _) => self.domain(part).unwrap_or_else(|| Values::all(Kinds::of(kind))),
            (Shape::Headers | Shape::Values, _) => Values::all(Kinds::MAP),
            (Shape::Texts, _) => Values::all(Kinds::LIST),
            (Shape::Message(message), _) if message.is_group() => Values::all(Kinds::MAP),
            (Shape::Message(_), _) => Values::all(Kinds::MESSAGE | Kinds::NULL),
        };
        Some(Found {
            values,
            error: there != Presence::Always,
            abort: false,
        })
    }

    /// The values that the attribute can have, where that are not all of its kind.
    fn domain(self, part: &IdedExpr) -> Option<Values> {
        let (of, name) = member_of(part)?;
        let Some((Shape::Message(message), _)) = self.attribute(of) else {
            return None;
        };
        message.attribute(name)?.domain(self.protocol)
    }

    fn of_has(self, select: &SelectExpr, assumed: &Assumed) -> Found {
        let Some((shape, there)) = self.attribute(&select.operand) else {
            let of = self.found(&select.operand, assumed);
            let has_parts = of.values.kinds().has(Kinds::MAP | Kinds::MESSAGE);
            return Found {
                abort: of.abort,
                ..maybe(Values::truth(has_parts, has_parts))
            };
        };
        if there == Presence::Never {
            return error();
        }
        let is_maybe_error = there == Presence::Maybe;
        let own = self.member(shape, &select.field, false).map(|(_, own)| own);
        let (holds, fails) = match (shape, own) {
            (Shape::Is(kind), _) => {
                let has_parts = Kinds::of(kind).has(Kinds::MAP);
                return maybe(Values::truth(has_parts, has_parts));
            }
            (Shape::Message(message), Some(Presence::Never)) if !message.is_group() => return error(),
            (Shape::Message(message), _) if !message.is_group() => {
                return maybe(Values::truth(true, true));
            }
            (_, None) => return error(),
            (_, Some(own)) => (own != Presence::Never, own != Presence::Always),
        };
        Found {
            error: is_maybe_error,
            ..value(Values::truth(holds, fails))
        }
    }

    fn of_call(self, part: &IdedExpr, call: &CallExpr, assumed: &Assumed) -> Found {
        if let Some(function) = functions::called(call) {
            return self.of_function(call, function, assumed);
        }
        match (call.func_name.as_str(), call.args.as_slice()) {
            ("_[_]", [of, key]) => {
                return self
                    .of_attribute(part)
                    .unwrap_or_else(|| self.of_index(of, key, assumed));
            }
            ("@in" | "_in_", [one, of]) => return self.of_in(one, of, assumed),
            _ => {}
        }
        let found: Vec<Found> = call.args.iter().map(|one| self.found(one, assumed)).collect();
        let operator = call.func_name.as_str();
        let result = match (operator, found.as_slice()) {
            ("_&&_", [left, right]) => return and(left, right),
            ("_||_", [left, right]) => return negated(&and(&negated(left), &negated(right))),
            ("_?_:_", [condition, yes, no]) => return chosen(condition, yes, no),
            ("!_", [one]) => negated(one),
            ("_==_", [left, right]) => of_both(left, right, Values::equals),
            ("_!=_", [left, right]) => negated(&of_both(left, right, Values::equals)),
            ("_<_", [left, right]) => of_both(left, right, Values::is_less),
            ("_>_", [left, right]) => of_both(right, left, Values::is_less),
            ("_<=_", [left, right]) => of_both(right, left, not_less),
            ("_>=_", [left, right]) => of_both(left, right, not_less),
            ("-_", [one]) => negative(one),
            (_, [left, right]) => arithmetic(operator.trim_matches('_'), left, right),
            _ => anything(),
        };
        Found {
            abort: found.iter().any(|one| one.abort),
            ..result
        }
    }

    /// Parts are looked at once: doing so twice at each level takes twice the time for each level.
    fn of_index(self, of: &IdedExpr, key: &IdedExpr, assumed: &Assumed) -> Found {
        let (values, key) = (self.found(of, assumed), self.found(key, assumed));
        let keys = key.values.kinds();
        let is_outside = |elements: usize| {
            let last = i128::try_from(elements).unwrap_or(i128::MAX).saturating_sub(1);
            let inside = key.values.as_integers().intersection(&Ranges::between(0, last));
            !keys.has(Kinds::DOUBLE) && inside.is_empty()
        };
        let found = match (&of.expr, self.attribute(of)) {
            (Expr::List(list), _) if is_outside(list.elements.len()) => error(),
            (_, Some((Shape::Message(message), _))) if !message.is_group() => error(),
            (_, Some((Shape::Message(_) | Shape::Headers, _))) if !keys.has(Kinds::STRING) => error(),
            (_, Some((Shape::Headers, _))) if self.protocol == Protocol::Tcp => error(),
            (_, Some((Shape::Headers, _))) => maybe(Values::all(Kinds::STRING)),
            _ if keys.is_none() => error(),
            _ => element(&values.values, Kinds::MAP | Kinds::LIST),
        };
        Found {
            abort: values.abort || key.abort,
            ..found
        }
    }

    fn of_in(self, one: &IdedExpr, of: &IdedExpr, assumed: &Assumed) -> Found {
        let one = self.found(one, assumed);
        let found = match (&of.expr, self.attribute(of)) {
            (Expr::List(list), _) => {
                let elements: Vec<Found> = list.elements.iter().map(|part| self.found(part, assumed)).collect();
                let equal: Vec<Compared> = elements.iter().map(|part| one.values.equals(&part.values)).collect();
                let is_error = one.values.is_empty() || elements.iter().any(|part| part.values.is_empty());
                let values = Values::truth(
                    !is_error && equal.iter().any(|equal| equal.holds),
                    !is_error && equal.iter().all(|equal| equal.fails),
                );
                Found {
                    values,
                    error: one.error || elements.iter().any(|part| part.error),
                    abort: elements.iter().any(|part| part.abort),
                }
            }
            (_, Some((Shape::Headers, there))) if there != Presence::Never && !one.values.is_empty() => {
                let holds = self.protocol == Protocol::Http && one.values.kinds().has(Kinds::STRING);
                Found {
                    // Not every kind can be a key.
                    error: one.error || !one.values.kinds().all_in(Kinds::STRING),
                    ..value(Values::truth(holds, true))
                }
            }
            _ => {
                let of = self.found(of, assumed);
                let has = !one.values.is_empty() && of.values.kinds().has(Kinds::LIST | Kinds::MAP);
                Found {
                    abort: of.abort,
                    ..maybe(Values::truth(has, has))
                }
            }
        };
        Found {
            abort: found.abort || one.abort,
            ..found
        }
    }

    fn of_function(self, call: &CallExpr, function: &Function, assumed: &Assumed) -> Found {
        let receiver = call.target.as_deref().filter(|target| !functions::is_re(target));
        let given: Vec<Found> = receiver
            .into_iter()
            .chain(&call.args)
            .map(|part| self.found(part, assumed))
            .collect();
        if function.name == "matches"
            && let [text, pattern] = given.as_slice()
            && call.args.last().is_some_and(|pattern| literal_text(pattern).is_some())
        {
            return matched(text, pattern);
        }
        let fits = |overload: &&&[Kind], all: bool| {
            let mut pairs = overload.iter().zip(&given);
            overload.len() == given.len()
                && pairs.all(|(kind, one)| {
                    let (kinds, kind) = (one.values.kinds(), Kinds::of(*kind));
                    if all { kinds.all_in(kind) } else { kinds.has(kind) }
                })
        };
        if !function.overloads.iter().any(|overload| fits(&overload, false)) {
            return error();
        }
        let is_sure = function.overloads.iter().any(|overload| fits(&overload, true));
        let result = result(function, &given);
        Found {
            error: given.iter().any(|one| one.error) || !is_sure || result.error,
            abort: given.iter().any(|one| one.abort),
            ..result
        }
    }
}

fn value(values: Values) -> Found {
    Found {
        values,
        error: false,
        abort: false,
    }
}

/// One of the values, or an error.
fn maybe(values: Values) -> Found {
    Found {
        error: true,
        ..value(values)
    }
}

fn error() -> Found {
    maybe(Values::none())
}

fn anything() -> Found {
    maybe(Values::any())
}

/// `matches` with a literal pattern, which Envoy has read beforehand.
fn matched(text: &Found, pattern: &Found) -> Found {
    let kinds = text.values.kinds();
    let is_text = kinds.has(Kinds::STRING);
    Found {
        abort: text.abort || text.error || pattern.abort || !kinds.all_in(Kinds::STRING),
        ..value(Values::truth(is_text, is_text))
    }
}

/// Something in a value of these kinds.
fn element(of: &Values, kinds: Kinds) -> Found {
    if of.kinds().has(kinds) { anything() } else { error() }
}

fn from_compared(compared: Compared) -> Found {
    Found {
        error: compared.error,
        ..value(Values::truth(compared.holds, compared.fails))
    }
}

fn of_both(left: &Found, right: &Found, compare: impl Fn(&Values, &Values) -> Compared) -> Found {
    if left.values.is_empty() || right.values.is_empty() {
        return error();
    }
    let compared = compare(&left.values, &right.values);
    from_compared(Compared {
        error: compared.error || left.error || right.error,
        ..compared
    })
}

/// `left >= right`. What is not a number is neither less nor more.
fn not_less(left: &Values, right: &Values) -> Compared {
    let less = left.is_less(right);
    Compared {
        holds: less.fails,
        fails: less.holds || left.kinds().has(Kinds::DOUBLE) || right.kinds().has(Kinds::DOUBLE),
        ..less
    }
}

fn negated(one: &Found) -> Found {
    Found {
        values: Values::truth(one.values.can_fail(), one.values.can_hold()),
        error: one.is_maybe_no_condition(),
        abort: one.abort,
    }
}

/// What is no condition is like an error.
fn and(left: &Found, right: &Found) -> Found {
    let (l, r) = (&left.values, &right.values);
    let (left_err, right_err) = (left.is_maybe_no_condition(), right.is_maybe_no_condition());
    let goes_on = l.can_hold() || left_err;
    Found {
        values: Values::truth(l.can_hold() && r.can_hold(), l.can_fail() || goes_on && r.can_fail()),
        error: left_err && (r.can_hold() || right_err) || right_err && l.can_hold(),
        abort: left.abort || goes_on && right.abort,
    }
}

fn chosen(condition: &Found, yes: &Found, no: &Found) -> Found {
    let mut chosen = Found {
        values: Values::none(),
        error: condition.is_maybe_no_condition(),
        abort: condition.abort,
    };
    for (can, one) in [(condition.values.can_hold(), yes), (condition.values.can_fail(), no)] {
        if can {
            chosen.values = chosen.values.union(&one.values);
            chosen.error |= one.error;
            chosen.abort |= one.abort;
        }
    }
    chosen
}

/// What both cases leave open.
fn either(one: Option<Assumed>, other: Option<Assumed>) -> Option<Assumed> {
    let (Some(one), Some(mut other)) = (one.clone(), other.clone()) else {
        return one.or(other);
    };
    let mut both = Assumed::new();
    for (text, known) in one {
        match (known, other.remove(&text)) {
            (Known::Is(one), Some(Known::Is(other))) => {
                both.insert(text, Known::Is(one.union(&other)));
            }
            (Known::Absent, Some(Known::Absent)) => {
                both.insert(text, Known::Absent);
            }
            _ => {}
        }
    }
    Some(both)
}

/// What is known where the part has one of the values too; `None` where it cannot.
fn narrowed(mut assumed: Assumed, part: &IdedExpr, to: &Values) -> Option<Assumed> {
    if to.is_empty() {
        return None;
    }
    if let Some(text) = text(part) {
        let values = match assumed.get(&text) {
            Some(Known::Absent) => return None,
            Some(Known::Is(before)) => before.intersection(to),
            None => to.clone(),
        };
        if values.is_empty() {
            return None;
        }
        assumed.insert(text, Known::Is(values));
    }
    Some(assumed)
}

/// A text for the part, the same for all parts that are written alike; none for literals.
fn text(part: &IdedExpr) -> Option<String> {
    if matches!(part.expr, Expr::Literal(_)) {
        return None;
    }
    Some(written(part))
}

fn written(part: &IdedExpr) -> String {
    let all = |parts: &[IdedExpr]| parts.iter().map(written).collect::<Vec<_>>().join(",");
    match &part.expr {
        Expr::Ident(name) => name.clone(),
        Expr::Select(select) if select.test => format!("has({}.{})", written(&select.operand), select.field),
        Expr::Select(select) => format!("{}.{}", written(&select.operand), select.field),
        Expr::Call(call) => match (member_of(part), &call.target) {
            (Some((of, name)), _) => format!("{}.{name}", written(of)),
            (None, Some(target)) => format!("{}.{}({})", written(target), call.func_name, all(&call.args)),
            (None, None) => format!("{}({})", call.func_name, all(&call.args)),
        },
        Expr::List(list) => format!("[{}]", all(&list.elements)),
        other => format!("{other:?}"),
    }
}

/// What the part is a member of, and its name: `a.b` and `a['b']`.
fn member_of(part: &IdedExpr) -> Option<(&IdedExpr, &str)> {
    match &part.expr {
        Expr::Select(select) if !select.test => Some((&select.operand, &select.field)),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            ("_[_]", [of, key]) => Some((of, literal_text(key)?)),
            _ => None,
        },
        _ => None,
    }
}

fn has_choice(part: &IdedExpr) -> bool {
    matches!(&part.expr, Expr::Call(call) if call.func_name == "_?_:_") || parts_of(part).into_iter().any(has_choice)
}

fn parts_of(part: &IdedExpr) -> Vec<&IdedExpr> {
    match &part.expr {
        Expr::Select(select) => vec![&select.operand],
        Expr::Call(call) => {
            let receiver = call.target.as_deref().filter(|target| !functions::is_re(target));
            receiver.into_iter().chain(&call.args).collect()
        }
        Expr::List(list) => list.elements.iter().collect(),
        _ => Vec::new(),
    }
}

fn of_literal(literal: &LiteralValue) -> Values {
    match literal {
        LiteralValue::Boolean(truth) => Values::truth(*truth.inner(), !*truth.inner()),
        LiteralValue::Bytes(_) => Values::all(Kinds::BYTES),
        LiteralValue::Double(_) => Values::all(Kinds::DOUBLE),
        LiteralValue::Int(number) => Values::integers(Kinds::INT, &Ranges::one((*number.inner()).into())),
        LiteralValue::String(text) => Values::text(text.inner()),
        LiteralValue::UInt(number) => Values::integers(Kinds::UINT, &Ranges::one((*number.inner()).into())),
        LiteralValue::Null => Values::all(Kinds::NULL),
    }
}

/// What a function of two texts says of these; `None` where that is not known.
fn of_texts(name: &str, text: &str, with: &str) -> Option<bool> {
    match name {
        "contains" => Some(text.contains(with)),
        "startsWith" => Some(text.starts_with(with)),
        "endsWith" => Some(text.ends_with(with)),
        _ => None,
    }
}

/// What a function gives for arguments of kinds that it takes.
fn result(function: &Function, given: &[Found]) -> Found {
    let first = given.first().map_or_else(Values::none, |one| one.values.clone());
    let integers = |low: i128, high: i128| Values::integers(Kinds::INT, &Ranges::between(low, high));
    let of_time = first.kinds().all_in(Kinds::TIMESTAMP);
    let is_utc = given.len() == 1;
    let part = |low: i128, high: i128| {
        let values = if of_time {
            integers(low, high)
        } else {
            Values::all(Kinds::INT)
        };
        Found {
            error: !is_utc,
            ..value(values)
        }
    };
    match function.name {
        "dyn" => value(first),
        "type" => value(Values::all(Kinds::TYPE)),
        "size" => value(match first.known_texts() {
            Some(texts) => texts.iter().fold(Values::none(), |all, text| {
                let length = i128::try_from(text.chars().count()).unwrap_or(i128::MAX);
                all.union(&integers(length, length))
            }),
            None => integers(0, i64::MAX.into()),
        }),
        "contains" | "startsWith" | "endsWith" => value(two_texts(function.name, &first, given)),
        // A pattern that is no literal can be a bad one.
        "matches" => maybe(Values::truth(true, true)),
        "int" if first.kinds().all_in(Kinds::INT) => value(first),
        "getFullYear" => part(i64::MIN.into(), i64::MAX.into()),
        "getMonth" => part(0, 11),
        "getDate" => part(1, 31),
        "getDayOfMonth" => part(0, 30),
        "getDayOfWeek" => part(0, 6),
        "getDayOfYear" => part(0, 365),
        "getHours" => part(0, 23),
        "getMinutes" | "getSeconds" => part(0, 59),
        "getMilliseconds" => part(0, 999),
        "duration" => of_duration(&first),
        "int" | "uint" | "bool" if !is_readable(function.name, &first) => maybe(Values::none()),
        _ => maybe(Values::all(Kinds::of(function.result))),
    }
}

fn two_texts(name: &str, first: &Values, given: &[Found]) -> Values {
    let second = given.get(1).map(|one| &one.values);
    let (Some(texts), Some(with)) = (first.known_texts(), second.and_then(Values::known_texts)) else {
        return Values::truth(true, true);
    };
    let mut all = Values::none();
    for text in texts {
        for with in with {
            let is = of_texts(name, text, with);
            all = all.union(&Values::truth(is != Some(false), is != Some(true)));
        }
    }
    all
}

/// Whether one of the values can be read; of texts that are not known, any.
fn is_readable(function: &str, values: &Values) -> bool {
    values
        .known_texts()
        .is_none_or(|texts| texts.iter().any(|text| types::is_readable(function, text)))
}

/// What `duration` reads.
fn of_duration(given: &Values) -> Found {
    let Some(texts) = given.known_texts() else {
        return maybe(Values::all(Kinds::DURATION));
    };
    let mut read = value(Values::none());
    for text in texts {
        match types::span(text) {
            _ if !types::is_readable("duration", text) => read.error = true,
            Some(span) => read.values = read.values.union(&Values::spans(Ranges::one(span))),
            None => read = maybe(Values::all(Kinds::DURATION)),
        }
    }
    read
}

fn negative(one: &Found) -> Found {
    let kinds = one.values.kinds();
    let mut values = Values::all(kinds.and(Kinds::DOUBLE));
    if kinds.has(Kinds::INT) {
        let of = one.values.as_integers();
        let ends = (
            of.most().and_then(i128::checked_neg),
            of.least().and_then(i128::checked_neg),
        );
        if let (Some(low), Some(high)) = ends {
            values = values.union(&Values::integers(Kinds::INT, &Ranges::between(low, high)));
        }
    }
    Found {
        error: one.error || !kinds.all_in(Kinds::DOUBLE),
        ..value(values)
    }
}

fn arithmetic(sign: &str, left: &Found, right: &Found) -> Found {
    let (l, r) = (left.values.kinds(), right.values.kinds());
    let both = |kinds: Kinds| l.has(kinds) && r.has(kinds);
    let mut values = Values::none();
    for kinds in [Kinds::INT, Kinds::UINT] {
        if both(kinds) && ["+", "-", "*", "/", "%"].contains(&sign) {
            let computed = computed(sign, &left.values.as_integers(), &right.values.as_integers());
            values = values.union(&Values::integers(kinds, &computed));
        }
    }
    let other = |taken: bool, kinds: Kinds| if taken { kinds } else { Kinds::NONE };
    let sum = sign == "+" || sign == "-";
    let (time, span) = (Kinds::TIMESTAMP, Kinds::DURATION);
    let kinds = other(
        both(Kinds::DOUBLE) && (sum || sign == "*" || sign == "/"),
        Kinds::DOUBLE,
    ) | other(sum && both(span) || sign == "-" && both(time), span)
        | other(
            sum && l.has(time) && r.has(span) || sign == "+" && l.has(span) && r.has(time),
            time,
        );
    let values = values.union(&Values::all(kinds));
    let of_doubles = l.all_in(Kinds::DOUBLE) && r.all_in(Kinds::DOUBLE) && !values.is_empty();
    Found {
        error: left.error || right.error || !of_doubles && !cannot_overflow(sign, &left.values, &right.values),
        ..value(values)
    }
}

/// Whole numbers that the operator gives for those.
fn computed(sign: &str, left: &Ranges, right: &Ranges) -> Ranges {
    let ends = (left.least(), left.most(), right.least(), right.most());
    let (Some(low), Some(high), Some(other_low), Some(other_high)) = ends else {
        return Ranges::empty();
    };
    match sign {
        "+" => Ranges::between(low.saturating_add(other_low), high.saturating_add(other_high)),
        "-" => Ranges::between(low.saturating_sub(other_high), high.saturating_sub(other_low)),
        "*" => {
            let corners = [
                (low, other_low),
                (low, other_high),
                (high, other_low),
                (high, other_high),
            ];
            let products = corners.map(|(a, b)| a.saturating_mul(b));
            let (least, most) = (products.iter().min(), products.iter().max());
            least
                .zip(most)
                .map_or(Ranges::all(), |(least, most)| Ranges::between(*least, *most))
        }
        "/" if other_low > 0 && other_low == other_high => Ranges::between(low / other_low, high / other_low),
        "%" if other_low == other_high && other_low != 0 => {
            if low == high {
                return Ranges::one(low % other_low);
            }
            let most = other_low.saturating_abs() - 1;
            Ranges::between(if low >= 0 { 0 } else { -most }, if high <= 0 { 0 } else { most })
        }
        "/" | "%" if other_low == 0 && other_high == 0 => Ranges::empty(),
        _ => Ranges::all(),
    }
}

/// Whether two whole numbers of one kind always give one.
fn cannot_overflow(sign: &str, left: &Values, right: &Values) -> bool {
    [
        (Kinds::INT, i128::from(i64::MIN), i128::from(i64::MAX)),
        (Kinds::UINT, 0, i128::from(u64::MAX)),
    ]
    .into_iter()
    .any(|(kind, least, most)| {
        let right_numbers = right.as_integers();
        let divides = sign == "/" || sign == "%";
        let computed = computed(sign, &left.as_integers(), &right_numbers);
        left.kinds().all_in(kind)
            && right.kinds().all_in(kind)
            && (!divides || right_numbers.least() > Some(0))
            && computed.least().is_some_and(|low| low >= least)
            && computed.most().is_some_and(|high| high <= most)
    })
}
