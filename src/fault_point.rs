//! Named points of the journey at which a test ends the process, as the power does.
//!
//! A point does nothing, and costs nothing, unless the server was built with the feature
//! `fault-points`, which no release has. Then `HOOKWRIGHT_FAULT_POINT=name:hit:delay_ms` says
//! which one ends it, at which visit (from 1), and how long after. `tests/it/faults/points.rs`
//! visits all.

/// The process is here.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub const fn pass(_point: &'static str) {}

#[cfg(feature = "fault-points")]
pub use armed::pass;

#[cfg(feature = "fault-points")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    /// Which point, at which visit, how long after.
    struct Plan {
        point: String,
        hit: u32,
        delay: Duration,
    }

    /// The process is here; it may be the last thing it does.
    pub fn pass(point: &'static str) {
        static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
        static VISITS: AtomicU32 = AtomicU32::new(0);
        let Some(plan) = PLAN.get_or_init(planned) else {
            return;
        };
        if plan.point != point || VISITS.fetch_add(1, Ordering::AcqRel) + 1 != plan.hit {
            return;
        }
        let end = move || {
            std::thread::sleep(plan.delay);
            let _ended = kill(Pid::this(), Signal::SIGKILL);
        };
        if plan.delay.is_zero() {
            end();
        } else {
            std::thread::spawn(end);
        }
    }

    fn planned() -> Option<Plan> {
        let text = std::env::var("HOOKWRIGHT_FAULT_POINT").ok()?;
        let mut parts = text.split(':');
        let point = parts.next()?.to_owned();
        let hit = parts.next().map_or(Ok(1), str::parse).ok()?;
        let delay_ms = parts.next().map_or(Ok(0), str::parse).ok()?;
        Some(Plan {
            point,
            hit,
            delay: Duration::from_millis(delay_ms),
        })
    }
}
