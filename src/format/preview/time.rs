//! Times as Envoy's `START_TIME(FORMAT)` prints them: `%s` and `%f` are Envoy's own, `%E…` is Abseil's, the rest is
//! `strftime` in the C locale, with the flags and widths of glibc.

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::{Offset, TimeZone};

/// The format without one, in UTC.
const DEFAULT: &str = "%Y-%m-%dT%H:%M:%E3SZ";
/// The format without one, in the proxy's zone.
const DEFAULT_LOCAL: &str = "%Y-%m-%dT%H:%M:%E3S%z";

/// The zone that a time is printed in.
#[derive(Clone, Copy)]
pub(super) struct Zone<'a> {
    /// Minutes east of UTC.
    pub offset_minutes: i32,
    pub name: &'a str,
}

pub(super) const UTC: Zone<'static> = Zone {
    offset_minutes: 0,
    name: "UTC",
};

/// A time in UTC.
pub(super) fn utc(time: Timestamp, format: &str) -> String {
    formatted(time, UTC, if format.is_empty() { DEFAULT } else { format })
}

/// A time in the proxy's zone.
pub(super) fn local(time: Timestamp, zone: Zone<'_>, format: &str) -> String {
    formatted(time, zone, if format.is_empty() { DEFAULT_LOCAL } else { format })
}

/// Envoy takes its own conversions out first, wherever they stand: `%%s` is a percent sign and the seconds.
fn formatted(time: Timestamp, zone: Zone<'_>, format: &str) -> String {
    let moment = Moment::new(time, zone);
    let mut text = String::new();
    let mut rest = format;
    let mut segment_start = format;
    while let Some(at) = rest.find('%') {
        let after = rest.get(at + 1..).unwrap_or_default();
        if let Some((printed, length)) = moment.envoys_own(after) {
            let segment_length = segment_start.len() - rest.len() + at;
            moment.segment(segment_start.get(..segment_length).unwrap_or_default(), &mut text);
            text.push_str(&printed);
            rest = after.get(length..).unwrap_or_default();
            segment_start = rest;
        } else {
            rest = after;
        }
    }
    moment.segment(segment_start, &mut text);
    text
}

/// A time in a zone.
struct Moment<'a> {
    time: Timestamp,
    civil: DateTime,
    zone: Zone<'a>,
}

/// What stands between the percent sign and the letter of a conversion.
#[derive(Default)]
struct Modifiers {
    /// `-`, `_` or `0`.
    padding: Option<char>,
    upper: bool,
    swap: bool,
    width: usize,
}

impl<'a> Moment<'a> {
    fn new(time: Timestamp, zone: Zone<'a>) -> Self {
        let offset = Offset::from_seconds(zone.offset_minutes.saturating_mul(60)).unwrap_or(Offset::UTC);
        let civil = time.to_zoned(TimeZone::fixed(offset)).datetime();
        Self { time, civil, zone }
    }

    /// Nine digits.
    fn nanoseconds(&self) -> String {
        format!("{:09}", self.civil.subsec_nanosecond())
    }

    /// The first digits of the fraction of a second.
    fn fraction(&self, digits: usize) -> String {
        let known = self.nanoseconds();
        known.chars().chain(std::iter::repeat('0')).take(digits).collect()
    }

    /// What `%s`, `%f` and `%1f` to `%9f` print, and how long they are behind the percent sign.
    fn envoys_own(&self, after: &str) -> Option<(String, usize)> {
        let mut characters = after.chars();
        match (characters.next()?, characters.next()) {
            ('s', _) => Some((self.time.as_second().to_string(), 1)),
            ('f', _) => Some((self.fraction(9), 1)),
            (digit @ '1'..='9', Some('f')) => {
                let digits = digit.to_digit(10).and_then(|digits| usize::try_from(digits).ok())?;
                Some((self.fraction(digits), 2))
            }
            _ => None,
        }
    }

    fn segment(&self, format: &str, text: &mut String) {
        let mut rest = format;
        while let Some((before, after)) = rest.split_once('%') {
            text.push_str(before);
            let printed = self.abseils_own(after).or_else(|| self.conversion(after));
            // What is no conversion stays as it stands.
            let (printed, length) = printed.unwrap_or_else(|| ("%".to_owned(), 0));
            text.push_str(&printed);
            rest = after.get(length..).unwrap_or_default();
        }
        text.push_str(rest);
    }

    /// `%Ez`, `%E*z`, `%:z` and so on, `%ET`, `%E4Y`, `%E3S`, `%E*S`, `%E3f`, `%E*f`.
    fn abseils_own(&self, after: &str) -> Option<(String, usize)> {
        for (zone, form) in [
            (":::z", OffsetForm::Shortest),
            ("::z", OffsetForm::Seconds),
            (":z", OffsetForm::Colon),
            ("E*z", OffsetForm::Seconds),
            ("Ez", OffsetForm::Colon),
        ] {
            if after.starts_with(zone) {
                return Some((self.offset(form), zone.len()));
            }
        }
        if after.starts_with("ET") {
            return Some(("T".to_owned(), 2));
        }
        if after.starts_with("E4Y") {
            return Some((format!("{:04}", self.civil.year()), 3));
        }
        let fraction = after.strip_prefix('E')?;
        let (digits, letter) = if let Some(letter) = fraction.strip_prefix('*') {
            (None, letter)
        } else {
            let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, letter) = fraction.split_at_checked(length)?;
            // More digits than any clock has are not worth printing.
            (
                Some(digits.parse::<usize>().ok().filter(|digits| *digits <= 1024)?),
                letter,
            )
        };
        let length = 1 + fraction.len() - letter.len() + 1;
        let shown = match digits {
            Some(digits) => self.fraction(digits),
            None => self.nanoseconds().trim_end_matches('0').to_owned(),
        };
        if letter.starts_with('S') {
            let point = if shown.is_empty() { "" } else { "." };
            Some((format!("{:02}{point}{shown}", self.civil.second()), length))
        } else if letter.starts_with('f') {
            let shown = if shown.is_empty() { "0".to_owned() } else { shown };
            Some((shown, length))
        } else {
            None
        }
    }

    /// A conversion of `strftime`. `%E` and `%O` mean nothing in the C locale.
    fn conversion(&self, after: &str) -> Option<(String, usize)> {
        let mut modifiers = Modifiers::default();
        let mut rest = after;
        while let Some(flag) = rest.chars().next() {
            match flag {
                '-' | '_' | '0' => modifiers.padding = Some(flag),
                '^' => modifiers.upper = true,
                '#' => modifiers.swap = true,
                _ => break,
            }
            rest = rest.get(1..)?;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (width, unmodified) = rest.split_at_checked(digits)?;
        modifiers.width = if width.is_empty() {
            0
        } else {
            width.parse().ok().filter(|width| *width <= 1024)?
        };
        let letter_at = unmodified.strip_prefix(['E', 'O']).unwrap_or(unmodified);
        let letter = letter_at.chars().next()?;
        let printed = self.letter(letter, &modifiers)?;
        Some((printed, after.len() - letter_at.len() + letter.len_utf8()))
    }

    fn letter(&self, letter: char, modifiers: &Modifiers) -> Option<String> {
        let at = &self.civil;
        let date = at.date();
        let year = i64::from(at.year());
        let hour = i64::from(at.hour());
        let hour_12 = match hour % 12 {
            0 => 12,
            hour => hour,
        };
        let day_of_year = i64::from(date.day_of_year());
        let sunday = i64::from(date.weekday().to_sunday_zero_offset());
        let monday = i64::from(date.weekday().to_monday_zero_offset());
        let iso = date.iso_week_date();
        let number = |value: i64, digits: usize, pad: char| Some(modifiers.number(value, digits, pad));
        let word = |word: &str| Some(modifiers.word(word, letter));
        let whole = |format: &str| {
            let mut text = String::new();
            self.segment(format, &mut text);
            Some(modifiers.word(&text, letter))
        };
        match letter {
            'a' => word(weekday_name(date.weekday()).get(..3)?),
            'A' => word(weekday_name(date.weekday())),
            'b' | 'h' => word(month_name(at.month()).get(..3)?),
            'B' => word(month_name(at.month())),
            'c' => whole("%a %b %e %H:%M:%S %Y"),
            'C' => number(year.div_euclid(100), 2, '0'),
            'd' => number(at.day().into(), 2, '0'),
            'D' | 'x' => whole("%m/%d/%y"),
            'e' => number(at.day().into(), 2, ' '),
            'F' => whole("%Y-%m-%d"),
            'g' => number(i64::from(iso.year()).rem_euclid(100), 2, '0'),
            'G' => number(iso.year().into(), 1, '0'),
            'H' => number(hour, 2, '0'),
            'I' => number(hour_12, 2, '0'),
            'j' => number(day_of_year, 3, '0'),
            'k' => number(hour, 2, ' '),
            'l' => number(hour_12, 2, ' '),
            'm' => number(at.month().into(), 2, '0'),
            'M' => number(at.minute().into(), 2, '0'),
            'p' => word(if hour < 12 { "AM" } else { "PM" }),
            'P' => word(if hour < 12 { "am" } else { "pm" }),
            'r' => whole("%I:%M:%S %p"),
            'R' => whole("%H:%M"),
            's' => number(self.time.as_second(), 1, '0'),
            'S' => number(at.second().into(), 2, '0'),
            't' => Some("\t".to_owned()),
            'T' | 'X' => whole("%H:%M:%S"),
            'u' => number(monday + 1, 1, '0'),
            'U' => number((day_of_year + 6 - sunday) / 7, 2, '0'),
            'V' => number(iso.week().into(), 2, '0'),
            'w' => number(sunday, 1, '0'),
            'W' => number((day_of_year + 6 - monday) / 7, 2, '0'),
            'y' => number(year.rem_euclid(100), 2, '0'),
            'Y' => number(year, 1, '0'),
            'z' => Some(self.offset(OffsetForm::Plain)),
            'Z' => word(self.zone.name),
            '%' => Some("%".to_owned()),
            _ => None,
        }
    }

    fn offset(&self, form: OffsetForm) -> String {
        let minutes = self.zone.offset_minutes;
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
        match form {
            OffsetForm::Plain => format!("{sign}{hours:02}{minutes:02}"),
            OffsetForm::Seconds => format!("{sign}{hours:02}:{minutes:02}:00"),
            OffsetForm::Shortest if minutes == 0 => format!("{sign}{hours:02}"),
            OffsetForm::Colon | OffsetForm::Shortest => format!("{sign}{hours:02}:{minutes:02}"),
        }
    }
}

/// Forms of an offset from UTC.
#[derive(Clone, Copy)]
enum OffsetForm {
    /// `+0130`
    Plain,
    /// `+01:30`
    Colon,
    /// `+01:30:00`
    Seconds,
    /// `+01`, or `+01:30` where it has minutes.
    Shortest,
}

impl Modifiers {
    fn number(&self, value: i64, digits: usize, pad: char) -> String {
        let (digits, pad) = match self.padding {
            Some('-') => (0, pad),
            Some('_') => (digits, ' '),
            Some(_) => (digits, '0'),
            None => (digits, pad),
        };
        padded(&value.to_string(), digits.max(self.width), pad)
    }

    fn word(&self, word: &str, letter: char) -> String {
        // `#` is the other case: small letters where the conversion prints capitals.
        let cased = match (self.swap, letter) {
            (true, 'p' | 'Z') => word.to_ascii_lowercase(),
            (true, 'a' | 'A' | 'b' | 'B' | 'h') => word.to_ascii_uppercase(),
            _ if self.upper => word.to_ascii_uppercase(),
            _ => word.to_owned(),
        };
        padded(&cased, self.width, if self.padding == Some('0') { '0' } else { ' ' })
    }
}

fn padded(text: &str, width: usize, pad: char) -> String {
    let missing = width.saturating_sub(text.chars().count());
    std::iter::repeat_n(pad, missing).chain(text.chars()).collect()
}

const fn weekday_name(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

const fn month_name(month: i8) -> &'static str {
    match month {
        1 => "January",
        2 => "February",
        3 => "March",
        4 => "April",
        5 => "May",
        6 => "June",
        7 => "July",
        8 => "August",
        9 => "September",
        10 => "October",
        11 => "November",
        _ => "December",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Envoy 1.36.4 and 1.40.0 printed this time in UTC.
    #[test]
    fn conversions_print_what_envoy_printed() {
        let time: Timestamp = "2026-11-21T19:33:57.030403Z".parse().unwrap();
        for (format, printed) in [
            ("", "2026-11-21T19:33:57.030Z"),
            ("%a %A %b %B %h", "Sat Saturday Nov November Nov"),
            ("%c", "Sat Nov 21 19:33:57 2026"),
            ("%C %d %D %e %F %g %G", "20 21 11/21/26 21 2026-11-21 26 2026"),
            ("%H %I %j %k %l %m %M %p %P", "19 07 325 19  7 11 33 PM pm"),
            ("%r|%R|%S|%t|%T|%u", "07:33:57 PM|19:33|57|\t|19:33:57|6"),
            (
                "%U %V %w %W %x %X %y %Y %z %Z %%",
                "46 47 6 46 11/21/26 19:33:57 26 2026 +0000 UTC %",
            ),
            ("%s", "1795289637"),
            ("%f %1f %3f %9f", "030403000 0 030 030403000"),
            (
                "%E3S %E*S %E0S %E12S %E3f %E*f",
                "57.030 57.030403 57 57.030403000000 030 030403",
            ),
            (
                "%Ez %E*z %E4Y %ET %:z %::z %:::z",
                "+00:00 +00:00:00 2026 T +00:00 +00:00:00 +00",
            ),
            ("%Ey %Od %OH %Ec", "26 21 19 Sat Nov 21 19:33:57 2026"),
            (
                "%-d %_d %0e %^a %^B %#Z %#p %5d %10Y",
                "21 21 21 SAT NOVEMBER utc pm 00021 0000002026",
            ),
            ("%L %N %q %i %E %O %Q %+ %E3s", "%L %N %q %i %E %O %Q %+ %E3s"),
            (
                "%s%s %f%f %3f%s",
                "17952896371795289637 030403000030403000 0301795289637",
            ),
            ("%%s %%f", "%1795289637 %030403000"),
            ("é%E3Sé % x%", "é57.030é % x%"),
            ("%E*", "%E*"),
        ] {
            assert_eq!(utc(time, format), printed, "{format}");
        }
    }

    #[test]
    fn local_times_are_in_the_proxys_zone() {
        let time: Timestamp = "2026-11-21T19:33:59.033066Z".parse().unwrap();
        let zone = Zone {
            offset_minutes: -300,
            name: "EST",
        };
        assert_eq!(local(time, zone, ""), "2026-11-21T14:33:59.033-0500");
        assert_eq!(local(time, zone, "%z %Z %s %H"), "-0500 EST 1795289639 14");
    }
}
