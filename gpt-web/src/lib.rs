//! GPTs in a browser.
//!
//! This crate is the interface that the page's worker calls: it opens a model, writes a text step
//! by step, and stops. A step returns after a time that its caller chooses, so the worker handles
//! messages between two steps. `page/` has the page and its worker, plain JavaScript modules;
//! `.ci/web` builds all of it, serves it, and checks it in Chromium.
//!
//! The crate is empty on targets other than WebAssembly, so it adds nothing to a build of the
//! workspace.

#![cfg(target_family = "wasm")]

mod chat;
mod device;
mod file;
mod models;
mod reader;
mod writer;
