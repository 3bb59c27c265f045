//! Latency of an idle cluster: a step of the bare loop, a run submitted by a publish, a run submitted by a request, in turns.
//!
//! In turns, because the speed of a machine changes from minute to minute, and the figures are compared with each other.

use std::time::Duration;

use tokio::time::sleep;

use crate::bare_loop::BareLoop;
use crate::error::BenchError;
use crate::figures::{IdleLatency, Latency, OneAtATime};
use crate::workload::Workload;

/// Turns before the first that counts.
const WARM_UP: u32 = 20;

/// The pause after each: threads of an idle process are asleep by then, in the bare loop as in a cluster.
const REST: Duration = Duration::from_millis(20);

/// Measures so many turns.
pub(crate) async fn measure(
    bare: &mut BareLoop,
    workload: &mut Workload,
    turns: u32,
) -> Result<OneAtATime, BenchError> {
    let mut bare = bare.one_at_a_time().await?;
    let (mut steps, mut published, mut requested) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns + WARM_UP {
        let step = bare.step().await?;
        sleep(REST).await;
        let of_publish = workload.one_published().await?;
        sleep(REST).await;
        let of_request = workload.one_requested().await?;
        sleep(REST).await;
        if turn >= WARM_UP {
            steps.push(step);
            published.push(of_publish);
            requested.push(of_request);
        }
    }
    let step = Latency::of(steps);
    let idle = |samples| {
        let run = Latency::of(samples);
        IdleLatency { run, of_floor: run.p50_ms / step.p50_ms }
    };
    Ok(OneAtATime { published: idle(published), requested: idle(requested), step })
}
