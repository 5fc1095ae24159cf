//! The bounded way from threads that log to the one thread that writes. A thread that logs never
//! waits here, whatever the reader of the log does.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;

/// Lines that wait for the writer, besides the bound in bytes.
pub const LINES_MAX: usize = 16_384;
/// Bytes written with one system call, if so many wait.
const BATCH_BYTES: usize = 64 * 1024;
/// How long the end of the process waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

enum Message {
    Line(String),
    /// Everything before it has been written; answered, then the thread ends.
    Stop(SyncSender<()>),
}

/// The sending side; clones share the queue.
#[derive(Clone)]
pub(super) struct Lines {
    sender: SyncSender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    lost: IntCounter,
}

/// Keeps the log open. Dropping it writes what waits, for at most a second, and closes the log.
#[must_use = "the log ends when the guard is dropped"]
pub struct Guard(SyncSender<Message>);

/// Starts the thread that writes.
pub(super) fn start(
    output: impl Write + Send + 'static,
    bytes_max: usize,
    lost: IntCounter,
) -> std::io::Result<(Lines, Guard)> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let lines = Lines {
        sender: sender.clone(),
        waiting_bytes,
        bytes_max,
        lost,
    };
    let writer = Writer {
        output,
        waiting_bytes: Arc::clone(&lines.waiting_bytes),
        lost: lines.lost.clone(),
    };
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.run(&receiver))?;
    Ok((lines, Guard(sender)))
}

impl Lines {
    /// Hands over a line, or counts it as lost where too many wait.
    pub(super) fn send(&self, line: String) {
        let length = line.len();
        let waiting = self.waiting_bytes.fetch_add(length, Ordering::Relaxed);
        let fits = waiting.saturating_add(length) <= self.bytes_max;
        if !fits || self.sender.try_send(Message::Line(line)).is_err() {
            self.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
            self.lost.inc();
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (answer, stopped) = sync_channel(1);
        match self.0.try_send(Message::Stop(answer)) {
            // A full queue means a reader that does not read: not worth waiting for.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            Ok(()) => {
                let _ = stopped.recv_timeout(FLUSH_TIMEOUT);
            }
        }
    }
}

struct Writer<W> {
    output: W,
    waiting_bytes: Arc<AtomicUsize>,
    lost: IntCounter,
}

impl<W: Write> Writer<W> {
    fn run(mut self, receiver: &Receiver<Message>) {
        let mut batch = String::new();
        while let Ok(first) = receiver.recv() {
            let (lines, stop) = gather(first, receiver, &mut batch);
            self.write(&mut batch, lines);
            if let Some(answer) = stop {
                let _ = answer.send(());
                return;
            }
        }
    }

    /// A closed output loses lines; the next batch tries again.
    fn write(&mut self, batch: &mut String, lines: u64) {
        let written = self
            .output
            .write_all(batch.as_bytes())
            .and_then(|()| self.output.flush());
        if written.is_err() {
            self.lost.inc_by(lines);
        }
        self.waiting_bytes.fetch_sub(batch.len(), Ordering::Relaxed);
        batch.clear();
        batch.shrink_to(BATCH_BYTES);
    }
}

/// Puts the lines that wait into the batch, up to its size or a stop; says how many there are.
fn gather(
    first: Message,
    receiver: &Receiver<Message>,
    batch: &mut String,
) -> (u64, Option<SyncSender<()>>) {
    let mut lines = 0;
    for message in std::iter::once(first).chain(receiver.try_iter()) {
        match message {
            Message::Line(line) => batch.push_str(&line),
            Message::Stop(answer) => return (lines, Some(answer)),
        }
        lines += 1;
        if batch.len() >= BATCH_BYTES {
            break;
        }
    }
    (lines, None)
}
