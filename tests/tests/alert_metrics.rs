//! The metrics of the alerts are exported before anything has happened, and count what they say.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use async_nats::jetstream;
use futures::TryStreamExt;
use longshore_tests::asked::Asked;
use longshore_tests::cluster::Cluster;
use longshore_tests::wait::until;

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_were_lost_are_counted_once_they_are_made_again() {
    const RESTORED: &str = "longshore_streams_restored_total";
    let mut cluster = Cluster::start(1, 0, 0).await;
    let scheduler = Asked::start(&cluster, "scheduler");
    scheduler.is_ready("the scheduler is ready").await;
    // Whichever scheduler looks first makes them again.
    cluster.end_member(0).await.expecting(0);
    until("nothing was lost yet", || scheduler.metric(RESTORED) == Some(0.0)).await;
    let context = jetstream::new(async_nats::connect(cluster.nats.url()).await.unwrap());
    let streams: Vec<String> = context.stream_names().try_collect().await.unwrap();
    for stream in &streams {
        context.delete_stream(stream).await.unwrap();
    }
    // A scheduler may look while they are being deleted, and then find some of them gone twice.
    let count = u32::try_from(streams.len()).unwrap();
    until("they are counted", || scheduler.metric(RESTORED) >= Some(f64::from(count))).await;
}
