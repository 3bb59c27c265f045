//! Loss of single entries of a log, as a nats-server shows it after a full disk.
//!
//! The stream of a log denies the deletion of messages. So it is made again without that, with the same messages but the lost
//! ones, and denies it afterwards.

#![expect(clippy::expect_used, reason = "a stream that cannot be changed has failed the test")]

use async_nats::jetstream;
use async_nats::jetstream::stream::Config;
use longshore_proto::{Partition, Seq, subject};

/// Makes NATS lose these entries of a log. Its incarnation is another one afterwards.
///
/// # Panics
/// When NATS refuses a request.
pub async fn lose_entries(client: async_nats::Client, partition: Partition, lost: &[Seq]) {
    let context = jetstream::new(client);
    let name = subject::log_stream(partition);
    let mut stream = context.get_stream(&name).await.expect("the log");
    let info = stream.info().await.expect("answers").clone();
    let mut messages = Vec::new();
    for seq in 1..=info.state.last_sequence {
        messages.push(stream.get_raw_message(seq).await.expect("a message"));
    }
    context.delete_stream(&name).await.expect("is deleted");
    let open = Config { deny_delete: false, ..info.config.clone() };
    let stream = context.create_stream(open).await.expect("is created");
    for message in messages {
        let sent = context.publish(message.subject, message.payload).await.expect("sends");
        sent.await.expect("is stored");
    }
    for seq in lost {
        assert!(stream.delete_message(seq.0).await.expect("is deleted"), "{seq}");
    }
    context.update_stream(info.config).await.expect("is changed");
}
