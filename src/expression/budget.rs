//! What one evaluation may spend, counted on its thread.
//!
//! `metered` and the functions call [`tick`] and [`charge`] wherever work is done or memory grows;
//! [`within`] runs an evaluation and turns an exceeded limit into an answer. A spent budget
//! unwinds, so jq's own `try` cannot swallow it. It does not isolate: it bounds.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::Limits;

/// Stack an evaluation may use, in bytes.
const STACK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Stack that must be left beyond that for what cannot stop half-way: comparing and dropping the
/// deepest value the byte budget lets an evaluation build.
const STACK_RESERVE_BYTES: usize = 24 * 1024 * 1024;

/// Size of the stack allocated where the thread has less than the two above.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Ticks between two looks at the clock.
const CLOCK_TICKS: u64 = 2_048;

/// Bytes handled per tick where work is proportional to length.
const BYTES_PER_TICK: usize = 64;

/// The limit an evaluation exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Fuel,
    Bytes,
    Stack,
    Deadline,
}

/// Why [`within`] has no result.
pub(super) enum Stop {
    Limit(Limit),
    /// A panic in a library: a defect, but one that ends this evaluation only.
    Defect,
}

struct Meter {
    fuel: Cell<u64>,
    bytes: Cell<u64>,
    /// The fuel at which the clock is looked at next.
    clock_at: Cell<u64>,
    /// Processor time of this thread at which the evaluation ends.
    deadline: Cell<Duration>,
    /// Addresses below this are out of bounds.
    stack_low: Cell<usize>,
}

thread_local! {
    static METER: Meter = const { Meter {
        fuel: Cell::new(u64::MAX),
        bytes: Cell::new(u64::MAX),
        clock_at: Cell::new(0),
        deadline: Cell::new(Duration::MAX),
        stack_low: Cell::new(0),
    } };
}

impl Meter {
    fn disarm(&self) {
        self.fuel.set(u64::MAX);
        self.bytes.set(u64::MAX);
        self.clock_at.set(0);
        self.deadline.set(Duration::MAX);
        self.stack_low.set(0);
    }

    /// Ends the evaluation. Disarmed first, so that what unwinding drops does not stop again.
    #[cold]
    fn stop(&self, limit: Limit) -> ! {
        self.disarm();
        resume_unwind(Box::new(limit))
    }

    #[cold]
    fn look_at_clock(&self, fuel: u64) {
        self.clock_at.set(fuel.saturating_sub(CLOCK_TICKS));
        if processor_time() > self.deadline.get() {
            self.stop(Limit::Deadline);
        }
    }
}

/// What this thread has used of a processor: a busy machine must not fail an expression.
fn processor_time() -> Duration {
    // The clock exists on every system we build for; without it fuel alone bounds the time.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Counts one small piece of work.
#[inline]
pub(super) fn tick() {
    spend(1);
}

/// Counts `n` pieces of work.
#[inline]
pub(super) fn spend(n: u64) {
    METER.with(|meter| {
        let Some(fuel) = meter.fuel.get().checked_sub(n) else {
            meter.stop(Limit::Fuel)
        };
        meter.fuel.set(fuel);
        if (&raw const fuel).addr() < meter.stack_low.get() {
            meter.stop(Limit::Stack);
        }
        if fuel < meter.clock_at.get() {
            meter.look_at_clock(fuel);
        }
    });
}

/// Counts work proportional to a length in bytes (of a text, or 16 for each item).
#[inline]
pub(super) fn scan(bytes: usize) {
    spend((bytes / BYTES_PER_TICK) as u64 + 1);
}

/// Counts `bytes` of new memory. What is freed again is not given back: the limit bounds the work
/// of an evaluation as much as its memory.
#[inline]
pub(super) fn charge(bytes: usize) {
    METER.with(|meter| match meter.bytes.get().checked_sub(bytes as u64) {
        Some(left) => meter.bytes.set(left),
        None => meter.stop(Limit::Bytes),
    });
    scan(bytes);
}

/// Runs `evaluation` within `limits`, on a stack that is large enough: this thread's own where it
/// is (nothing is allocated then), else one made for it.
pub(super) fn within<T>(limits: &Limits, evaluation: impl FnOnce() -> T) -> Result<T, Stop> {
    let run = || {
        arm(limits);
        let result = catch_unwind(AssertUnwindSafe(evaluation));
        METER.with(Meter::disarm);
        result.map_err(why)
    };
    on_large_stack(run)
}

/// Calls `f` with at least the stack an evaluation needs.
pub(super) fn on_large_stack<T>(f: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_BYTES_MAX + STACK_RESERVE_BYTES, STACK_BYTES, f)
}

fn arm(limits: &Limits) {
    let here = (&raw const limits).addr();
    METER.with(|meter| {
        meter.fuel.set(limits.fuel_max);
        meter
            .clock_at
            .set(limits.fuel_max.saturating_sub(CLOCK_TICKS));
        meter.bytes.set(limits.memory_bytes_max);
        let timeout = Duration::from_millis(limits.timeout_ms);
        meter.deadline.set(processor_time().saturating_add(timeout));
        meter.stack_low.set(here.saturating_sub(STACK_BYTES_MAX));
    });
}

fn why(panic: Box<dyn Any + Send>) -> Stop {
    match panic.downcast::<Limit>() {
        Ok(limit) => Stop::Limit(*limit),
        Err(_) => Stop::Defect,
    }
}
