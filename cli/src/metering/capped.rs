//! A recorder that bounds the number of series by names that clients choose.
//!
//! Submitters name workflows, steps, servers and tools, and each new combination of names is a series for the lifetime of
//! the process. So each metric keeps the first [`MAX_COMBINATIONS`] combinations, and everything after that is counted under
//! `other`. This is the only place with this bound: it is between all code that counts and the recorder.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};

/// Labels whose values are names that clients chose. All other labels have few values, which are defined in the code.
const NAMES: [&str; 4] = ["workflow", "step", "server", "tool"];

/// Number of combinations of names for each metric. With a handful of outcomes each, they are some thousand series, which a
/// collector reads from one process without trouble.
const MAX_COMBINATIONS: usize = 1_000;

/// Length of the longest name in a label, in bytes. Names of workflows and servers are shorter.
const MAX_NAME_BYTES: usize = 200;

/// The value of labels beyond the bounds.
const OTHER: &str = "other";

/// Separator of the names in a combination. No name contains it.
const SEPARATOR: char = '\u{1f}';

/// A recorder with a bounded number of series.
pub(super) struct CappedRecorder<R> {
    recorder: R,
    /// The combinations that each metric keeps.
    kept: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl<R> CappedRecorder<R> {
    /// Bounds the series of `recorder`.
    pub(super) fn new(recorder: R) -> Self {
        Self { recorder, kept: Mutex::default() }
    }

    /// Returns the key under which a metric is counted.
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

    /// Returns true if a metric has its own series for a combination, now and from now on.
    fn keeps(&self, metric: &str, names: &[&str]) -> bool {
        if names.iter().any(|name| name.len() > MAX_NAME_BYTES) {
            return false;
        }
        let combination = names.join(SEPARATOR.encode_utf8(&mut [0; 4]));
        // The lock is never poisoned with a half-made change.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(combinations) = kept.get_mut(metric) {
            return combinations.contains(&combination)
                || (combinations.len() < MAX_COMBINATIONS && combinations.insert(combination));
        }
        kept.insert(metric.to_owned(), BTreeSet::from([combination]));
        true
    }
}

fn is_name(label: &Label) -> bool {
    NAMES.contains(&label.key())
}

impl<R: Recorder> Recorder for CappedRecorder<R> {
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
        with_local_recorder(&CappedRecorder::new(recorder), count);
        handle.render()
    }

    #[test]
    fn names_beyond_the_bound_are_counted_together() {
        let text = rendered(|| {
            for round in 0..2 {
                for number in 0..MAX_COMBINATIONS + 500 {
                    let workflow = format!("w{number}");
                    counter!("runs_total", "workflow" => workflow, "status" => "failed").increment(1);
                }
                counter!("runs_total", "workflow" => format!("x{round}"), "status" => "succeeded")
                    .increment(1);
            }
        });
        let series = text.lines().filter(|line| line.starts_with("runs_total{")).count();
        assert_eq!(series, MAX_COMBINATIONS + 2);
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
    fn each_metric_has_its_own_bound_and_long_names_are_counted_as_other() {
        let text = rendered(|| {
            for number in 0..MAX_COMBINATIONS {
                counter!("steps_total", "workflow" => "w", "step" => format!("s{number}")).increment(1);
            }
            counter!("calls_total", "server" => "crm", "tool" => "get").increment(1);
            counter!("calls_total", "server" => "crm", "tool" => "x".repeat(MAX_NAME_BYTES + 1)).increment(1);
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
