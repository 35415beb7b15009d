//! The part of a kernel that is written: constants, aliases, the closure's activation.

use std::fmt::Write;

/// A header in the making. A name that two parts need is written once.
pub struct Header {
    text: String,
    names: Vec<&'static str>,
}

impl Header {
    pub fn new(title: &str) -> Header {
        Header {
            text: format!("// {title}\n\n"),
            names: Vec::new(),
        }
    }

    /// A size.
    pub fn size(&mut self, name: &'static str, value: u32, doc: &str) {
        self.item(name, doc, format!("const {name}: u32 = {value}u;"));
    }

    /// A number, as the f32 nearest to it.
    pub fn number(&mut self, name: &'static str, value: f64, doc: &str) {
        self.item(
            name,
            doc,
            format!("const {name}: f32 = {:?};", value as f32),
        );
    }

    /// Another name for a type.
    pub fn alias(&mut self, name: &'static str, target: &str, doc: &str) {
        self.item(name, doc, format!("alias {name} = {target};"));
    }

    /// A function, as it stands.
    pub fn function(&mut self, name: &'static str, doc: &str, text: &str) {
        self.item(name, doc, format!("\n{}", text.trim_end()));
    }

    fn item(&mut self, name: &'static str, doc: &str, text: String) {
        if self.names.contains(&name) {
            return;
        }
        self.names.push(name);
        let text = text.as_str();
        let _ = match text.strip_prefix('\n') {
            Some(text) => writeln!(self.text, "\n// {doc}\n{text}"),
            None => writeln!(self.text, "// {doc}\n{text}"),
        };
    }

    pub fn finish(self) -> String {
        self.text
    }
}
