//! What Envoy reads out of a request: its query, its client's certificate, its gRPC status.

/// What stands before the query.
pub(super) fn without_query(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == b'?').next().unwrap_or_default()
}

/// What stands behind the first question mark, where there is one.
pub(super) fn query(path: &str) -> Option<&str> {
    path.split_once('?').map(|(_, query)| query)
}

/// The parameters of the query in their order, decoded. One without a value has an empty one.
pub(super) fn query_parameters(path: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let parameters = query(path).into_iter().flat_map(|query| query.split('&'));
    parameters.map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (percent_decoded(name.as_bytes()), percent_decoded(value.as_bytes()))
    })
}

/// Each percent sign with two hexadecimal digits becomes a byte; a plus stays a plus.
pub(super) fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let pair = digit(text.get(at + 1)).zip(digit(text.get(at + 2)));
        let escaped = pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        let (decoded_byte, length) = escaped
            .filter(|_| byte == b'%')
            .map_or((byte, 1), |escaped| (escaped, 3));
        decoded.push(decoded_byte);
        at += length;
    }
    decoded
}

/// Characters that a URL may have, which are the only ones that [`url_decoded`] makes.
const URL_CHARACTERS: &[u8] = b"-._~!$&'()*+,;=:/?#[]@%`";

/// The query as a URL again: of the escapes, those that stand for a character that a URL may have are decoded, all
/// others stay as they are. A percent sign without two digits behind it is left out, but for the last two bytes.
pub(super) fn url_decoded(query: &str) -> Vec<u8> {
    let text = query.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        let [high, low, behind @ ..] = after else {
            decoded.push(*byte);
            continue;
        };
        let escaped = digit(*high).zip(digit(*low));
        match escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            _ if *byte != b'%' => decoded.push(*byte),
            None => {}
            Some(character) if character.is_ascii_alphanumeric() || URL_CHARACTERS.contains(&character) => {
                decoded.push(character);
                rest = behind;
            }
            Some(_) => decoded.push(b'%'),
        }
    }
    decoded
}

/// The first value of a key, in any case, of the header `x-forwarded-client-cert`. A header with a quote that is not
/// closed has none. Envoy decodes no percent signs here.
pub(super) fn forwarded_client_cert(header: &str, key: &str) -> Option<String> {
    let elements = split_unquoted(header, ',')?;
    for element in elements {
        for pair in split_unquoted(element, ';')? {
            let Some((name, value)) = pair.split_once('=') else {
                continue;
            };
            if name.trim().eq_ignore_ascii_case(key) {
                let value = value.trim();
                let inside = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                return Some(unescaped(inside.unwrap_or(value)));
            }
        }
    }
    None
}

/// The pieces between separators outside of quotes; `None` where a quote is not closed.
fn split_unquoted(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut pieces = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        } else if c == separator && !quoted {
            pieces.extend(text.get(start..at));
            start = at + c.len_utf8();
        }
    }
    pieces.extend(text.get(start..));
    (!quoted).then_some(pieces)
}

/// A backslash before a quote or a backslash is taken away.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let next = (c == '\\')
            .then(|| rest.next_if(|next| matches!(next, '"' | '\\')))
            .flatten();
        plain.push(next.unwrap_or(c));
    }
    plain
}

/// `application/grpc`, alone or with `+` or `;` behind it.
pub(super) fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Not a number: -1.
pub(super) fn grpc_status(text: &[u8]) -> i64 {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.filter(|status| *status >= 0).unwrap_or(-1)
}

/// The status that stands for one of HTTP where gRPC's is missing.
pub(super) const fn grpc_status_of_http(code: u16) -> i64 {
    match code {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// Names by number, in Envoy's two spellings.
const GRPC_STATUSES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

fn grpc_names(status: i64) -> Option<(&'static str, &'static str)> {
    GRPC_STATUSES.get(usize::try_from(status).ok()?).copied()
}

/// `NotFound`; a number where it has no name.
pub(super) fn grpc_camel_name(status: i64) -> String {
    grpc_names(status).map_or_else(|| status.to_string(), |(camel, _)| camel.to_owned())
}

/// `NOT_FOUND`; a number where it has no name.
pub(super) fn grpc_snake_name(status: i64) -> String {
    grpc_names(status).map_or_else(|| status.to_string(), |(_, snake)| snake.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Envoy 1.36.4 and 1.40.0 answered.
    #[test]
    fn the_first_value_of_a_key_of_the_clients_certificate_is_found() {
        for (header, key, value) in [
            ("By=a;URI=b,By=c;DNS=d", "dns", Some("d")),
            ("By=a;URI=b,By=c;DNS=d", "BY", Some("a")),
            ("By=a;Hash=\"q,w;e\";DNS=", "hash", Some("q,w;e")),
            ("By=a;Hash=\"q,w;e\";DNS=", "dns", Some("")),
            ("Hash=a=b; URI = x ", "hash", Some("a=b")),
            ("Hash=a=b; URI = x ", "uri", Some("x")),
            ("Subject=\"un\\\"closed;Hash=x", "hash", None),
            ("Hash=\"a\";\"", "hash", None),
            ("Subject=\"a\\\\b\";By=\"x\"y", "subject", Some("a\\b")),
            ("Subject=\"a\\\\b\";By=\"x\"y", "by", Some("\"x\"y")),
            ("junk;Hash=1", "hash", Some("1")),
            ("\"By\"=a", "by", None),
            ("By=%41", "by", Some("%41")),
            ("Subject=\"\\n\"", "subject", Some("\\n")),
            ("By=a\\\"b", "by", Some("a\"b")),
        ] {
            assert_eq!(forwarded_client_cert(header, key).as_deref(), value, "{header}");
        }
    }

    /// As Envoy 1.38.3 and 1.40.0 printed them.
    #[test]
    fn a_decoded_query_is_still_a_url() {
        for (query, decoded) in [
            ("%C3%A9=u%2fv&x=%zz&x=2", "%C3%A9=u/v&x=zz&x=2"),
            ("%41%7e%7f%20%21%0a%00", "A~%7f%20!%0a%00"),
            ("a%", "a%"),
            ("a%4", "a%4"),
            ("%%41", "A"),
            ("+%2B%25%26%3D%22", "++%&=%22"),
            ("%5b%5D%5E%60%7B%7d", "[]%5E`%7B%7d"),
        ] {
            assert_eq!(String::from_utf8(url_decoded(query)).unwrap(), decoded);
        }
    }

    #[test]
    fn query_parameters_are_decoded_and_a_plus_stays() {
        let all: Vec<_> = query_parameters("/a?x=1&y=%41+b&noeq&%6b=v=w&z=%4&%").collect();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let all: Vec<_> = all.iter().map(|(name, value)| (text(name), text(value))).collect();
        let expected = [
            ("x", "1"),
            ("y", "A+b"),
            ("noeq", ""),
            ("k", "v=w"),
            ("z", "%4"),
            ("%", ""),
        ];
        assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
