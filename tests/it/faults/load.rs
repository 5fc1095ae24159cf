//! Signed load that behaves as senders do: what is not answered with a 2xx is sent again with the
//! same id, some deliveries come twice, some connections are dropped right after sending.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::oracle::Acknowledged;
use crate::world::sender::{Sender, standard};
use crate::world::wire::{Answer, Line};

/// Pause before an unanswered delivery is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long an id is tried after the load has ended.
const GIVE_UP_AFTER: Duration = Duration::from_secs(45);

/// What is sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to, one address for each connection in turn.
    pub addresses: Vec<SocketAddr>,
    pub rate_per_s: f64,
    pub connections: usize,
    /// Share of ids sent once more after their acknowledgement.
    pub duplicates: f64,
    /// Share of deliveries whose connection is dropped right after sending.
    pub drops: f64,
    pub prefix: &'static str,
}

impl Plan {
    pub fn new(addresses: Vec<SocketAddr>, prefix: &'static str) -> Self {
        Self {
            addresses,
            rate_per_s: 300.0,
            connections: 32,
            duplicates: 0.03,
            drops: 0.02,
            prefix,
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub acknowledged: Vec<Acknowledged>,
    /// When each acknowledgement came.
    pub acknowledged_at: Vec<Instant>,
    /// How often each status other than 2xx was answered.
    pub refused: BTreeMap<u16, usize>,
    /// Answers of 503 without an integer `Retry-After`.
    pub without_retry_after: usize,
    pub given_up: Vec<String>,
}

struct Shared {
    plan: Plan,
    begun_at: Instant,
    next: AtomicUsize,
    ended: CancellationToken,
    end_at: Mutex<Option<Instant>>,
    outcome: Mutex<Outcome>,
}

/// Load that runs until it is ended.
pub struct Load {
    shared: Arc<Shared>,
    senders: JoinSet<()>,
}

impl Load {
    pub fn start(plan: Plan) -> Self {
        let connections = plan.connections;
        let shared = Arc::new(Shared {
            plan,
            begun_at: Instant::now(),
            next: AtomicUsize::new(0),
            ended: CancellationToken::new(),
            end_at: Mutex::default(),
            outcome: Mutex::default(),
        });
        let mut senders = JoinSet::new();
        for number in 0..connections {
            senders.spawn(send(Arc::clone(&shared), number));
        }
        Self { shared, senders }
    }

    pub fn acknowledged(&self) -> usize {
        self.shared.outcome.lock().unwrap().acknowledged.len()
    }

    /// Waits until so many more were acknowledged.
    pub async fn more(&self, count: usize) {
        let wanted = self.acknowledged() + count;
        crate::world::until("deliveries are acknowledged", async || {
            (self.acknowledged() >= wanted).then_some(())
        })
        .await;
    }

    /// Sends nothing new; waits until what was begun is acknowledged.
    pub async fn end(mut self) -> Outcome {
        *self.shared.end_at.lock().unwrap() = Some(Instant::now());
        self.shared.ended.cancel();
        while let Some(joined) = self.senders.join_next().await {
            joined.unwrap();
        }
        std::mem::take(&mut self.shared.outcome.lock().unwrap())
    }
}

impl Shared {
    /// The next number, as soon as the rate allows; `None` when the load has ended.
    async fn take(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.begun_at + Duration::from_secs_f64(number as f64 / self.plan.rate_per_s);
        tokio::select! {
            () = self.ended.cancelled() => None,
            () = tokio::time::sleep_until(due) => Some(number),
        }
    }

    fn gives_up(&self) -> bool {
        let end_at = *self.end_at.lock().unwrap();
        end_at.is_some_and(|at| at.elapsed() > GIVE_UP_AFTER)
    }

    fn note(&self, id: &str, answer: &Answer) -> bool {
        let mut outcome = self.outcome.lock().unwrap();
        if (200..300).contains(&answer.status) {
            let event = answer.json()["id"].as_str().unwrap().to_owned();
            outcome.acknowledged.push(Acknowledged {
                id: id.to_owned(),
                event,
            });
            outcome.acknowledged_at.push(Instant::now());
            return true;
        }
        *outcome.refused.entry(answer.status).or_default() += 1;
        let after = answer.header("retry-after");
        if answer.status == 503 && after.and_then(|text| text.parse::<u32>().ok()).is_none() {
            outcome.without_retry_after += 1;
        }
        false
    }
}

/// One connection's worth of deliveries.
async fn send(shared: Arc<Shared>, connection: usize) {
    let mut random = StdRng::seed_from_u64(connection as u64);
    let address = shared.plan.addresses[connection % shared.plan.addresses.len()];
    let mut wire = Wire {
        address,
        sender: standard(),
        line: None,
    };
    while let Some(number) = shared.take().await {
        let id = format!("{}-{number:06}", shared.plan.prefix);
        let twice = random.random_bool(shared.plan.duplicates);
        for _ in 0..=usize::from(twice) {
            insist(&shared, &mut wire, (&id, number), &mut random).await;
        }
    }
}

/// Sends one delivery until it is acknowledged.
async fn insist(
    shared: &Shared,
    wire: &mut Wire,
    (id, number): (&str, usize),
    random: &mut StdRng,
) {
    let body = format!(r#"{{"type":"order.created","id":"{id}","number":{number}}}"#);
    loop {
        let drop = random.random_bool(shared.plan.drops);
        if let Ok(Some(answer)) = wire.deliver(id, &body, drop).await
            && shared.note(id, &answer)
        {
            return;
        }
        if shared.gives_up() {
            shared.outcome.lock().unwrap().given_up.push(id.to_owned());
            return;
        }
        tokio::time::sleep(RETRY_PAUSE.mul_f64(random.random_range(0.5..1.5))).await;
    }
}

struct Wire {
    address: SocketAddr,
    sender: Sender,
    line: Option<Line>,
}

impl Wire {
    /// The answer; none where the connection was dropped on purpose.
    async fn deliver(&mut self, id: &str, body: &str, drop: bool) -> io::Result<Option<Answer>> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => Line::open(self.address).await?,
        };
        line.write(&self.sender.delivery(id, body).bytes()).await?;
        if drop {
            return Ok(None);
        }
        let answer = line.read().await?;
        if answer.header("connection") != Some("close") {
            self.line = Some(line);
        }
        Ok(Some(answer))
    }
}
