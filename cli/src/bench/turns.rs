//! One at a time: a step of the bare loop, a run submitted by a publish, a run submitted by a request, and again.
//!
//! In turns, because the speed of a machine changes from minute to minute: what is compared has met the same minutes.

use std::time::Duration;

use tokio::time::sleep;

use super::figures::{Latency, Lone, OneAtATime};
use super::floor::BareLoop;
use super::load::Load;
use crate::failure::Failure;

/// Turns before the first that counts.
const WARM_UP: u32 = 20;

/// How long everything is left alone after each: what is idle has gone to sleep by then, in the bare loop as in a cluster.
const REST: Duration = Duration::from_millis(20);

/// Measures so many turns.
pub(super) async fn measure(
    bare: &mut BareLoop,
    load: &mut Load<'_>,
    turns: u32,
) -> Result<OneAtATime, Failure> {
    let mut bare = bare.one_at_a_time().await?;
    let (mut steps, mut published, mut requested) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns + WARM_UP {
        let step = bare.step().await?;
        sleep(REST).await;
        let of_publish = load.one_published().await?;
        sleep(REST).await;
        let of_request = load.one_requested().await?;
        sleep(REST).await;
        if turn >= WARM_UP {
            steps.push(step);
            published.push(of_publish);
            requested.push(of_request);
        }
    }
    let step = Latency::of(steps);
    let lone = |samples| {
        let run = Latency::of(samples);
        Lone { run, of_floor: run.p50_ms / step.p50_ms }
    };
    Ok(OneAtATime { published: lone(published), requested: lone(requested), step })
}
