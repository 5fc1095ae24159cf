//! Processes that are killed, stopped and cut off for real, under load, and an oracle that judges.
//!
//! `docs/reliability.md` says what each test proves and how to run more cycles of it.

mod cancel;
mod family;
mod kill;
mod load;
mod oracle;
#[cfg(feature = "fault-points")]
mod points;
mod poison;
mod proxy;
mod rig;
mod stop;
mod zombie;
