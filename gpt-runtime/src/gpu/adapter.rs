//! Lists the adapters of this machine, and chooses the one to open.
//!
//! The order of preference is discrete, integrated, virtual, others, software. `WGPU_BACKEND`
//! restricts the APIs; the caller, or else `WGPU_ADAPTER_NAME`, selects among the adapters;
//! `WGPU_POWER_PREF=low` puts integrated adapters before discrete ones.

use gpt_plan::Feature;
use wgpu::{
    Adapter, AdapterInfo, Backend, Backends, CooperativeScalarType, DeviceType, DownlevelFlags,
    Features, Instance, InstanceDescriptor, PowerPreference,
};

use super::texel;
use crate::Error;
use crate::wait::BROWSER;
use crate::wait::now;

/// An adapter of this machine.
#[derive(Clone, Debug)]
pub struct AdapterDescription {
    /// Name, as its driver gives it.
    pub name: String,
    /// The ids of vendor and device in hexadecimal (`10de:2684`), then the PCI address
    /// (`0000:01:00.0`), each if the API reports it. Two adapters with the same name have different
    /// addresses.
    pub pci: Vec<String>,
    /// The API through which it is reached: `vulkan`, `metal`, `dx12`, `gl` or `webgpu`.
    pub backend: &'static str,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// The driver and its version.
    pub driver: String,
    /// Whether its shaders have f16, which training in f16 needs.
    pub f16: bool,
    /// Those of its features for which kernels have variants.
    pub features: gpt_plan::Features,
    /// Why it cannot run the kernels, if it cannot.
    pub lacks: Option<String>,
    /// The limits that bound the kernels, with WebGPU's names; sizes are in bytes.
    pub limits: Vec<(&'static str, u64)>,
}

impl AdapterDescription {
    pub(super) fn new(adapter: &Adapter) -> AdapterDescription {
        let info = adapter.get_info();
        AdapterDescription {
            backend: backend_name(info.backend),
            kind: kind_name(info.device_type),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            pci: pci(&info),
            name: info.name,
            f16: adapter.features().contains(Features::SHADER_F16),
            features: features(adapter, adapter.features()),
            lacks: lacks(adapter, &adapter.limits()),
            limits: limits(adapter),
        }
    }
}

/// The name of an adapter with its API, for messages. A browser may give no name.
pub(super) fn display_name(info: &AdapterInfo) -> String {
    let name = if info.name.is_empty() { "an unnamed GPU" } else { &info.name };
    format!("{name} ({})", backend_name(info.backend))
}

/// The adapters that the environment allows, in the order of preference. Those of GL are listed
/// only if no other API has one.
pub fn adapters() -> Vec<AdapterDescription> {
    let found = now(async { Ok(all().await) });
    found.unwrap_or_default().iter().map(AdapterDescription::new).collect()
}

fn limits(adapter: &Adapter) -> Vec<(&'static str, u64)> {
    let (limits, info) = (adapter.limits(), adapter.get_info());
    vec![
        ("maxBufferSize", limits.max_buffer_size),
        ("maxStorageBufferBindingSize", limits.max_storage_buffer_binding_size),
        ("maxStorageBuffersPerShaderStage", limits.max_storage_buffers_per_shader_stage.into()),
        ("maxTextureDimension2D", limits.max_texture_dimension_2d.into()),
        ("maxComputeWorkgroupStorageSize", limits.max_compute_workgroup_storage_size.into()),
        ("maxComputeInvocationsPerWorkgroup", limits.max_compute_invocations_per_workgroup.into()),
        ("maxComputeWorkgroupsPerDimension", limits.max_compute_workgroups_per_dimension.into()),
        ("subgroupMinSize", info.subgroup_min_size.into()),
        ("subgroupMaxSize", info.subgroup_max_size.into()),
    ]
}

/// The PCI ids and address of an adapter; empty if it is not a PCI device.
fn pci(info: &AdapterInfo) -> Vec<String> {
    let place = Some(info.device_pci_bus_id.clone()).filter(|place| !place.is_empty());
    let is_pci = info.vendor != 0 && info.vendor <= 0xFFFF && info.device_type != DeviceType::Cpu;
    let ids = is_pci.then(|| format!("{:04x}:{:04x}", info.vendor, info.device));
    ids.into_iter().chain(place).collect()
}

/// The adapters that `wanted` selects among these names and PCI ids: by an index, by a PCI id, or
/// by a part of a name, ignoring case.
fn selected(wanted: &str, adapters: &[(String, Vec<String>)]) -> Vec<usize> {
    let wanted = wanted.to_lowercase();
    if let Ok(index) = wanted.parse()
        && index < adapters.len()
    {
        return vec![index];
    }
    let mut by_pci = Vec::new();
    let mut by_name = Vec::new();
    for (at, (name, pci)) in adapters.iter().enumerate() {
        if pci.iter().any(|id| id.to_lowercase() == wanted) {
            by_pci.push(at);
        }
        if name.to_lowercase().contains(&wanted) {
            by_name.push(at);
        }
    }
    if by_pci.is_empty() { by_name } else { by_pci }
}

/// The first adapter that can run the kernels, among those that `name` selects. Without `name`,
/// `WGPU_ADAPTER_NAME` selects.
pub(super) async fn choose(name: Option<&str>) -> Result<Adapter, Error> {
    let from_environment = std::env::var("WGPU_ADAPTER_NAME").ok();
    let wanted = name.map(str::to_owned).or(from_environment);
    let found = all().await;
    let described = found.iter().map(|adapter| {
        let info = adapter.get_info();
        (info.name.clone(), pci(&info))
    });
    let described: Vec<(String, Vec<String>)> = described.collect();
    let selected = match &wanted {
        Some(wanted) => selected(wanted, &described),
        None => (0..found.len()).collect(),
    };
    let mut candidates = selected.into_iter().map(|at| &found[at]).peekable();
    if candidates.peek().is_none() {
        return Err(Error::device(none_found(wanted.as_deref(), &found)));
    }
    let mut reasons = Vec::new();
    for adapter in candidates {
        match lacks(adapter, &adapter.limits()) {
            None => return Ok(adapter.clone()),
            Some(reason) => reasons.push(format!("{} {reason}", adapter.get_info().name)),
        }
    }
    Err(Error::device(none_suitable(wanted.as_deref(), &reasons)))
}

/// The error if none of the selected adapters can run the kernels. `reasons` has one for each.
fn none_suitable(wanted: Option<&str>, reasons: &[String]) -> String {
    let reasons = reasons.join("; ");
    match wanted {
        Some(wanted) => format!(
            "no adapter that matches `{wanted}` can run the kernels: {reasons}; name another one \
             or use the CPU engine (`cpu`)"
        ),
        None => {
            format!("no adapter can run the kernels: {reasons}; use the CPU engine (`cpu`)")
        }
    }
}

fn none_found(wanted: Option<&str>, found: &[Adapter]) -> String {
    let name = |(at, adapter): (usize, &Adapter)| format!("{at} {}", adapter.get_info().name);
    let names: Vec<String> = found.iter().enumerate().map(name).collect();
    match wanted {
        Some(wanted) if !names.is_empty() => {
            format!("no adapter matches `{wanted}`; name one of these: {}", names.join(", "))
        }
        _ if BROWSER => "WebGPU finds no GPU in this browser; use the CPU engine".to_owned(),
        _ => {
            let apis = api_names(backends());
            if apis.is_empty() {
                return "WGPU_BACKEND names no API that this platform has; unset it, or use \
                        the CPU engine (`cpu`)"
                    .to_owned();
            }
            format!(
                "no GPU adapter was found through {}; install a driver (such as Debian's software \
                 driver, mesa-vulkan-drivers) or use the CPU engine (`cpu`)",
                apis.join(" or ")
            )
        }
    }
}

fn backends() -> Backends {
    Backends::from_env().unwrap_or(
        Backends::VULKAN
            | Backends::METAL
            | Backends::DX12
            | Backends::GL
            | Backends::BROWSER_WEBGPU,
    )
}

/// The APIs of `backends` that this build has.
fn api_names(backends: Backends) -> Vec<&'static str> {
    let apis = [
        (Backends::VULKAN, "Vulkan"),
        (Backends::METAL, "Metal"),
        (Backends::DX12, "DX12"),
        (Backends::GL, "GL"),
    ];
    let built = Instance::enabled_backend_features() & backends;
    apis.into_iter().filter(|(api, _)| built.contains(*api)).map(|(_, name)| name).collect()
}

/// All adapters. GL is tried only if no other API has an adapter: it lists the same hardware again,
/// and its libraries print messages.
async fn all() -> Vec<Adapter> {
    let backends = backends();
    let native = of(backends - Backends::GL).await;
    if native.is_empty() && backends.contains(Backends::GL) {
        return of(Backends::GL).await;
    }
    native
}

async fn of(backends: Backends) -> Vec<Adapter> {
    let instance = Instance::new(InstanceDescriptor {
        backends,
        ..InstanceDescriptor::new_without_display_handle_from_env()
    });
    let mut adapters = instance.enumerate_adapters(backends).await;
    let low_power = PowerPreference::from_env() == Some(PowerPreference::LowPower);
    adapters.sort_by_key(|adapter| {
        let info = adapter.get_info();
        match info.device_type {
            DeviceType::DiscreteGpu => 1,
            DeviceType::IntegratedGpu => 2 * u8::from(!low_power),
            DeviceType::VirtualGpu => 3,
            DeviceType::Other => 4,
            DeviceType::Cpu => 5,
        }
    });
    adapters
}

/// The wgpu features of `adapter` that a device for kernels with `variants` requests.
pub(super) fn wanted(adapter: &Adapter, variants: gpt_plan::Features) -> Features {
    let mut useful = Features::SHADER_F16
        | Features::TIMESTAMP_QUERY
        | Features::SUBGROUP
        | Features::PIPELINE_CACHE;
    let experimental = Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    useful.set(experimental, variants.has(Feature::CooperativeMatrices));
    adapter.features() & useful
}

/// The features with kernel variants that a device has if it is opened on `adapter` with the wgpu
/// features `enabled`.
pub(super) fn features(adapter: &Adapter, enabled: Features) -> gpt_plan::Features {
    let info = adapter.get_info();
    let has = |features| enabled.contains(features);
    let has = |feature: &Feature| match feature {
        Feature::Subgroups | Feature::Broadcasts => {
            has(Features::SUBGROUP) && info.subgroup_min_size >= 8
        }
        // WebGPU's core has all of these formats; some GL drivers lack some.
        Feature::Textures => texel::FORMATS.into_iter().all(|format| {
            let usages = adapter.get_texture_format_features(format).allowed_usages;
            usages.contains(texel::USAGE)
        }),
        Feature::DoubleBuffers
        | Feature::SmallTiles
        | Feature::LargeTiles
        | Feature::HugeTiles
        | Feature::SmallGroups
        | Feature::PackedDot => true,
        Feature::F16Arithmetic => has(Features::SHADER_F16),
        Feature::CooperativeMatrices => {
            let matrices = Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
            has(matrices | Features::SHADER_F16 | Features::SUBGROUP)
                && (info.subgroup_min_size, info.subgroup_max_size) == (32, 32)
                && adapter.cooperative_matrix_properties().iter().any(|p| {
                    (p.m_size, p.n_size, p.k_size) == (16, 16, 16)
                        && p.ab_type == CooperativeScalarType::F16
                        && p.cr_type == CooperativeScalarType::F32
                })
        }
    };
    let found = Feature::ALL.into_iter().filter(has);
    found.fold(gpt_plan::Features::NONE, gpt_plan::Features::with)
}

/// A capability that kernels need and that a device on `adapter` with `limits` lacks, in words;
/// `None` if it lacks none. WebGPU's default limits suffice, but not every GL driver has them.
pub(super) fn lacks(adapter: &Adapter, limits: &wgpu::Limits) -> Option<String> {
    let downlevel = adapter.get_downlevel_capabilities();
    if !downlevel.flags.contains(DownlevelFlags::COMPUTE_SHADERS) {
        return Some("has no compute shaders".to_owned());
    }
    let needs = [
        ("storage buffers in a stage", u64::from(limits.max_storage_buffers_per_shader_stage), 8),
        (
            "invocations in a workgroup",
            u64::from(limits.max_compute_invocations_per_workgroup),
            256,
        ),
        (
            "bytes of workgroup memory",
            u64::from(limits.max_compute_workgroup_storage_size),
            16 << 10,
        ),
        (
            "workgroups along an axis",
            u64::from(limits.max_compute_workgroups_per_dimension),
            65_535,
        ),
        ("bytes in a binding", limits.max_storage_buffer_binding_size, gpt_plan::MAX_BINDING),
    ];
    needs
        .into_iter()
        .find(|(_, has, needed)| has < needed)
        .map(|(what, has, needed)| format!("allows {has} {what}, and {needed} are needed"))
}

pub(super) fn backend_name(backend: Backend) -> &'static str {
    match backend {
        Backend::Vulkan => "vulkan",
        Backend::Metal => "metal",
        Backend::Dx12 => "dx12",
        Backend::Gl => "gl",
        Backend::BrowserWebGpu => "webgpu",
        Backend::Noop => "noop",
    }
}

fn kind_name(kind: DeviceType) -> &'static str {
    match kind {
        DeviceType::DiscreteGpu => "discrete",
        DeviceType::IntegratedGpu => "integrated",
        DeviceType::VirtualGpu => "virtual",
        DeviceType::Cpu => "software",
        DeviceType::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index or a PCI address distinguishes two adapters with the same name.
    #[test]
    fn adapters_are_selected() {
        let adapter = |name: &str, pci: &[&str]| {
            (name.to_owned(), pci.iter().map(|id| (*id).to_owned()).collect())
        };
        let found: Vec<(String, Vec<String>)> = vec![
            adapter("GeForce RTX 4090", &["10de:2684", "0000:01:00.0"]),
            adapter("GeForce RTX 4090", &["10de:2684", "0000:02:00.0"]),
            adapter("llvmpipe", &[]),
        ];
        for (wanted, expected) in [
            ("1", &[1][..]),
            ("0000:02:00.0", &[1]),
            ("10DE:2684", &[0, 1]),
            ("4090", &[0, 1]),
            ("LLVM", &[2]),
            ("3", &[]),
            ("radeon", &[]),
            ("", &[0, 1, 2]),
        ] {
            assert_eq!(selected(wanted, &found), expected, "{wanted}");
        }
    }

    #[test]
    fn an_error_says_why_no_adapter_is_suitable() {
        let reasons = ["A has no compute shaders", "B has 4 of 8 buffers"].map(str::to_owned);
        let all = "no adapter can run the kernels: A has no compute shaders; B has 4 of 8 buffers; \
                   use the CPU engine (`cpu`)";
        assert_eq!(none_suitable(None, &reasons), all);
        let named = "no adapter that matches `a` can run the kernels: A has no compute shaders; \
                     name another one or use the CPU engine (`cpu`)";
        assert_eq!(none_suitable(Some("a"), &reasons[..1]), named);
    }
}
