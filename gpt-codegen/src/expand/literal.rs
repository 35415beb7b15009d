//! Converts a value of `gpt-plan` to a Rust expression of that value.
//!
//! The plan's types derive `serde::Serialize`; [`tokens`] uses a serializer whose output is Rust,
//! so a new type or field of the plan needs no code here. Lists and strings become borrowed
//! [`Cow`]s, which a `static` can hold. The expression is built as text and parsed once: a
//! procedural macro crosses into the compiler for every token that it builds, and building the
//! expression from tokens would dominate a model's expansion.
//!
//! [`Cow`]: std::borrow::Cow

use std::fmt::{self, Display, Write};

use proc_macro2::TokenStream;
use serde::Serialize;
use serde::ser;

/// The module of the plan's types.
const PLAN: &str = "plan";
const COW: &str = "::std::borrow::Cow::Borrowed";

/// The expression of `value`. The types of `value` are from `gpt-plan`, which has to be in scope as
/// `plan`. The expression is a block that declares each distinct list of bindings once, and then
/// has the value.
pub fn tokens(value: &(impl Serialize + ?Sized)) -> TokenStream {
    let mut out = Literal::default();
    value.serialize(&mut out).expect("the types of a plan have literals");
    let lists: String = out.bindings.iter().map(|list| format!("{list},")).collect();
    let count = out.bindings.len();
    let text =
        format!("{{ const BINDINGS: [&[{PLAN}::Binding]; {count}] = [{lists}]; {} }}", out.text);
    text.parse().expect("a literal is Rust")
}

#[derive(Default)]
struct Literal {
    text: String,
    /// The distinct lists of bindings, as expressions.
    bindings: Vec<String>,
}

/// The error for a serde type that no plan has.
#[derive(Debug)]
struct Unsupported(String);

impl Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

impl ser::Error for Unsupported {
    fn custom<T: Display>(message: T) -> Self {
        Unsupported(message.to_string())
    }
}

impl Literal {
    fn write(&mut self, text: impl Display) -> Result<(), Unsupported> {
        write!(self.text, "{text}").map_err(|error| Unsupported(error.to_string()))
    }

    /// Begins a list, array, struct or variant that `close` ends.
    fn open(&mut self, open: impl Display, close: &'static str) -> Result<Fields<'_>, Unsupported> {
        self.write(open)?;
        Ok(Fields { out: self, close })
    }

    /// Writes `open`, the value and a closing parenthesis.
    fn wrap(
        &mut self,
        open: impl Display,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), Unsupported> {
        self.write(open)?;
        value.serialize(&mut *self)?;
        self.write(")")
    }

    /// Writes a reference to the entry of `BINDINGS` that is equal to `list`. Adds the entry if
    /// there is none.
    fn write_bindings(&mut self, list: &(impl Serialize + ?Sized)) -> Result<(), Unsupported> {
        let mut own = Literal::default();
        list.serialize(&mut own)?;
        // The entry is the slice alone. The reference to it has the `Cow`.
        let slice = own.text.strip_prefix(COW).and_then(|text| {
            let text = text.strip_prefix('(')?;
            text.strip_suffix(')')
        });
        let slice = slice.ok_or_else(|| ser::Error::custom("bindings that are not a list"))?;
        let known = self.bindings.iter().position(|known| known == slice);
        let index = known.unwrap_or_else(|| {
            self.bindings.push(slice.to_owned());
            self.bindings.len() - 1
        });
        self.write(format_args!("{COW}(BINDINGS[{index}])"))
    }
}

/// Writes the elements of a list, array, struct or variant, then the text that closes it.
struct Fields<'a> {
    out: &'a mut Literal,
    close: &'static str,
}

impl Fields<'_> {
    fn element(
        &mut self,
        name: Option<&str>,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), Unsupported> {
        if let Some(name) = name {
            self.out.write(format_args!("{name}: "))?;
        }
        value.serialize(&mut *self.out)?;
        self.out.write(",")
    }

    fn close(self) -> Result<(), Unsupported> {
        self.out.write(self.close)
    }
}

macro_rules! elements {
    ($($trait:ident $method:ident),*) => {$(
        impl ser::$trait for Fields<'_> {
            type Ok = ();
            type Error = Unsupported;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsupported> {
                self.element(None, value)
            }
            fn end(self) -> Result<(), Unsupported> {
                self.close()
            }
        }
    )*};
}

macro_rules! fields {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Fields<'_> {
            type Ok = ();
            type Error = Unsupported;
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Unsupported> {
                self.element(Some(name), value)
            }
            fn end(self) -> Result<(), Unsupported> {
                self.close()
            }
        }
    )*};
}

elements!(SerializeSeq serialize_element, SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field);
fields!(SerializeStruct, SerializeStructVariant);

macro_rules! numbers {
    ($($method:ident $type:ty),*) => {$(
        fn $method(self, value: $type) -> Result<(), Unsupported> {
            self.write(value)
        }
    )*};
}

impl<'a> ser::Serializer for &'a mut Literal {
    type Ok = ();
    type Error = Unsupported;
    type SerializeSeq = Fields<'a>;
    type SerializeTuple = Fields<'a>;
    type SerializeTupleStruct = Fields<'a>;
    type SerializeTupleVariant = Fields<'a>;
    type SerializeMap = ser::Impossible<(), Unsupported>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Fields<'a>;

    numbers!(serialize_bool bool, serialize_i8 i8, serialize_i16 i16, serialize_i32 i32,
        serialize_i64 i64, serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64);

    fn serialize_f32(self, value: f32) -> Result<(), Unsupported> {
        self.write(format_args!("f32::from_bits({})", value.to_bits()))
    }

    fn serialize_f64(self, value: f64) -> Result<(), Unsupported> {
        if value.is_finite() {
            self.write(format_args!("{value:?}f64"))
        } else {
            self.write(format_args!("f64::from_bits({})", value.to_bits()))
        }
    }

    fn serialize_char(self, value: char) -> Result<(), Unsupported> {
        self.write(format_args!("{value:?}"))
    }

    fn serialize_str(self, value: &str) -> Result<(), Unsupported> {
        self.write(format_args!("{COW}({value:?})"))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Unsupported> {
        Err(ser::Error::custom("bytes"))
    }

    fn serialize_none(self) -> Result<(), Unsupported> {
        self.write("::core::option::Option::None")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unsupported> {
        self.wrap("::core::option::Option::Some(", value)
    }

    fn serialize_unit(self) -> Result<(), Unsupported> {
        self.write("()")
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Unsupported> {
        self.write(format_args!("{PLAN}::{name}"))
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Unsupported> {
        match name {
            // The name of a file of `shaders`.
            "File" => self.write(format_args!("{variant:?}")),
            _ => self.write(format_args!("{PLAN}::{name}::{variant}")),
        }
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unsupported> {
        if name == "Bindings" {
            return self.write_bindings(value);
        }
        self.wrap(format_args!("{PLAN}::{name}("), value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unsupported> {
        self.wrap(format_args!("{PLAN}::{name}::{variant}("), value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Fields<'a>, Unsupported> {
        self.open(format_args!("{COW}(&["), "])")
    }

    fn serialize_tuple(self, _: usize) -> Result<Fields<'a>, Unsupported> {
        self.open("[", "]")
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, Unsupported> {
        self.open(format_args!("{PLAN}::{name}("), ")")
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, Unsupported> {
        self.open(format_args!("{PLAN}::{name}::{variant}("), ")")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unsupported> {
        Err(ser::Error::custom("a map"))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'a>, Unsupported> {
        self.open(format_args!("{PLAN}::{name}{{"), "}")
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, Unsupported> {
        self.open(format_args!("{PLAN}::{name}::{variant}{{"), "}")
    }
}
