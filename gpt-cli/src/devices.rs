//! `gpt devices`: lists the devices, and the one that `auto` chooses.

use clap::Args;
use gpt_runtime::__private::plan::{Feature, Features};
use gpt_runtime::{Device, adapters};
use serde_json::json;

use crate::output::{self, Failure};
use crate::progress::Spinner;

#[derive(Args)]
#[command(after_help = "Examples:
  gpt devices
  gpt devices --json")]
pub struct Arguments {
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let spinner = Spinner::new("looking for devices");
    let adapters = adapters();
    let cpu = Device::cpu()?;
    let auto = Device::auto()?;
    drop(spinner);
    if arguments.json {
        let adapters: Vec<_> = adapters
            .iter()
            .map(|a| {
                json!({
                    "name": a.name, "pci": a.pci, "backend": a.backend, "kind": a.kind, "driver": a.driver,
                    "f16": a.f16, "features": beyond_core(a.features).map(Feature::name).collect::<Vec<_>>(), "usable": a.lacks.is_none(), "lacks": a.lacks,
                })
            })
            .collect();
        return output::json(&json!({
            "cpu": cpu.name(), "adapters": adapters,
            "auto": { "device": auto.name(), "gpu": auto.is_gpu(), "reason": auto.reason() },
        }));
    }
    let mut out = output::stdout();
    output::line(&mut out, &format!("cpu   {}", cpu.name()))?;
    for (index, a) in adapters.iter().enumerate() {
        let mut text = format!("gpu {index} {} ({}, {}; {})", a.name, a.backend, a.kind, a.driver);
        for id in &a.pci {
            text.push_str(&format!("; PCI {id}"));
        }
        if a.f16 {
            text.push_str("; has f16");
        }
        for feature in beyond_core(a.features) {
            text.push_str(&format!("; has {}", feature.name().replace('_', " ")));
        }
        if let Some(lacks) = &a.lacks {
            text.push_str(&format!("; cannot be used: it {lacks}"));
        }
        output::line(&mut out, &text)?;
    }
    if adapters.is_empty() {
        output::line(&mut out, "gpu   none found")?;
    }
    output::line(&mut out, &format!("auto  {}: {}", auto.name(), auto.reason()))
}

/// The optional features of an adapter, except f16, which is listed separately.
fn beyond_core(features: Features) -> impl Iterator<Item = Feature> {
    let more = |f: &Feature| !f.is_core() && *f != Feature::F16Arithmetic;
    features.iter().filter(more)
}
