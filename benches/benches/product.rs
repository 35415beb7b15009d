//! The CPU's inner product, rows of inputs times a panel of 32 output features, at the depths of real models and in every instruction set
//! of this processor. Throughput is in multiply-adds: twice the number is FLOP/s, of one thread.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gpt_runtime::cpu::simd::{Isa, PANEL, Strided, StridedMut};

fn product(criterion: &mut Criterion) {
    for isa in Isa::available() {
        let kernels = isa.kernels().expect("an available set");
        for (name, rows, depth) in [
            ("gpt2 qkv", 512, 768),
            ("gpt2 mlp_down", 512, 3072),
            ("smollm2 qkv", 512, 576),
            ("bard qkv", 64, 384),
        ] {
            let input: Vec<f32> = (0..rows * depth).map(|i| (i % 7) as f32).collect();
            let panel: Vec<f32> = (0..depth * PANEL).map(|i| (i % 5) as f32).collect();
            let mut output = vec![0.0; rows * PANEL];
            let mut group = criterion.benchmark_group(format!("product/{}", isa.name()));
            group.throughput(Throughput::Elements((rows * depth * PANEL) as u64));
            group.bench_function(name, |b| {
                b.iter(|| {
                    let input = Strided {
                        data: &input,
                        stride: depth,
                    };
                    let panel = Strided {
                        data: &panel,
                        stride: PANEL,
                    };
                    let output = StridedMut {
                        data: &mut output,
                        stride: PANEL,
                    };
                    kernels.product(rows, depth, input, panel, output, false);
                });
            });
        }
    }
}

criterion_group!(benches, product);
criterion_main!(benches);
