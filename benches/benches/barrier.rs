//! The overhead between two steps on the CPU: starting a job on all threads and waiting for the
//! last one.

use criterion::{Criterion, criterion_group, criterion_main};
use gpt_runtime::cpu::{CpuDevice, bench};

fn barrier(criterion: &mut Criterion) {
    let device = CpuDevice::new(None).expect("threads");
    let mut group = criterion.benchmark_group("barrier");
    group.bench_function(device.describe(), |b| b.iter(|| bench::barrier(&device)));
}

criterion_group!(benches, barrier);
criterion_main!(benches);
