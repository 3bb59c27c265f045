//! The figures as data, for the table of the command and for `--json`.

use std::time::Duration;

use serde::Serialize;

use crate::publish::PublishMode;

/// All figures of one `longshore bench`.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// The machine and the cluster.
    pub setting: Setting,
    /// The throughput of the bare loop.
    pub floor: Floor,
    /// The figures of each tool.
    pub tools: Vec<ToolFigures>,
    /// Memory and processor time of the processes that were started.
    pub processes: Vec<ProcessFigures>,
    /// The delay of runs after a scheduler was killed.
    pub takeover: Option<Takeover>,
}

/// The machine and the cluster.
#[derive(Debug, Serialize)]
pub struct Setting {
    /// Processors that this process may use.
    pub cores: usize,
    /// The load average over a minute before the measurement: other work of the machine.
    pub load_before: Option<f64>,
    /// The version of nats-server.
    pub nats: String,
    /// The `sync_interval` of a NATS that was started for the measurement: `default` or `always`.
    pub sync: Option<&'static str>,
    /// Started schedulers.
    pub schedulers: Option<usize>,
    /// Started workers, and workers of the bare loop.
    pub workers: usize,
}

/// The bare loop.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Floor {
    /// Steps in a second, the best of all rounds.
    pub steps_per_second: f64,
    /// The best of those whose messages were published one by one, many at a time.
    pub pipelined: f64,
    /// The best of those whose messages were published in atomic batches.
    pub batched: f64,
}

/// The figures of one tool.
#[derive(Debug, Serialize)]
pub struct ToolFigures {
    /// The tool, as `server/tool`.
    pub tool: String,
    /// Runs of one step.
    pub one_step: Throughput,
    /// Runs of one step that may not be repeated, so each call is granted by the log.
    pub once: Throughput,
    /// Runs of ten steps, each of which needs the one before.
    pub chains: Throughput,
    /// Latencies one at a time.
    pub one_at_a_time: OneAtATime,
}

/// The throughput of many runs at once.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Throughput {
    /// Runs.
    pub runs: u32,
    /// From the first submit to the last end.
    pub seconds: f64,
    /// Steps in a second.
    pub steps_per_second: f64,
    /// The same in units of the bare loop's.
    pub of_floor: f64,
}

/// Latencies of steps and runs that were measured one at a time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OneAtATime {
    /// A step of the bare loop.
    pub step: Latency,
    /// A run submitted by a publish.
    pub published: IdleLatency,
    /// A run submitted by a request.
    pub requested: IdleLatency,
}

/// The latency of a run while the cluster does nothing else.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct IdleLatency {
    /// From the submit to the update that says that the run has ended.
    #[serde(flatten)]
    pub run: Latency,
    /// The median in units of the bare loop's.
    pub of_floor: f64,
}

/// Durations of single steps or runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile, in milliseconds.
    pub p99_ms: f64,
}

/// Memory and processor time of a process.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessFigures {
    /// Its name: `scheduler 1`.
    pub process: String,
    /// Resident memory before the first run.
    pub idle_mib: f64,
    /// The most it had until the end.
    pub most_mib: f64,
    /// Processor time for each step of the first tool's runs of one step.
    pub cpu_us_per_step: f64,
}

/// After the kill of a leading scheduler.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Takeover {
    /// Runs submitted at once after it, spread over all partitions.
    pub runs: u32,
    /// Until the first of them had ended, which another scheduler led anyway.
    pub first_seconds: f64,
    /// Until the last of them had ended.
    pub last_seconds: f64,
}

impl Latency {
    /// Returns the two figures of many samples.
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
    /// Returns the publish mode in which the broker is faster.
    pub(crate) fn faster(&self) -> PublishMode {
        if self.batched > self.pipelined { PublishMode::AtomicBatch } else { PublishMode::OneByOne }
    }

    /// Returns the better figures of two rounds, because other load on the machine can only make a figure worse.
    pub(crate) fn better(self, other: Self) -> Self {
        Self {
            steps_per_second: self.steps_per_second.max(other.steps_per_second),
            pipelined: self.pipelined.max(other.pipelined),
            batched: self.batched.max(other.batched),
        }
    }
}

impl ToolFigures {
    /// Adds the throughput in units of the bare loop's.
    pub(crate) fn compare(&mut self, floor: &Floor) {
        for rate in [&mut self.one_step, &mut self.once, &mut self.chains] {
            rate.of_floor = rate.steps_per_second / floor.steps_per_second;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_samples() {
        let samples = (1..=200).rev().map(Duration::from_millis).collect();
        let Latency { p50_ms, p99_ms } = Latency::of(samples);
        assert!((p50_ms - 101.0).abs() < 1e-9 && (p99_ms - 199.0).abs() < 1e-9, "{p50_ms} {p99_ms}");
        assert!(Latency::of(Vec::new()).p50_ms.is_nan());
    }
}
