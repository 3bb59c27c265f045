//! The contracts of [`JobQueue`].

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{Delivery, JobQueue};
use longshore_proto::{DeliveryId, Grant, GrantDecision, Job};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::wait::{until_some, until_true};

use super::values::{job, job_for, server};
use super::{Fixture, PATIENCE, contracts};

contracts![
    published_job_is_pulled_unchanged,
    jobs_that_are_already_queued_are_skipped,
    queued_job_is_not_queued_twice,
    delivered_job_is_not_queued_again,
    acknowledged_job_is_removed_and_its_id_is_free,
    job_is_held_until_it_is_acknowledged,
    withdrawn_job_that_waits_is_removed_and_its_id_is_free,
    withdrawn_job_that_is_delivered_stays_with_its_worker,
    job_of_many_concurrent_publishers_is_queued_once,
    jobs_are_delivered_in_order,
    pull_returns_at_most_the_requested_number,
    pull_waits_for_its_first_job,
    pull_of_an_empty_queue_returns_no_job,
    pull_without_waiting_returns_queued_jobs,
    each_job_goes_to_one_of_many_workers,
    cancelled_pull_loses_no_job,
    queues_of_servers_are_independent,
    dropped_delivery_is_delivered_again_and_counted,
    returned_job_is_delivered_again_at_once,
    job_returned_with_a_delay_is_delivered_after_the_delay,
    returned_job_is_not_queued_twice,
    worker_can_report_progress,
    recall_reaches_the_worker_of_the_job,
    recalled_job_is_still_delivered,
    recall_affects_one_job,
    decision_reaches_the_delivery_that_waits,
    decision_reaches_no_other_delivery,
];

/// A queue, with the calls of publishers and workers.
struct QueueClient(Arc<dyn JobQueue>);

impl QueueClient {
    fn of(fixture: &dyn Fixture) -> Self {
        Self(fixture.backend().jobs)
    }

    async fn publish(&self, jobs: Vec<Job>) {
        self.0.publish(jobs).await.expect("publishes");
    }

    async fn pull_from(&self, name: &str, max: usize, wait: Duration) -> Vec<Delivery> {
        let max = NonZeroUsize::new(max).expect("not zero");
        self.0.pull(&server(name), max, wait).await.expect("pulls")
    }

    /// Waits for one job of the server `files`.
    async fn pull(&self) -> Delivery {
        let mut pulled = self.pull_from("files", 1, PATIENCE).await;
        assert_eq!(pulled.len(), 1);
        pulled.remove(0)
    }

    /// Returns true if no job is queued: a job that is published now is the first to be pulled.
    async fn is_empty(&self) -> bool {
        let marker = job(1_000_000);
        self.publish(vec![marker.clone()]).await;
        let pulled = self.pull().await;
        let empty = pulled.job == marker;
        pulled.receipt.ack().await.expect("acks");
        empty
    }
}

fn numbers(pulled: &[Delivery]) -> Vec<String> {
    pulled.iter().map(|delivery| delivery.job.idempotency_key.clone()).collect()
}

async fn ack(pulled: Vec<Delivery>) {
    for delivery in pulled {
        delivery.receipt.ack().await.expect("acks");
    }
}

async fn published_job_is_pulled_unchanged(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1)]).await;
    let delivery = queue.pull().await;
    assert_eq!(delivery.job, job(1));
    assert_eq!(delivery.delivered, 1);
    assert!(!delivery.recalled.is_cancelled());
}

async fn jobs_that_are_already_queued_are_skipped(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(2)]).await;
    queue.publish(vec![job(1), job(2), job(3), job(1)]).await;
    queue.publish(Vec::new()).await;
    for n in [2, 1, 3] {
        let delivery = queue.pull().await;
        assert_eq!(delivery.job, job(n));
        delivery.receipt.ack().await.expect("acks");
    }
    assert!(queue.is_empty().await);
}

async fn queued_job_is_not_queued_twice(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1)]).await;
    queue.publish(vec![job(1)]).await;
    queue.pull().await.receipt.ack().await.expect("acks");
    assert!(queue.is_empty().await);
}

async fn delivered_job_is_not_queued_again(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1)]).await;
    let delivery = queue.pull().await;
    queue.publish(vec![job(1)]).await;
    assert!(queue.is_empty().await, "no other worker gets it");
    drop(delivery);
}

async fn acknowledged_job_is_removed_and_its_id_is_free(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1)]).await;
    queue.pull().await.receipt.ack().await.expect("acks");
    assert!(queue.is_empty().await);
    queue.publish(vec![job(1)]).await;
    assert_eq!(queue.pull().await.delivered, 1, "deliveries are counted from 1");
}

async fn job_is_held_until_it_is_acknowledged(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    let jobs: Vec<Job> = (0..100).map(job).collect();
    let addresses: Vec<_> = jobs.iter().map(Job::address).collect();
    let held = async || queue.0.holds(&addresses).await.expect("looks");
    assert!(!held().await.contains(&true));
    queue.publish(vec![job(3), job(70)]).await;
    let both: Vec<_> = (0..100).map(|n| n == 3 || n == 70).collect();
    assert_eq!(held().await, both);
    let delivery = queue.pull().await;
    assert_eq!(held().await, both, "also while a worker has one");
    delivery.receipt.ack().await.expect("acks");
    // An acknowledgement is not answered, so the queue may process it a little later.
    let one: Vec<_> = (0..100).map(|n| n == 70).collect();
    until_true("the acknowledged job is not held", || async { held().await == one }).await;
}

async fn withdrawn_job_that_waits_is_removed_and_its_id_is_free(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1), job(2)]).await;
    queue.0.withdraw(&[job(1).id, job(3).id]).await.expect("answers");
    assert_eq!(queue.0.holds(&[job(1).address(), job(2).address()]).await.expect("looks"), [false, true]);
    queue.publish(vec![job(1)]).await;
    let pulled = [queue.pull().await, queue.pull().await];
    assert_eq!(numbers(&pulled), ["key-2", "key-1"]);
}

async fn withdrawn_job_that_is_delivered_stays_with_its_worker(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1)]).await;
    let delivery = queue.pull().await;
    queue.0.withdraw(&[job(1).id]).await.expect("answers");
    delivery.receipt.extend_ack_wait().await.expect("the worker continues");
    delivery.receipt.ack().await.expect("acks");
    assert!(queue.is_empty().await);
}

async fn job_of_many_concurrent_publishers_is_queued_once(fixture: &mut dyn Fixture) {
    let mut publishers = JoinSet::new();
    for _ in 0..50 {
        let queue = QueueClient::of(fixture);
        publishers.spawn(async move { queue.publish(vec![job(1)]).await });
    }
    publishers.join_all().await;
    let queue = QueueClient::of(fixture);
    queue.pull().await.receipt.ack().await.expect("acks");
    assert!(queue.is_empty().await);
}

async fn jobs_are_delivered_in_order(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish((0..20).map(job).collect()).await;
    let mut pulled = Vec::new();
    while pulled.len() < 20 {
        pulled.extend(queue.pull_from("files", 7, PATIENCE).await);
    }
    assert!(numbers(&pulled).into_iter().eq((0..20).map(|n| format!("key-{n}"))));
}

async fn pull_returns_at_most_the_requested_number(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish((0..5).map(job).collect()).await;
    let some = queue.pull_from("files", 3, PATIENCE).await;
    assert!((1..=3).contains(&some.len()));
}

async fn pull_waits_for_its_first_job(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    for n in 0..20 {
        let (delivery, ()) = tokio::join!(queue.pull(), queue.publish(vec![job(n)]));
        assert_eq!(delivery.job, job(n));
        delivery.receipt.ack().await.expect("acks");
    }
}

async fn pull_of_an_empty_queue_returns_no_job(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    let started = Instant::now();
    assert!(queue.pull_from("files", 1, Duration::from_millis(30)).await.is_empty());
    assert!(started.elapsed() < PATIENCE / 2);
}

async fn pull_without_waiting_returns_queued_jobs(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1)]).await;
    // A queue behind a network may need a moment until a job can be pulled.
    let pulled = until_some("a job can be pulled", || async {
        Some(queue.pull_from("files", 1, Duration::ZERO).await).filter(|pulled| !pulled.is_empty())
    });
    assert_eq!(numbers(&pulled.await), ["key-1"]);
}

async fn each_job_goes_to_one_of_many_workers(fixture: &mut dyn Fixture) {
    const JOBS: u64 = 300;
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let queue = QueueClient::of(fixture);
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let pulled = queue.pull_from("files", 3, PATIENCE).await;
                done.extend(numbers(&pulled));
                let last = pulled.iter().any(|delivery| delivery.job.tool.as_str() == "stop");
                ack(pulled).await;
                if last {
                    return done;
                }
            }
        });
    }
    let queue = QueueClient::of(fixture);
    for n in 0..JOBS {
        queue.publish(vec![job(n)]).await;
    }
    let mut stops = 0;
    let mut done = Vec::new();
    // One at a time: a worker that pulled two of these would leave none for another worker.
    while stops < 8 {
        let stop = Job { tool: "stop".parse().expect("a tool"), ..job(JOBS + stops) };
        queue.publish(vec![stop]).await;
        done.extend(workers.join_next().await.expect("a worker").expect("ends well"));
        stops += 1;
    }
    assert_eq!(done.len() as u64, JOBS + stops, "none of them twice");
    assert_eq!(done.into_iter().collect::<BTreeSet<_>>().len() as u64, JOBS + stops, "all of them");
}

async fn cancelled_pull_loses_no_job(fixture: &mut dyn Fixture) {
    const JOBS: usize = 100;
    let queue = QueueClient::of(fixture);
    // This creates the consumer. On a busy machine that takes longer than the limits below, and each cancelled pull would start
    // it again.
    assert!(queue.is_empty().await, "no job was published yet");
    let publishing = async {
        for n in 0..JOBS as u64 {
            queue.publish(vec![job(n)]).await;
        }
    };
    let pulling = async {
        let mut done = BTreeSet::new();
        let mut waits = (0..).map(|turn| Duration::from_micros(turn * 37 % 1_500));
        while done.len() < JOBS {
            let wait = waits.next().unwrap_or_default();
            if let Ok(pulled) = timeout(wait, queue.pull_from("files", 2, PATIENCE)).await {
                done.extend(numbers(&pulled));
                ack(pulled).await;
            }
        }
    };
    tokio::join!(publishing, pulling);
}

async fn queues_of_servers_are_independent(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish((0..50).map(|n| job_for("slow", n)).collect()).await;
    queue.publish(vec![job_for("quick", 50)]).await;
    let pulled = queue.pull_from("quick", 10, PATIENCE).await;
    assert_eq!(numbers(&pulled), ["key-50"]);
    assert_eq!(numbers(&queue.pull_from("slow", 1, PATIENCE).await), ["key-0"]);
}

async fn dropped_delivery_is_delivered_again_and_counted(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1)]).await;
    for delivered in 1..=3 {
        let delivery = queue.pull().await;
        assert_eq!((delivery.job.clone(), delivery.delivered), (job(1), delivered));
    }
}

async fn returned_job_is_delivered_again_at_once(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1)]).await;
    queue.pull().await.receipt.give_back(None).await.expect("gives back");
    let again = queue.pull().await;
    assert_eq!((again.job, again.delivered), (job(1), 2));
}

async fn job_returned_with_a_delay_is_delivered_after_the_delay(fixture: &mut dyn Fixture) {
    const DELAY: Duration = Duration::from_millis(80);
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1), job(2)]).await;
    let started = Instant::now();
    queue.pull().await.receipt.give_back(Some(DELAY)).await.expect("gives back");
    let next = queue.pull().await;
    assert_eq!(next.job, job(2), "it does not wait for the first");
    let again = queue.pull().await;
    assert_eq!((again.job, again.delivered), (job(1), 2));
    assert!(started.elapsed() >= DELAY);
}

async fn returned_job_is_not_queued_twice(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1)]).await;
    queue.pull().await.receipt.give_back(Some(Duration::from_secs(3600))).await.expect("gives back");
    queue.publish(vec![job(1)]).await;
    assert!(queue.is_empty().await);
}

async fn worker_can_report_progress(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1)]).await;
    let delivery = queue.pull().await;
    assert!(delivery.receipt.ack_wait() > Duration::ZERO);
    delivery.receipt.extend_ack_wait().await.expect("takes it");
    assert!(queue.is_empty().await, "the job stays with its worker");
    delivery.receipt.ack().await.expect("acks");
}

async fn recall_reaches_the_worker_of_the_job(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1)]).await;
    let delivery = queue.pull().await;
    queue.0.recall(&[job(1).id]).await.expect("recalls");
    delivery.recalled.cancelled().await;
    queue.publish(vec![job(1)]).await;
    assert!(queue.is_empty().await, "it is not settled yet");
}

async fn recalled_job_is_still_delivered(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1)]).await;
    queue.0.recall(&[job(1).id]).await.expect("recalls");
    let delivery = queue.pull().await;
    delivery.recalled.cancelled().await;
    drop(delivery);
    queue.pull().await.recalled.cancelled().await;
}

async fn recall_affects_one_job(fixture: &mut dyn Fixture) {
    let queue = QueueClient::of(fixture);
    queue.publish(vec![job(1), job(2)]).await;
    queue.0.recall(&[job(77).id, job(1).id]).await.expect("an unknown job is ignored");
    let (first, second) = (queue.pull().await, queue.pull().await);
    first.recalled.cancelled().await;
    assert!(!second.recalled.is_cancelled());
}

fn delivery(worker: &str, number: u64) -> DeliveryId {
    DeliveryId { worker: worker.parse().expect("a node id"), number }
}

fn grant(delivery: DeliveryId, decision: GrantDecision) -> Grant {
    Grant { job: job(1).id, delivery, decision }
}

async fn decision_reaches_the_delivery_that_waits(fixture: &mut dyn Fixture) {
    let jobs = fixture.backend().jobs;
    let mut first = jobs.grant_waiter(&delivery("w1", 1)).await.expect("waits");
    let mut second = jobs.grant_waiter(&delivery("w1", 2)).await.expect("waits");
    let mut third = jobs.grant_waiter(&delivery("w2", 1)).await.expect("waits");
    let decisions = [
        grant(delivery("w1", 1), GrantDecision::Granted),
        grant(delivery("w2", 1), GrantDecision::Granted),
        grant(delivery("w1", 2), GrantDecision::Denied),
    ];
    jobs.grant(&decisions).await.expect("sends");
    assert_eq!(timeout(PATIENCE, first.decision()).await.expect("arrives"), GrantDecision::Granted);
    assert_eq!(timeout(PATIENCE, second.decision()).await.expect("arrives"), GrantDecision::Denied);
    assert_eq!(timeout(PATIENCE, third.decision()).await.expect("arrives"), GrantDecision::Granted);
}

async fn decision_reaches_no_other_delivery(fixture: &mut dyn Fixture) {
    let jobs = fixture.backend().jobs;
    let mut waiting = jobs.grant_waiter(&delivery("w1", 1)).await.expect("waits");
    // The one that waits gets the last of them first.
    let others = [delivery("w1", 2), delivery("w2", 1), delivery("w1", 11)];
    let mut decisions: Vec<Grant> = others.map(|other| grant(other, GrantDecision::Granted)).into();
    decisions.push(grant(delivery("w1", 1), GrantDecision::Denied));
    jobs.grant(&decisions).await.expect("sends");
    assert_eq!(timeout(PATIENCE, waiting.decision()).await.expect("arrives"), GrantDecision::Denied);
}
