//! The kernels in WGSL, one family a file.
//!
//! A file is ordinary WGSL and valid alone. It opens with its parameters (sizes, aliases, functions that vary) and
//! example values for them, GPT-2's mostly; the compiler writes that block anew for each model and keeps the rest
//! as it stands, comments included. So a line of a generated shader is a line here, shifted by a known number.

/// One file of WGSL.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Path below this package's `wgsl` folder, `linear.wgsl`.
    pub name: &'static str,
    /// The whole file.
    pub text: &'static str,
}

/// The line that ends the parameters of a file.
pub const END_OF_PARAMETERS: &str = "// ---- end of parameters ----\n";

impl Source {
    /// What follows the parameters; the whole file if it has none.
    pub fn body(&self) -> &'static str {
        match self.text.find(END_OF_PARAMETERS) {
            Some(at) => &self.text[at + END_OF_PARAMETERS.len()..],
            None => self.text,
        }
    }

    /// Line of the file, counted from 1, on which [`body`](Source::body) begins.
    pub fn body_line(&self) -> usize {
        1 + self.text[..self.text.len() - self.body().len()]
            .matches('\n')
            .count()
    }

    /// The name of its static in this package: `norm/layer.wgsl` is `NORM_LAYER`.
    pub fn constant(&self) -> String {
        self.name
            .trim_end_matches(".wgsl")
            .replace(['/', '-'], "_")
            .to_uppercase()
    }
}

macro_rules! sources {
    ($($constant:ident = $file:literal,)*) => {
        $(
            #[doc = concat!("`", $file, "`")]
            pub static $constant: Source = Source {
                name: $file,
                text: include_str!(concat!("../wgsl/", $file)),
            };
        )*

        /// Every file.
        pub static ALL: &[&Source] = &[$(&$constant),*];
    };
}

sources! {}
