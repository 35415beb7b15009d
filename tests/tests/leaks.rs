//! Opening and closing sessions and trainers does not leak. The tests compare the allocator's bytes
//! and blocks, the mappings of the process, and the allocations on the device. The allocator counts
//! for all threads, so only one test runs at a time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Mutex, PoisonError};

use gpt_plan::{Format, Plan};
use gpt_runtime::train::{RandomWindows, Tokens};
use gpt_runtime::weights::RandomWeights;
use gpt_runtime::{
    AdamW, Device, DeviceKind, DeviceOptions, Model, Sampling, Stop, Trainer, TrainerSettings,
    Untyped, wgpu,
};
use gpt_tests::{gpu, specs};

static BYTES: AtomicIsize = AtomicIsize::new(0);
static BLOCKS: AtomicIsize = AtomicIsize::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        BLOCKS.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Memory that is in use.
#[derive(Clone, Copy, Debug)]
struct Usage {
    /// Bytes and blocks of the allocator.
    bytes: isize,
    blocks: isize,
    /// Mapped and resident pages of the process; 0 except on Linux.
    mapped: isize,
    resident: isize,
    /// Allocations on the device, and their bytes.
    allocations: usize,
    allocated: u64,
}

impl Usage {
    fn now(device: Option<&wgpu::Device>) -> Usage {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let mut pages = statm.split(' ').map(|n| n.parse().unwrap_or(0));
        let (mapped, resident) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
        drop(statm);
        let report = device.map(|device| {
            // Objects that were dropped are released by the next poll.
            device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
            device.generate_allocator_report().expect("a report of the allocator")
        });
        let (allocations, allocated) =
            report.map_or((0, 0), |r| (r.allocations.len(), r.total_allocated_bytes));
        Usage {
            bytes: BYTES.load(Ordering::Relaxed),
            blocks: BLOCKS.load(Ordering::Relaxed),
            mapped,
            resident,
            allocations,
            allocated,
        }
    }
}

/// Calls `open_and_close` `warm` times, then `count` times, and checks that the `count` calls leave
/// the memory use unchanged.
fn leaves_nothing(
    what: &str,
    device: Option<&wgpu::Device>,
    [warm, count]: [u32; 2],
    mut open_and_close: impl FnMut(u32),
) {
    (0..warm).for_each(&mut open_and_close);
    let before = Usage::now(device);
    (0..count).for_each(&mut open_and_close);
    let after = Usage::now(device);
    let what = format!("{count} {what}: {before:?}, then {after:?}");
    eprintln!("{what}");
    assert_eq!(before.mapped, after.mapped, "{what}");
    assert!(after.resident - before.resident < 4096, "{what}");
    assert_eq!(before.allocations, after.allocations, "{what}");
    assert_eq!(before.allocated, after.allocated, "{what}");
    if device.is_none() {
        assert_eq!((before.bytes, before.blocks), (after.bytes, after.blocks), "{what}");
    } else {
        // wgpu's lists of work in flight keep their largest capacity.
        let blocks = after.blocks - before.blocks;
        assert!(blocks < count as isize / 2, "{what}");
        assert!(after.bytes - before.bytes < 64 << 10, "{what}");
    }
}

fn plan() -> &'static Plan {
    let keys = "vocab: 11, context: 16, layers: 1, heads: 2, embed: 16";
    specs::plan("Small", &gpt_codegen::spec(keys).unwrap_or_else(|_| panic!("{keys}")))
}

fn check_sessions(device: &Device, own: Option<&wgpu::Device>, count: u32) {
    let plan = plan();
    let weights = RandomWeights::new(plan, 1, Format::F32);
    let model = Model::<Untyped>::from_plan(plan, &weights, device).unwrap();
    leaves_nothing("sessions", own, [20, count], |i| {
        let mut session = model.session().chunk(4).open().unwrap();
        let stop = Stop::default().with_tokens(4);
        let sampling = Sampling { seed: i.into(), ..Sampling::default() };
        let text = session.generate_tokens(&[1, 2, 3, 4, 5], sampling, stop).unwrap();
        // Every third session is closed before its text ends.
        let tokens = if i % 3 == 0 { 2 } else { 4 };
        text.take(tokens as usize).for_each(|token| assert!(token.is_ok()));
        if i % 4 == 0 {
            session.fork().unwrap().push(&[1]).unwrap();
        }
    });
}

fn check_trainers(device: &Device, own: Option<&wgpu::Device>, count: u32) {
    let plan = plan();
    let weights = RandomWeights::new(plan, 1, Format::F32);
    let text: Tokens = (0..300u32).map(|i| i * i % 11).collect::<Vec<_>>().into();
    let data = RandomWindows::new(text, 2, 8, 1).unwrap();
    leaves_nothing("trainers", own, [2, count], |i| {
        let settings = TrainerSettings {
            batch: 2,
            tokens: Some(8),
            ..TrainerSettings::from(AdamW::default())
        };
        let mut trainer = Trainer::from_plan(plan, device, &weights, settings).unwrap();
        trainer.step(&data.batch(i.into())).unwrap();
    });
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn sessions_and_trainers_leave_no_memory() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let options = DeviceOptions { kind: DeviceKind::Cpu, ..DeviceOptions::default() };
    let device = Device::open(&options.with_threads(1)).unwrap();
    check_sessions(&device, None, 1000);
    check_trainers(&device, None, 100);
    if let Some((own, device)) = gpu::own_device() {
        check_sessions(&device, Some(&own), 60);
    }
}

#[test]
#[ignore = "compiles the kernels of 100 trainers; .ci/stress runs it"]
fn a_thousand_sessions_and_a_hundred_trainers_leave_no_memory() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((own, device)) = gpu::own_device() {
        check_sessions(&device, Some(&own), 1000);
        check_trainers(&device, Some(&own), 100);
    }
}
