//! A bound on the series that names given by clients can make.
//!
//! Workflows, steps, servers and tools are named by whoever submits a run, and each new combination of names is a series
//! that lives as long as the process. So each metric keeps the first [`MOST_COMBINATIONS`] combinations, and everything
//! after that is counted with `other` in place of the names. This is the only place that decides it: it lies between all
//! code that counts and the recorder.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};

/// Labels whose values are names that clients chose. All other labels have few values, which are written in the code.
const NAMES: [&str; 4] = ["workflow", "step", "server", "tool"];

/// Combinations of names that a metric tells apart: with a handful of outcomes each, some thousand series, which is what
/// a collector takes from one process without trouble.
const MOST_COMBINATIONS: usize = 1_000;

/// The longest name that is a label, in bytes: names of workflows and servers are shorter.
const LONGEST_NAME: usize = 200;

/// What stands in place of names beyond the bound.
const OTHER: &str = "other";

/// Separates the names of a combination. No name holds it.
const SEPARATOR: char = '\u{1f}';

/// A recorder that gets a bounded number of series.
pub(super) struct Capped<R> {
    recorder: R,
    /// The combinations that each metric keeps.
    kept: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl<R> Capped<R> {
    /// Bounds what `recorder` gets.
    pub(super) fn new(recorder: R) -> Self {
        Self { recorder, kept: Mutex::default() }
    }

    /// Returns the key under which is counted.
    fn bounded<'a>(&self, key: &'a Key) -> Cow<'a, Key> {
        let names: Vec<&str> = key.labels().filter(|label| is_name(label)).map(Label::value).collect();
        if names.is_empty() || self.keeps(key.name(), &names) {
            return Cow::Borrowed(key);
        }
        let bounded = |label: &Label| {
            let value = if is_name(label) { OTHER.to_owned() } else { label.value().to_owned() };
            Label::new(label.key().to_owned(), value)
        };
        let labels: Vec<Label> = key.labels().map(bounded).collect();
        Cow::Owned(Key::from_parts(key.name().to_owned(), labels))
    }

    /// Whether a metric tells this combination apart from others, now and from now on.
    fn keeps(&self, metric: &str, names: &[&str]) -> bool {
        if names.iter().any(|name| name.len() > LONGEST_NAME) {
            return false;
        }
        let combination = names.join(SEPARATOR.encode_utf8(&mut [0; 4]));
        // No code that holds the lock can panic half-way.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(combinations) = kept.get_mut(metric) {
            return combinations.contains(&combination)
                || (combinations.len() < MOST_COMBINATIONS && combinations.insert(combination));
        }
        kept.insert(metric.to_owned(), BTreeSet::from([combination]));
        true
    }
}

fn is_name(label: &Label) -> bool {
    NAMES.contains(&label.key())
}

impl<R: Recorder> Recorder for Capped<R> {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.recorder.register_counter(&self.bounded(key), metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.recorder.register_gauge(&self.bounded(key), metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.recorder.register_histogram(&self.bounded(key), metadata)
    }
}

#[cfg(test)]
mod tests {
    use metrics::{counter, with_local_recorder};
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn rendered(count: impl Fn()) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        with_local_recorder(&Capped::new(recorder), count);
        handle.render()
    }

    #[test]
    fn names_beyond_the_bound_are_counted_together() {
        let text = rendered(|| {
            for round in 0..2 {
                for number in 0..MOST_COMBINATIONS + 500 {
                    let workflow = format!("w{number}");
                    counter!("runs_total", "workflow" => workflow, "status" => "failed").increment(1);
                }
                counter!("runs_total", "workflow" => format!("x{round}"), "status" => "succeeded")
                    .increment(1);
            }
        });
        let series = text.lines().filter(|line| line.starts_with("runs_total{")).count();
        assert_eq!(series, MOST_COMBINATIONS + 2);
        for line in [
            r#"runs_total{workflow="w0",status="failed"} 2"#,
            r#"runs_total{workflow="w999",status="failed"} 2"#,
            r#"runs_total{workflow="other",status="failed"} 1000"#,
            r#"runs_total{workflow="other",status="succeeded"} 2"#,
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}");
        }
    }

    #[test]
    fn each_metric_has_a_bound_of_its_own_and_long_names_are_no_labels() {
        let text = rendered(|| {
            for number in 0..MOST_COMBINATIONS {
                counter!("steps_total", "workflow" => "w", "step" => format!("s{number}")).increment(1);
            }
            counter!("calls_total", "server" => "crm", "tool" => "get").increment(1);
            counter!("calls_total", "server" => "crm", "tool" => "x".repeat(LONGEST_NAME + 1)).increment(1);
            counter!("built_total", "version" => "1").increment(1);
        });
        for line in [
            r#"calls_total{server="crm",tool="get"} 1"#,
            r#"calls_total{server="other",tool="other"} 1"#,
            r#"built_total{version="1"} 1"#,
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}: {text}");
        }
    }
}
