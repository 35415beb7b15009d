//! Sessions on several threads share a model: 16 sessions on 8 threads, two per thread in turn.
//! Some generations are dropped in the middle, or continued by a fork of the session. Every text
//! equals the one that is generated alone.

use std::sync::atomic::{AtomicUsize, Ordering};

use gpt_plan::{Format, hash};
use gpt_runtime::{Device, Model, Sampling, Session, Stop};
use gpt_tests::models::SmolLm2;
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, tokens};

const SESSIONS: usize = 16;
const THREADS: usize = 8;

/// The work of one session.
#[derive(Clone)]
struct Task {
    prompt: Vec<u32>,
    chunk: u32,
    sampling: Sampling,
    tokens: usize,
    middle: Middle,
}

/// An event in the middle of a text.
#[derive(Clone, Copy)]
enum Middle {
    Nothing,
    /// The generation is dropped, on a GPU with submissions in flight.
    Drop,
    /// A fork of the session writes the rest.
    Fork,
}

impl Task {
    /// The same number gives the same task.
    fn new(number: u32, vocab: u32) -> Task {
        let random = |part: u32| hash(8 * number + part);
        let start = random(0) as usize % 40;
        let length = 1 + random(1) as usize % 24;
        let sampling = match random(2) % 3 {
            0 => Sampling::greedy(),
            1 => Sampling { temperature: 1.0, seed: number.into(), ..Sampling::default() },
            _ => Sampling { top_k: 5, seed: number.into(), ..Sampling::default() },
        };
        Task {
            prompt: tokens(vocab, 64)[start..start + length].to_vec(),
            chunk: [1, 5, 32][random(3) as usize % 3],
            sampling,
            tokens: 4 + random(4) as usize % 37,
            middle: [Middle::Nothing, Middle::Drop, Middle::Fork][random(5) as usize % 3],
        }
    }

    fn open(&self, model: &Model<SmolLm2>) -> Session<SmolLm2> {
        model.session().chunk(self.chunk).open().unwrap()
    }

    /// The text of a session that nothing interrupts.
    fn alone(&self, model: &Model<SmolLm2>) -> Vec<u32> {
        let stop = Stop::default().with_tokens(self.tokens);
        let mut session = self.open(model);
        let text = session.generate_tokens(&self.prompt, self.sampling.clone(), stop).unwrap();
        text.map(Result::unwrap).collect()
    }
}

/// Runs two tasks in turn, token by token, and returns their texts. A dropped one is incomplete.
fn in_turn(model: &Model<SmolLm2>, tasks: &[Task]) -> Vec<Vec<u32>> {
    let mut sessions: Vec<_> = tasks.iter().map(|task| task.open(model)).collect();
    let mut texts = vec![Vec::new(); tasks.len()];
    let mut running: Vec<_> = sessions
        .iter_mut()
        .zip(tasks)
        .map(|(session, task)| {
            let stop = Stop::default().with_tokens(task.tokens);
            let text = session.generate_tokens(&task.prompt, task.sampling.clone(), stop);
            Some(text.unwrap())
        })
        .collect();
    while running.iter().any(Option::is_some) {
        for ((text, generation), task) in texts.iter_mut().zip(&mut running).zip(tasks) {
            let Some(generating) = generation else { continue };
            match generating.next() {
                Some(token) => text.push(token.unwrap()),
                None => *generation = None,
            }
            let in_the_middle = text.len() == task.tokens / 2;
            if in_the_middle && matches!(task.middle, Middle::Drop | Middle::Fork) {
                *generation = None;
            }
        }
    }
    drop(running);
    for ((session, text), task) in sessions.into_iter().zip(&mut texts).zip(tasks) {
        if matches!(task.middle, Middle::Fork) {
            // A sampler's draws belong to a generation, so a fork can only continue a greedy text.
            let mut fork = session.fork().unwrap();
            drop(session);
            let last = *text.last().expect("a text has a middle");
            let stop = Stop::default().with_tokens(task.tokens - text.len());
            let rest = fork.generate_tokens(&[last], Sampling::greedy(), stop).unwrap();
            text.extend(rest.map(Result::unwrap));
        }
    }
    texts
}

/// Runs 16 sessions on 8 threads, `rounds` times.
fn stress(device: &Device, rounds: u32) {
    let plan = <SmolLm2 as gpt_runtime::Gpt>::plan();
    let weights = UnitGain::new(plan, 3, Format::F32);
    let model = Model::<SmolLm2>::from_weights(&weights, device).unwrap();
    for round in 0..rounds {
        let tasks: Vec<Task> = (0..SESSIONS as u32)
            .map(|i| {
                let mut task = Task::new(round * SESSIONS as u32 + i, plan.spec.vocab);
                if matches!(task.middle, Middle::Fork) {
                    task.sampling = Sampling::greedy();
                }
                task
            })
            .collect();
        let expected: Vec<_> = tasks.iter().map(|task| task.alone(&model)).collect();
        let checked = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let pairs = tasks.chunks(SESSIONS / THREADS).zip(expected.chunks(SESSIONS / THREADS));
            for (tasks, expected) in pairs {
                let (model, checked) = (&model, &checked);
                scope.spawn(move || {
                    for ((found, alone), task) in
                        in_turn(model, tasks).iter().zip(expected).zip(tasks)
                    {
                        let alone = match task.middle {
                            Middle::Drop => &alone[..task.tokens / 2],
                            _ => alone,
                        };
                        assert_eq!(found, alone, "round {round} on {}", model.device().name());
                        checked.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(checked.into_inner(), SESSIONS);
    }
}

#[test]
fn sessions_on_threads_write_what_they_write_alone_on_the_cpu() {
    stress(&Device::cpu().unwrap(), 4);
}

#[test]
fn sessions_on_threads_write_what_they_write_alone_on_a_gpu() {
    if gpu::device().is_some() {
        stress(&Device::gpu().unwrap(), 1);
    }
}

#[test]
#[ignore = "a minute for each engine; .ci/stress runs it"]
fn sessions_on_threads_for_a_minute() {
    stress(&Device::cpu().unwrap(), 400);
    if gpu::device().is_some() {
        stress(&Device::gpu().unwrap(), 40);
    }
}
