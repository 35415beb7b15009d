//! The bytes of a model file, which arrive in pieces.

use wasm_bindgen::prelude::*;

use gpt_runtime::Error;

/// A file that grows in the program's memory, so a download needs no second copy.
#[wasm_bindgen]
pub struct ModelFile {
    name: String,
    bytes: Vec<u8>,
}

#[wasm_bindgen]
impl ModelFile {
    /// An empty file called `name`, with room for `size` bytes.
    ///
    /// # Errors
    /// Fails if there is no memory for it.
    #[wasm_bindgen(constructor)]
    pub fn new(name: String, size: f64) -> Result<ModelFile, JsError> {
        let mut file = ModelFile { name, bytes: Vec::new() };
        file.reserve(size as usize)?;
        Ok(file)
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// Fails if there is no memory for them.
    pub fn append(&mut self, piece: &[u8]) -> Result<(), JsError> {
        if self.bytes.capacity() - self.bytes.len() < piece.len() {
            // The size was unknown. Growing by half keeps the number of copies small.
            self.reserve(piece.len().max(self.bytes.len() / 2))?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Drops all bytes, to begin again.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The number of bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The address of the first byte in the program's memory.
    pub fn address(&self) -> usize {
        self.bytes.as_ptr() as usize
    }
}

impl ModelFile {
    /// The name and the bytes.
    pub fn into_parts(self) -> (String, Vec<u8>) {
        (self.name, self.bytes)
    }

    fn reserve(&mut self, more: usize) -> Result<(), Error> {
        self.bytes.try_reserve_exact(more).map_err(|_| {
            let (name, size) = (&self.name, (self.bytes.len() + more) >> 20);
            Error::Input(format!("there is no memory for the {size} MiB of {name}"))
        })
    }
}
