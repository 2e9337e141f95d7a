//! Where in its source a part of an expression stands.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use kube_cel::cel::common::ast::{EntryExpr, Expr, IdedExpr, SourceInfo};

/// The bytes that `part`, of an expression read from `source`, was read from.
pub(super) fn place(source: &str, part: &IdedExpr) -> Option<Range<usize>> {
    let info = info(source)?;
    let mut tokens = BTreeMap::new();
    collect(part, &info, &mut tokens);
    let start = *tokens.first_key_value()?.0;
    let end = tokens.values().copied().max()?;
    let range = start_of_name(source, start)..end_of_name(source, end);
    let end = closed(source, &range);
    source.get(range.start..end).map(|_| range.start..end)
}

/// The parser tells the places of tokens only together with errors. So it reads a second time, with an error behind
/// the end; up to there it numbers the parts as it did before.
fn info(source: &str) -> Option<Arc<SourceInfo>> {
    let erroneous = format!("{source}\n)");
    super::on_large_stack(|| {
        let errors = super::parser().parse(&erroneous).err()?;
        errors.errors.into_iter().find_map(|error| error.source_info)
    })?
}

/// Start and end of one token for each part: the operator of a call, the dot of a selection, a name, a literal.
fn collect(part: &IdedExpr, info: &SourceInfo, tokens: &mut BTreeMap<usize, usize>) {
    if let Some((start, last)) = info.offset_for(part.id)
        && let (Ok(start), Ok(last)) = (usize::try_from(start), usize::try_from(last))
    {
        tokens.insert(start, last + 1);
    }
    match &part.expr {
        Expr::Select(select) => collect(&select.operand, info, tokens),
        Expr::Call(call) => {
            for part in call.target.as_deref().into_iter().chain(&call.args) {
                collect(part, info, tokens);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|part| collect(part, info, tokens)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    collect(&entry.key, info, tokens);
                    collect(&entry.value, info, tokens);
                }
            }
        }
        Expr::Comprehension(made) => collect(&made.iter_range, info, tokens),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {}
    }
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The token of a call is its parenthesis: the name stands before it.
fn start_of_name(source: &str, start: usize) -> usize {
    match source.split_at_checked(start) {
        Some((before, after)) if after.starts_with('(') => before.trim_end_matches(in_name).len(),
        _ => start,
    }
}

/// The token of a selection is its dot: the name stands behind it.
fn end_of_name(source: &str, end: usize) -> usize {
    match source.split_at_checked(end) {
        Some((before, after)) if before.ends_with('.') => {
            source.len() - after.trim_start().trim_start_matches(in_name).len()
        }
        _ => end,
    }
}

/// The end of the range, with the brackets behind it that close what it opens.
fn closed(source: &str, range: &Range<usize>) -> usize {
    let mut open = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in source.char_indices().skip_while(|(at, _)| *at < range.start) {
        if at >= range.end && open == 0 {
            break;
        }
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(mark), c) if c == mark => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[' | '{') => open += 1,
            (None, ')' | ']' | '}') => {
                open = open.saturating_sub(1);
                if open == 0 && at >= range.end {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    range.end
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use kube_cel::cel::common::ast::{Expr, IdedExpr};

    fn operands(part: &IdedExpr) -> Vec<&IdedExpr> {
        match &part.expr {
            Expr::Call(call) => call.args.iter().collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn the_place_of_a_part_is_its_text() {
        for (source, left, right) in [
            (
                "request.methd == 'é)' && size(a.b) > 2",
                "request.methd == 'é)'",
                "size(a.b) > 2",
            ),
            (
                "'é' == b . c && x['a)'].contains((y)) // z",
                "'é' == b . c",
                "x['a)'].contains((y))",
            ),
            (
                "has(a.b) || {'a': [1]}['a'] == [1]",
                "has(a.b)",
                "{'a': [1]}['a'] == [1]",
            ),
            ("contains(\n a.b ,c) || !d", "contains(\n a.b ,c)", "!d"),
        ] {
            let parsed = parse(source).expect("CEL");
            let texts: Vec<_> = operands(parsed.expression())
                .into_iter()
                .map(|part| parsed.place(part).and_then(|place| source.get(place)))
                .collect();
            assert_eq!(texts, [Some(left), Some(right)], "{source}");
        }
    }
}
