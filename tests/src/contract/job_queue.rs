//! The contracts of [`JobQueue`].

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{Delivery, JobQueue, Queued, clock};
use longshore_proto::Job;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::words::{job, job_for, server};
use super::{Fixture, PATIENCE, contracts};

contracts![
    a_published_job_is_pulled_as_it_was,
    answers_stand_in_the_order_of_the_jobs,
    a_queued_job_is_not_queued_twice,
    a_delivered_job_is_not_queued_again,
    an_acknowledged_job_is_gone_and_its_id_is_free,
    a_job_is_held_until_it_is_acknowledged,
    of_many_publishers_at_once_one_is_first,
    jobs_come_in_their_order,
    a_pull_takes_no_more_than_it_asked_for,
    a_pull_waits_for_its_first_job,
    a_pull_in_vain_comes_back_with_none,
    a_pull_without_waiting_takes_what_is_there,
    each_job_goes_to_one_of_many_workers,
    giving_up_on_a_pull_loses_nothing,
    servers_do_not_wait_for_each_other,
    a_dropped_delivery_comes_again_and_is_counted,
    a_job_that_comes_again_was_queued_when_it_was,
    a_job_given_back_comes_again_at_once,
    a_job_given_back_with_a_delay_comes_no_sooner,
    a_job_that_was_given_back_is_not_queued_twice,
    a_worker_can_show_progress,
    a_recall_reaches_the_worker_that_has_the_job,
    a_recalled_job_is_delivered_all_the_same,
    a_recall_concerns_one_job,
];

struct Line(Arc<dyn JobQueue>);

impl Line {
    fn of(fixture: &dyn Fixture) -> Self {
        Self(fixture.backend().jobs)
    }

    async fn publish(&self, jobs: Vec<Job>) -> Vec<Queued> {
        self.0.publish(jobs).await.expect("publishes")
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

    /// Publishes and pulls something else, to show that nothing stands before it.
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

async fn a_published_job_is_pulled_as_it_was(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    assert_eq!(line.publish(vec![job(1)]).await, [Queued::New]);
    let delivery = line.pull().await;
    assert_eq!(delivery.job, job(1));
    assert_eq!(delivery.delivered, 1);
    assert!(!delivery.recalled.is_cancelled());
}

async fn answers_stand_in_the_order_of_the_jobs(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish(vec![job(2)]).await;
    let answers = line.publish(vec![job(1), job(2), job(3), job(1)]).await;
    assert_eq!(answers, [Queued::New, Queued::Already, Queued::New, Queued::Already]);
    assert!(line.publish(Vec::new()).await.is_empty());
}

async fn a_queued_job_is_not_queued_twice(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish(vec![job(1)]).await;
    assert_eq!(line.publish(vec![job(1)]).await, [Queued::Already]);
    line.pull().await.receipt.ack().await.expect("acks");
    assert!(line.is_empty().await);
}

async fn a_delivered_job_is_not_queued_again(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish(vec![job(1)]).await;
    let delivery = line.pull().await;
    assert_eq!(line.publish(vec![job(1)]).await, [Queued::Already]);
    assert!(line.is_empty().await, "nobody else gets it meanwhile");
    drop(delivery);
}

async fn an_acknowledged_job_is_gone_and_its_id_is_free(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish(vec![job(1)]).await;
    line.pull().await.receipt.ack().await.expect("acks");
    assert!(line.is_empty().await);
    assert_eq!(line.publish(vec![job(1)]).await, [Queued::New]);
    assert_eq!(line.pull().await.delivered, 1, "counted from the start");
}

async fn a_job_is_held_until_it_is_acknowledged(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    let jobs: Vec<Job> = (0..100).map(job).collect();
    let held = async || line.0.holds(&jobs).await.expect("looks");
    assert!(!held().await.contains(&true));
    line.publish(vec![job(3), job(70)]).await;
    let both: Vec<_> = (0..100).map(|n| n == 3 || n == 70).collect();
    assert_eq!(held().await, both);
    let delivery = line.pull().await;
    assert_eq!(held().await, both, "also while a worker has one");
    delivery.receipt.ack().await.expect("acks");
    // An acknowledgement is a word that is not answered: the queue hears of it a little later.
    let one: Vec<_> = (0..100).map(|n| n == 70).collect();
    timeout(PATIENCE, async { while held().await != one {} }).await.expect("no longer held");
}

async fn of_many_publishers_at_once_one_is_first(fixture: &mut dyn Fixture) {
    let mut publishers = JoinSet::new();
    for _ in 0..50 {
        let line = Line::of(fixture);
        publishers.spawn(async move { line.publish(vec![job(1)]).await });
    }
    let answers = publishers.join_all().await.concat();
    assert_eq!(answers.iter().filter(|answer| **answer == Queued::New).count(), 1);
}

async fn jobs_come_in_their_order(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish((0..20).map(job).collect()).await;
    let mut pulled = Vec::new();
    while pulled.len() < 20 {
        pulled.extend(line.pull_from("files", 7, PATIENCE).await);
    }
    assert!(numbers(&pulled).into_iter().eq((0..20).map(|n| format!("key-{n}"))));
}

async fn a_pull_takes_no_more_than_it_asked_for(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish((0..5).map(job).collect()).await;
    let some = line.pull_from("files", 3, PATIENCE).await;
    assert!((1..=3).contains(&some.len()));
}

async fn a_pull_waits_for_its_first_job(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    for n in 0..20 {
        let (delivery, answers) = tokio::join!(line.pull(), line.publish(vec![job(n)]));
        assert_eq!((delivery.job, answers), (job(n), vec![Queued::New]));
        delivery.receipt.ack().await.expect("acks");
    }
}

async fn a_pull_in_vain_comes_back_with_none(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    let started = Instant::now();
    assert!(line.pull_from("files", 1, Duration::from_millis(30)).await.is_empty());
    assert!(started.elapsed() < PATIENCE / 2);
}

async fn a_pull_without_waiting_takes_what_is_there(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish(vec![job(1)]).await;
    // A queue behind a network may need a moment until a job can be pulled.
    let pulled = async {
        loop {
            let pulled = line.pull_from("files", 1, Duration::ZERO).await;
            if !pulled.is_empty() {
                return pulled;
            }
        }
    };
    assert_eq!(numbers(&pulled.await), ["key-1"]);
}

async fn each_job_goes_to_one_of_many_workers(fixture: &mut dyn Fixture) {
    const JOBS: u64 = 300;
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let line = Line::of(fixture);
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let pulled = line.pull_from("files", 3, PATIENCE).await;
                done.extend(numbers(&pulled));
                let last = pulled.iter().any(|delivery| delivery.job.tool.as_str() == "stop");
                ack(pulled).await;
                if last {
                    return done;
                }
            }
        });
    }
    let line = Line::of(fixture);
    for n in 0..JOBS {
        line.publish(vec![job(n)]).await;
    }
    let mut stops = 0;
    let mut done = Vec::new();
    // One at a time: a worker that pulled two of these would leave another one waiting.
    while stops < 8 {
        let stop = Job { tool: "stop".parse().expect("a tool"), ..job(JOBS + stops) };
        line.publish(vec![stop]).await;
        done.extend(workers.join_next().await.expect("a worker").expect("ends well"));
        stops += 1;
    }
    assert_eq!(done.len() as u64, JOBS + stops, "none of them twice");
    assert_eq!(done.into_iter().collect::<BTreeSet<_>>().len() as u64, JOBS + stops, "all of them");
}

async fn giving_up_on_a_pull_loses_nothing(fixture: &mut dyn Fixture) {
    const JOBS: usize = 100;
    let line = Line::of(fixture);
    // Sets up the consumer, which takes longer than the waits below on a busy machine and would begin anew each time.
    assert!(line.is_empty().await, "nothing was published yet");
    let publishing = async {
        for n in 0..JOBS as u64 {
            line.publish(vec![job(n)]).await;
            tokio::task::yield_now().await;
        }
    };
    let pulling = async {
        let mut done = BTreeSet::new();
        let mut waits = (0..).map(|turn| Duration::from_micros(turn * 37 % 1_500));
        while done.len() < JOBS {
            let wait = waits.next().unwrap_or_default();
            if let Ok(pulled) = timeout(wait, line.pull_from("files", 2, PATIENCE)).await {
                done.extend(numbers(&pulled));
                ack(pulled).await;
            }
        }
    };
    tokio::join!(publishing, pulling);
}

async fn servers_do_not_wait_for_each_other(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish((0..50).map(|n| job_for("slow", n)).collect()).await;
    line.publish(vec![job_for("quick", 50)]).await;
    let pulled = line.pull_from("quick", 10, PATIENCE).await;
    assert_eq!(numbers(&pulled), ["key-50"]);
    assert_eq!(numbers(&line.pull_from("slow", 1, PATIENCE).await), ["key-0"]);
}

async fn a_dropped_delivery_comes_again_and_is_counted(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish(vec![job(1)]).await;
    for delivered in 1..=3 {
        let delivery = line.pull().await;
        assert_eq!((delivery.job.clone(), delivery.delivered), (job(1), delivered));
    }
}

async fn a_job_that_comes_again_was_queued_when_it_was(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    let before = clock::now();
    line.publish(vec![job(1)]).await;
    let after = clock::now();
    let first = line.pull().await;
    assert_eq!(first.queued_at.is_some(), line.0.outlives_process());
    assert!(first.queued_at.is_none_or(|at| before <= at && at <= after), "{:?}", first.queued_at);
    let queued_at = first.queued_at;
    first.receipt.give_back(None).await.expect("gives back");
    let second = line.pull().await;
    assert_eq!((second.delivered, second.queued_at), (2, queued_at));
}

async fn a_job_given_back_comes_again_at_once(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish(vec![job(1)]).await;
    line.pull().await.receipt.give_back(None).await.expect("gives back");
    let again = line.pull().await;
    assert_eq!((again.job, again.delivered), (job(1), 2));
}

async fn a_job_given_back_with_a_delay_comes_no_sooner(fixture: &mut dyn Fixture) {
    const DELAY: Duration = Duration::from_millis(80);
    let line = Line::of(fixture);
    line.publish(vec![job(1), job(2)]).await;
    let started = Instant::now();
    line.pull().await.receipt.give_back(Some(DELAY)).await.expect("gives back");
    let next = line.pull().await;
    assert_eq!(next.job, job(2), "it need not wait for the first");
    let again = line.pull().await;
    assert_eq!((again.job, again.delivered), (job(1), 2));
    assert!(started.elapsed() >= DELAY);
}

async fn a_job_that_was_given_back_is_not_queued_twice(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish(vec![job(1)]).await;
    line.pull().await.receipt.give_back(Some(Duration::from_secs(3600))).await.expect("gives back");
    assert_eq!(line.publish(vec![job(1)]).await, [Queued::Already]);
}

async fn a_worker_can_show_progress(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish(vec![job(1)]).await;
    let delivery = line.pull().await;
    assert!(delivery.receipt.ack_wait() > Duration::ZERO);
    delivery.receipt.extend_ack_wait().await.expect("takes it");
    assert!(line.is_empty().await, "the job stays where it is");
    delivery.receipt.ack().await.expect("acks");
}

async fn a_recall_reaches_the_worker_that_has_the_job(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish(vec![job(1)]).await;
    let delivery = line.pull().await;
    line.0.recall(&job(1).id).await.expect("recalls");
    delivery.recalled.cancelled().await;
    assert_eq!(line.publish(vec![job(1)]).await, [Queued::Already], "it has still to be settled");
}

async fn a_recalled_job_is_delivered_all_the_same(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish(vec![job(1)]).await;
    line.0.recall(&job(1).id).await.expect("recalls");
    let delivery = line.pull().await;
    delivery.recalled.cancelled().await;
    drop(delivery);
    line.pull().await.recalled.cancelled().await;
}

async fn a_recall_concerns_one_job(fixture: &mut dyn Fixture) {
    let line = Line::of(fixture);
    line.publish(vec![job(1), job(2)]).await;
    line.0.recall(&job(1).id).await.expect("recalls");
    line.0.recall(&job(77).id).await.expect("an unknown one is passed over");
    let (first, second) = (line.pull().await, line.pull().await);
    first.recalled.cancelled().await;
    assert!(!second.recalled.is_cancelled());
}
