//! What was measured, as data: the same for the page and for `--json`.

use std::time::Duration;

use serde::Serialize;

use super::publish::Way;

/// Everything of one `longshore bench`.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    /// What it was measured on.
    pub(crate) setting: Setting,
    /// What the broker could do at best.
    pub(crate) floor: Floor,
    /// What Longshore did, for each tool.
    pub(crate) tools: Vec<OfTool>,
    /// What the processes took that were started for it.
    pub(crate) processes: Vec<OfProcess>,
    /// How long runs waited after a scheduler was killed.
    pub(crate) takeover: Option<Takeover>,
}

/// What it was measured on.
#[derive(Debug, Serialize)]
pub(crate) struct Setting {
    /// Processors that this process may use.
    pub(crate) cores: usize,
    /// What else the machine was doing: the load average over a minute when the measuring began.
    pub(crate) load_before: Option<f64>,
    /// The version of nats-server.
    pub(crate) nats: String,
    /// When it writes through, if we started it.
    pub(crate) sync: Option<&'static str>,
    /// Started schedulers.
    pub(crate) schedulers: Option<usize>,
    /// Started workers, and workers of the bare loop.
    pub(crate) workers: usize,
}

/// The bare loop.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Floor {
    /// Steps in a second, the best of all rounds.
    pub(crate) steps_per_second: f64,
    /// The best of those whose messages were published one by one, many on their way.
    pub(crate) pipelined: f64,
    /// The best of those whose messages were published in atomic batches.
    pub(crate) batched: f64,
}

/// What Longshore did with one tool.
#[derive(Debug, Serialize)]
pub(crate) struct OfTool {
    /// The tool, as `server/tool`.
    pub(crate) tool: String,
    /// Runs of one step.
    pub(crate) one_step: Rate,
    /// Runs of ten steps, each of which needs the one before.
    pub(crate) chains: Rate,
    /// One at a time.
    pub(crate) one_at_a_time: OneAtATime,
}

/// Many at once.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Rate {
    /// Runs.
    pub(crate) runs: u32,
    /// From the first submit to the last end.
    pub(crate) seconds: f64,
    /// Steps in a second.
    pub(crate) steps_per_second: f64,
    /// The same in units of the bare loop's.
    pub(crate) of_floor: f64,
}

/// One at a time, in turns.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OneAtATime {
    /// A step of the bare loop.
    pub(crate) step: Latency,
    /// A run submitted by a publish.
    pub(crate) published: Lone,
    /// A run submitted by a request.
    pub(crate) requested: Lone,
}

/// A run that has the cluster to itself.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Lone {
    /// From the submit to the news of the end.
    #[serde(flatten)]
    pub(crate) run: Latency,
    /// The median in units of the bare loop's.
    pub(crate) of_floor: f64,
}

/// How long single ones took.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    /// Half took no longer.
    pub(crate) p50_ms: f64,
    /// 99 of 100 took no longer.
    pub(crate) p99_ms: f64,
}

/// What a process took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OfProcess {
    /// What it is.
    pub(crate) process: String,
    /// Resident memory before the first run.
    pub(crate) idle_mib: f64,
    /// The most it had until the end.
    pub(crate) most_mib: f64,
    /// Processor time for each step of the first tool's runs of one step.
    pub(crate) cpu_us_per_step: f64,
}

/// After the kill of a leading scheduler.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Takeover {
    /// Runs submitted at once after it, spread over all partitions.
    pub(crate) runs: u32,
    /// Until the first of them had ended, which another scheduler led anyway.
    pub(crate) first_seconds: f64,
    /// Until the last of them had ended.
    pub(crate) last_seconds: f64,
}

impl Latency {
    /// The two figures of many samples.
    pub(crate) fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        let at = |hundredths: usize| {
            let index = (samples.len() * hundredths / 100).min(samples.len().saturating_sub(1));
            samples.get(index).map_or(f64::NAN, |sample| sample.as_secs_f64() * 1e3)
        };
        Self { p50_ms: at(50), p99_ms: at(99) }
    }
}

impl Floor {
    /// The way to publish that the broker is faster with.
    pub(super) fn faster(&self) -> Way {
        if self.batched > self.pipelined { Way::AsBatch } else { Way::Singly }
    }

    /// The better of two rounds, figure by figure: a busy machine only ever makes it worse.
    pub(crate) fn better(self, other: Self) -> Self {
        Self {
            steps_per_second: self.steps_per_second.max(other.steps_per_second),
            pipelined: self.pipelined.max(other.pipelined),
            batched: self.batched.max(other.batched),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_many_is_in_their_middle() {
        let samples = (1..=200).rev().map(Duration::from_millis).collect();
        let Latency { p50_ms, p99_ms } = Latency::of(samples);
        assert!((p50_ms - 101.0).abs() < 1e-9 && (p99_ms - 199.0).abs() < 1e-9, "{p50_ms} {p99_ms}");
        assert!(Latency::of(Vec::new()).p50_ms.is_nan());
    }
}
