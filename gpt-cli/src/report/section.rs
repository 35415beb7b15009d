//! Sections of a report. A section is a list of JSON objects, its rows, and can be written as a
//! Markdown table.

use serde_json::{Map, Value, json};

/// A section.
pub struct Section {
    /// The section's field in the JSON object of the report.
    key: &'static str,
    title: &'static str,
    /// For each column, its field in the rows and its title. A column whose field no row has is
    /// left out.
    columns: &'static [(&'static str, &'static str)],
    rows: Vec<Value>,
}

impl Section {
    pub fn new(
        key: &'static str,
        title: &'static str,
        columns: &'static [(&'static str, &'static str)],
    ) -> Section {
        Section { key, title, columns, rows: Vec::new() }
    }

    /// Adds a row: an object with the columns' fields. A failed measurement has the field `error`,
    /// which the last column shows.
    pub fn row(&mut self, row: Value) {
        self.rows.push(row);
    }

    fn markdown(&self) -> String {
        let has = |key: &str| self.rows.iter().any(|row| !row[key].is_null());
        let errors = ("error", "error");
        let columns: Vec<_> =
            self.columns.iter().chain([&errors]).filter(|(key, _)| has(key)).collect();
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        // Numbers are aligned to the right, unless there is text among them.
        let is_text = |key: &str| self.rows.iter().any(|row| row[key].is_string());
        let mut text = format!("\n## {}\n\n", self.title);
        text += &line(columns.iter().map(|(_, title)| (*title).to_owned()).collect());
        let rules = columns.iter().map(|(key, _)| if is_text(key) { "---" } else { "---:" });
        text += &line(rules.map(str::to_owned).collect());
        for row in &self.rows {
            text += &line(columns.iter().map(|(key, _)| cell(&row[*key])).collect());
        }
        text
    }
}

/// The report as Markdown. If the report is incomplete, `missing` says what is missing.
pub fn markdown<'a>(
    sections: impl IntoIterator<Item = &'a Section>,
    missing: Option<&str>,
) -> String {
    let sections = sections.into_iter().filter(|section| !section.rows.is_empty());
    let text: String = sections.map(Section::markdown).collect();
    let missing = missing.map(|what| format!("\nIncomplete: {what}.\n")).unwrap_or_default();
    format!("# Report of gpt {}\n{missing}{text}", env!("CARGO_PKG_VERSION"))
}

/// The report as a JSON object, with a list of rows for each section.
pub fn json<'a>(sections: impl IntoIterator<Item = &'a Section>) -> Value {
    let mut object = Map::from_iter([("version".to_owned(), json!(env!("CARGO_PKG_VERSION")))]);
    object.extend(sections.into_iter().map(|s| (s.key.to_owned(), json!(s.rows))));
    Value::Object(object)
}

/// A cell of a Markdown table.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // A vertical bar or a line break would end the cell.
        Value::String(text) => text.replace('|', "\\|").replace('\n', " "),
        Value::Number(number) if number.is_f64() => significant(number.as_f64().unwrap_or(0.0)),
        other => other.to_string(),
    }
}

/// Formats a number with three significant digits, or with all digits before the point. A number
/// below 0.001 has two digits and an exponent.
fn significant(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        size if size < 1e-3 => format!("{x:.1e}"),
        size => {
            let digits = 2 - size.log10().floor() as i32;
            format!("{x:.0$}", digits.max(0) as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_a_table() {
        let mut section =
            Section::new("some", "Some", &[("a", "name"), ("b", "µs"), ("c", "none")]);
        section.row(json!({ "a": "one|two", "b": 12.345 }));
        section.row(json!({ "a": "three", "error": "it\nfailed" }));
        let expected = "\n## Some\n\n| name | µs | error |\n| --- | ---: | --- |\n\
                        | one\\|two | 12.3 |  |\n| three |  | it failed |\n";
        assert_eq!(section.markdown(), expected);
        assert_eq!(json([&section])["some"][0]["b"], 12.345);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let cases =
            [(0.0, "0"), (2_345.6, "2346"), (123.4, "123"), (9.876, "9.88"), (0.0123, "0.0123")];
        for (x, text) in cases {
            assert_eq!(significant(x), text);
        }
        assert_eq!(significant(1.23e-12), "1.2e-12");
    }
}
