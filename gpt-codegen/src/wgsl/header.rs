//! The generated header of a kernel: constants and functions.

use gpt_plan::{Kernel, Str};

use super::bindings::bindings;

/// The names of the files that follow a header.
pub type Files = Vec<&'static str>;

/// Builds a header. A name that two files need is declared once.
#[derive(Clone)]
pub struct Header {
    /// The title and the enabled extensions, which precede all declarations.
    opening: String,
    /// Sizes that depend on the format of a matrix; they end the opening.
    format: String,
    /// All other declarations.
    text: String,
    /// The names declared so far.
    names: Vec<&'static str>,
}

impl Header {
    pub fn new(title: &str) -> Header {
        Header {
            opening: format!("// {title}\n\n"),
            format: String::new(),
            text: String::new(),
            names: Vec::new(),
        }
    }

    /// Enables an extension of WGSL.
    pub fn enable(&mut self, name: &str, doc: &str) {
        self.opening.push_str(&format!("enable {name}; // {doc}\n\n"));
    }

    /// Declares an unsigned constant that depends on the format of a matrix.
    pub fn format_size(&mut self, name: &'static str, value: u32, doc: &str) {
        if !self.names.contains(&name) {
            self.names.push(name);
            self.format.push_str(&format!("const {name}: u32 = {value}u; // {doc}\n"));
        }
    }

    /// Declares an unsigned constant.
    pub fn size(&mut self, name: &'static str, value: u32, doc: &str) {
        self.item(name, format!("const {name}: u32 = {value}u; // {doc}\n"));
    }

    /// Declares a Boolean constant.
    pub fn flag(&mut self, name: &'static str, value: bool, doc: &str) {
        self.item(name, format!("const {name}: bool = {value}; // {doc}\n"));
    }

    /// Declares an f32 constant, rounded from `value`.
    pub fn number(&mut self, name: &'static str, value: f64, doc: &str) {
        let value = value as f32;
        self.item(name, format!("const {name}: f32 = {value:?}; // {doc}\n"));
    }

    /// Defines a function.
    pub fn function(&mut self, name: &'static str, doc: &str, text: &str) {
        self.item(name, format!("\n// {doc}\n{text}\n"));
    }

    fn item(&mut self, name: &'static str, text: String) {
        if !self.names.contains(&name) {
            self.names.push(name);
            self.text.push_str(&text);
        }
    }

    /// The kernel of this header and `files`, with the bindings that the files declare.
    pub fn kernel(self, name: impl Into<Str>, files: Files) -> Kernel {
        Kernel {
            opening: (self.opening + &self.format).into(),
            bindings: bindings(&files),
            ..Kernel::new(name, self.text, files)
        }
    }
}
