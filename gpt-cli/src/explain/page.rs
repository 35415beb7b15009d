//! The HTML file. The template `page.html` is filled with the style sheet, the scripts and the
//! data.

use serde_json::Value;

/// The scripts, in the order of their dependencies.
const SCRIPTS: [&str; 6] = [
    include_str!("page/shared.js"),
    include_str!("page/surprise.js"),
    include_str!("page/lens.js"),
    include_str!("page/attention.js"),
    include_str!("page/norms.js"),
    include_str!("page/explain.js"),
];

/// The page for `data`. It loads no other file.
pub fn html(title: &str, summary: &str, data: &Value) -> String {
    // A `<` in the data could begin `</script>`, which would end the element.
    let data = data.to_string().replace('<', "\\u003c");
    let (title, summary) = (escaped(title), escaped(summary));
    let scripts = SCRIPTS.concat();
    let mut html = String::new();
    let mut rest = include_str!("page/page.html");
    for (place, text) in [
        ("<!-- title -->", &*title),
        ("<!-- style -->", include_str!("page/page.css")),
        ("<!-- title -->", &title),
        ("<!-- summary -->", &summary),
        ("<!-- data -->", &data),
        ("<!-- script -->", &scripts),
    ] {
        let (before, after) = rest.split_once(place).expect("the template has all placeholders");
        html += before;
        html += text;
        rest = after;
    }
    html + rest
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_cannot_end_its_element() {
        let html = html("a<b>&\"", "s", &json!({ "label": "</script><!-- script -->" }));
        assert_eq!(html.matches("a&lt;b&gt;&amp;&quot;").count(), 2);
        assert_eq!(html.matches("</script>").count(), 2);
        assert!(html.contains(r#"{"label":"\u003c/script>\u003c!-- script -->"}"#));
        assert!(html.ends_with("</html>\n"));
    }
}
