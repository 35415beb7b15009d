//! A training step of the CPU engine allocates nothing. The allocator counts for all threads, so
//! this binary has one test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gpt_plan::{Format, Recompute};
use gpt_runtime::__private::cpu::{CpuDevice, CpuTrainer};
use gpt_runtime::__private::engine::EngineTrainer;
use gpt_tests::specs;
use gpt_tests::training::{Batch, learn, options, update};
use gpt_tests::unit_gain::UnitGain;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_training_step_allocates_nothing() {
    let spec = specs::gpt2();
    let plan = specs::plan("gpt2", &spec);
    let weights = UnitGain::new(plan, 5, Format::F32);
    let device = Arc::new(CpuDevice::new(Some(2)).unwrap());
    let options = options(2, 16, Recompute::Nothing);
    let mut trainer = CpuTrainer::new(device, plan, None, &weights, options).unwrap();
    let batch = Batch::new(&spec, 2, 16, 0);
    let mut step = |number| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let options = learn(true, batch.rows());
        trainer.learn(&batch.sequences(), &options).unwrap();
        trainer.update(&update(number)).unwrap();
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    // The first step may initialise statics of the standard library.
    step(1);
    assert_eq!(step(2), 0);
}
