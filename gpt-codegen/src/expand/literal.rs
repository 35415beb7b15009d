//! Converts a value of `gpt-plan` to a Rust expression of that value.
//!
//! The plan's types derive `serde::Serialize`, and [`literal`] is a serializer whose output is
//! Rust. So a new type or field of the plan needs no code here. Lists and texts become borrowed
//! [`Cow`]s, which a `static` can hold. The output is a string that is parsed once. Building tokens
//! directly would take most of a model's expansion time, because a procedural macro calls the
//! compiler for every token.
//!
//! [`Cow`]: std::borrow::Cow

use std::fmt::{self, Display, Write};

use serde::Serialize;
use serde::ser;

/// The path of the plan's types in generated code.
const PLAN: &str = "::gpt_runtime::__private::plan";
const COW: &str = "::std::borrow::Cow::Borrowed";

/// The Rust expression of `value`, which consists of types of `gpt-plan`.
pub fn literal(value: &(impl Serialize + ?Sized)) -> String {
    let mut out = Literal(String::new());
    value
        .serialize(&mut out)
        .expect("the types of a plan have literals");
    out.0
}

struct Literal(String);

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
        write!(self.0, "{text}").map_err(|error| Unsupported(error.to_string()))
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
        self.write("::core::option::Option::Some(")?;
        value.serialize(&mut *self)?;
        self.write(")")
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
        self.write(format_args!("{PLAN}::{name}("))?;
        value.serialize(&mut *self)?;
        self.write(")")
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unsupported> {
        self.write(format_args!("{PLAN}::{name}::{variant}("))?;
        value.serialize(&mut *self)?;
        self.write(")")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Fields<'a>, Unsupported> {
        self.write(format_args!("{COW}(&["))?;
        Ok(Fields {
            out: self,
            close: "])",
        })
    }

    fn serialize_tuple(self, _: usize) -> Result<Fields<'a>, Unsupported> {
        self.write("[")?;
        Ok(Fields {
            out: self,
            close: "]",
        })
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, Unsupported> {
        self.write(format_args!("{PLAN}::{name}("))?;
        Ok(Fields {
            out: self,
            close: ")",
        })
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, Unsupported> {
        self.write(format_args!("{PLAN}::{name}::{variant}("))?;
        Ok(Fields {
            out: self,
            close: ")",
        })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unsupported> {
        Err(ser::Error::custom("a map"))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'a>, Unsupported> {
        self.write(format_args!("{PLAN}::{name}{{"))?;
        Ok(Fields {
            out: self,
            close: "}",
        })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, Unsupported> {
        self.write(format_args!("{PLAN}::{name}::{variant}{{"))?;
        Ok(Fields {
            out: self,
            close: "}",
        })
    }
}
