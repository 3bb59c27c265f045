//! The trace context of a run. Every call of the run carries it in `_meta`.

use longshore_proto::TraceContext;

use crate::environment;

/// Returns the caller's trace context (`TRACEPARENT`, `TRACESTATE`), or a new one.
///
/// The form is W3C Trace Context, version 00: trace id, parent id, and the flag that says it is sampled.
pub(crate) fn context() -> TraceContext {
    match environment::trace() {
        Some((traceparent, tracestate)) => TraceContext { traceparent, tracestate },
        None => random(),
    }
}

fn random() -> TraceContext {
    // Neither id may be all zeros.
    let (trace, parent) = (rand::random::<u128>().max(1), rand::random::<u64>().max(1));
    TraceContext { traceparent: format!("00-{trace:032x}-{parent:016x}-01"), tracestate: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_trace_has_the_form_of_the_standard() {
        let parts: Vec<_> = random().traceparent.split('-').map(str::len).collect();
        assert_eq!(parts, [2, 32, 16, 2]);
        assert_ne!(random(), random());
    }
}
