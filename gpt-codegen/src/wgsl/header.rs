//! The part of a kernel that is written: constants, aliases, the closure's activation.

/// A header in the making. A name that two parts need is written once.
#[derive(Clone)]
pub struct Header {
    /// What comes before all declarations: the title, and what is enabled.
    opening: String,
    text: String,
    names: Vec<&'static str>,
}

impl Header {
    pub fn new(title: &str) -> Header {
        Header {
            opening: format!("// {title}\n\n"),
            text: String::new(),
            names: Vec::new(),
        }
    }

    /// An extension of WGSL.
    pub fn enable(&mut self, name: &str, doc: &str) {
        self.opening
            .push_str(&format!("enable {name}; // {doc}\n\n"));
    }

    /// A size.
    pub fn size(&mut self, name: &'static str, value: u32, doc: &str) {
        self.item(name, format!("const {name}: u32 = {value}u; // {doc}\n"));
    }

    /// A choice that the shader makes when it is built.
    pub fn flag(&mut self, name: &'static str, value: bool, doc: &str) {
        self.item(name, format!("const {name}: bool = {value}; // {doc}\n"));
    }

    /// A number, as the f32 nearest to it.
    pub fn number(&mut self, name: &'static str, value: f64, doc: &str) {
        let value = value as f32;
        self.item(name, format!("const {name}: f32 = {value:?}; // {doc}\n"));
    }

    /// A function, as it stands.
    pub fn function(&mut self, name: &'static str, doc: &str, text: &str) {
        self.item(name, format!("\n// {doc}\n{text}\n"));
    }

    fn item(&mut self, name: &'static str, text: String) {
        if !self.names.contains(&name) {
            self.names.push(name);
            self.text.push_str(&text);
        }
    }

    pub fn finish(self) -> String {
        self.opening + &self.text
    }
}
