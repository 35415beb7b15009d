//! The additions of transformers to Jinja for chat templates: `raise_exception`, `strftime_now`, a
//! `tojson` that leaves characters as they are, Python's string methods, `break` and `continue`,
//! and the tags `generation` and `endgeneration`, which mark the model's own text and change
//! nothing.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, State};
use serde_json::Value as Json;

use super::Message;
use crate::clock::{SystemTime, UNIX_EPOCH};

/// The name of the template in its environment.
pub const NAME: &str = "chat";

/// The fuel of a template for `messages`. An instruction takes one unit, and so do 64 bytes of text
/// that are made or searched. This bounds the time and memory of an endless template. The
/// templates of models take about 100 units for a message, and read its text a few times.
pub fn fuel(messages: &[Message]) -> u64 {
    let bytes: usize = messages.iter().map(|message| message.content.len()).sum();
    50_000 + 2_000 * messages.len() as u64 + bytes as u64
}

/// Compiles `source`.
pub fn environment(source: &str) -> Result<Environment<'static>, String> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the usual delimiters"));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        strftime(&format, now.map_or(0, |time| time.as_secs()))
    });
    environment.add_filter("tojson", |state: &State<'_, '_>, value: Value, options: Kwargs| {
        let indent: Option<usize> = options.get("indent")?;
        options.assert_all_used()?;
        let json = serde_json::to_value(&value)
            .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
        let left = state.fuel_levels().map_or(u64::MAX, |(_, left)| left.saturating_mul(64));
        let mut text =
            Text { text: String::new(), most: usize::try_from(left).unwrap_or(usize::MAX) };
        match dump(&json, indent, 0, &mut text) {
            Some(()) => Ok(text.text),
            None => Err(Error::new(ErrorKind::OutOfFuel, "the JSON is too long")),
        }
    });
    environment
        .add_template_owned(NAME, without_generation_tags(source))
        .map_err(|error| format!("the model's chat template cannot be read: {error}"))?;
    Ok(environment)
}

/// Replaces the tags `generation` and `endgeneration` by tags that have no effect either and trim
/// the same white space.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let Some(length) = rest[at + 2..].find("%}").map(|end| end + 4) else {
            break;
        };
        let tag = &rest[at..at + length];
        let signs: &[char] = &['-', '+'];
        let name = tag[2..length - 2].trim_start_matches(signs).trim_end_matches(signs).trim();
        text.push_str(&rest[..at]);
        match name {
            "generation" => text.push_str(&tag.replacen(name, "if true", 1)),
            "endgeneration" => text.push_str(&tag.replacen(name, "endif", 1)),
            _ => text.push_str(tag),
        }
        rest = &rest[at + length..];
    }
    text + rest
}

/// A text whose length in bytes is limited by the fuel that is left.
struct Text {
    text: String,
    most: usize,
}

impl Text {
    /// None if it would be too long.
    fn push(&mut self, part: &str, times: usize) -> Option<()> {
        let length = part.len().checked_mul(times)?.checked_add(self.text.len())?;
        (length <= self.most).then(|| self.text.push_str(&part.repeat(times)))
    }
}

/// Writes JSON as Python's `json.dumps` does. None if it would be too long.
fn dump(json: &Json, indent: Option<usize>, depth: usize, out: &mut Text) -> Option<()> {
    let mut list = |open: &str, close: &str, items: Vec<(Option<&String>, &Json)>| {
        out.push(open, 1)?;
        let line = |depth: usize, out: &mut Text| match indent {
            Some(width) => {
                out.push("\n", 1)?;
                out.push(" ", width.checked_mul(depth)?)
            }
            None => Some(()),
        };
        for (at, (key, value)) in items.iter().enumerate() {
            if at > 0 {
                out.push(if indent.is_some() { "," } else { ", " }, 1)?;
            }
            line(depth + 1, out)?;
            if let Some(key) = key {
                out.push(&Json::from(key.as_str()).to_string(), 1)?;
                out.push(": ", 1)?;
            }
            dump(value, indent, depth + 1, out)?;
        }
        if !items.is_empty() {
            line(depth, out)?;
        }
        out.push(close, 1)
    };
    match json {
        Json::Array(values) => list("[", "]", values.iter().map(|value| (None, value)).collect()),
        Json::Object(map) => {
            list("{", "}", map.iter().map(|(key, value)| (Some(key), value)).collect())
        }
        other => out.push(&other.to_string(), 1),
    }
}

/// The time `seconds` after 1970 in UTC, in the format of C's `strftime`. The specifiers are those
/// that do not depend on a locale, and the English names of days and months.
fn strftime(format: &str, seconds: u64) -> String {
    const DAYS: [&str; 7] =
        ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let days = seconds / 86_400;
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut day_of_year) = (1970, days);
    while day_of_year >= 365 + u64::from(is_leap(year)) {
        day_of_year -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (mut month, mut day) = (0, day_of_year);
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let (weekday, month_name) = (DAYS[(days % 7) as usize], MONTHS[month]);
    let hour_of_twelve = (hour + 11) % 12 + 1;

    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let mut specifier = characters.next();
        // `%-d` is `%d` without padding.
        let padded = specifier != Some('-');
        if !padded {
            specifier = characters.next();
        }
        let number = |value: u64, width: usize| match padded {
            true => format!("{value:0width$}"),
            false => value.to_string(),
        };
        let again = |format: &str| strftime(format, seconds);
        text.push_str(&match specifier {
            Some('Y') => year.to_string(),
            Some('y') => number(year % 100, 2),
            Some('m') => number(month as u64 + 1, 2),
            Some('d') => number(day + 1, 2),
            Some('e') if padded => format!("{:2}", day + 1),
            Some('e') => (day + 1).to_string(),
            Some('j') => number(day_of_year + 1, 3),
            Some('H') => number(hour, 2),
            Some('I') => number(hour_of_twelve, 2),
            Some('M') => number(minute, 2),
            Some('S') => number(second, 2),
            Some('p') => (if hour < 12 { "AM" } else { "PM" }).to_owned(),
            Some('A') => weekday.to_owned(),
            Some('a') => weekday[..3].to_owned(),
            Some('B') => month_name.to_owned(),
            Some('b' | 'h') => month_name[..3].to_owned(),
            Some('F') => again("%Y-%m-%d"),
            Some('T') => again("%H:%M:%S"),
            Some('D') => again("%m/%d/%y"),
            Some('R') => again("%H:%M"),
            Some('Z') => "UTC".to_owned(),
            Some('z') => "+0000".to_owned(),
            Some('%') => "%".to_owned(),
            Some(other) => format!("%{other}"),
            None => "%".to_owned(),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(strftime("%A %d %B %Y, %T", 0), "Thursday 01 January 1970, 00:00:00");
        // The last second of February in a leap year of a century.
        assert_eq!(strftime("%a %F %I:%M %p %j", 951_868_799), "Tue 2000-02-29 11:59 PM 060");
        assert_eq!(strftime("%-d %b %y %e|%D%%%q", 1_709_251_200), "1 Mar 24  1|03/01/24%%q");
        assert_eq!(strftime("%", 4_102_444_799), "%");
        assert_eq!(strftime("%F", 4_102_444_799), "2099-12-31");
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let environment = environment("{{ x | tojson }}|{{ x | tojson(indent=2) }}").unwrap();
        let x = serde_json::json!({ "a": ["<é>", 1, []], "b": null });
        let context = minijinja::context! { x => minijinja::value::Serde(&x) };
        let text = environment.get_template(NAME).unwrap().render(context).unwrap();
        let expected = "{\"a\": [\"<é>\", 1, []], \"b\": null}|{\n  \"a\": [\n    \"<é>\",\n    1,\n    []\n  ],\n  \"b\": null\n}";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_date_of_today_is_a_date() {
        let environment = environment("{{ strftime_now('%Y') }}").unwrap();
        let year = environment.get_template(NAME).unwrap().render(()).unwrap();
        assert!(year.parse::<u32>().unwrap() >= 2024, "{year}");
    }
}
