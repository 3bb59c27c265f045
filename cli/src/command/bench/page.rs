//! The figures of `longshore bench` as a table for a terminal.

use longshore_bench::{Figures, Floor, Latency, OneAtATime, ProcessFigures, Setting, Throughput};

use crate::output::{FAINT, PLAIN, STRONG, StyledLine, aligned};

/// Returns all lines of the table.
pub(super) fn page(figures: &Figures) -> Vec<StyledLine> {
    let mut lines = vec![setting(&figures.setting), StyledLine::default()];
    lines.extend(aligned(rows(figures)));
    if figures.setting.sync.is_some() && figures.tools.len() == 1 {
        lines.push(StyledLine::of(FAINT, "stdio/echo was not measured: name a server with --echo"));
    }
    if !figures.processes.is_empty() {
        lines.push(StyledLine::default());
        lines.extend(aligned(processes(&figures.processes)));
    }
    if let Some(takeover) = figures.takeover {
        let text = format!(
            "a scheduler killed: of {} runs submitted at once, the first ended after {:.2} s and the last after {:.2} s",
            takeover.runs, takeover.first_seconds, takeover.last_seconds,
        );
        lines.extend([StyledLine::default(), StyledLine::of(PLAIN, &text)]);
    }
    lines
}

fn setting(setting: &Setting) -> StyledLine {
    let Setting { cores, nats, workers, .. } = setting;
    let schedulers = setting.schedulers.map(|count| format!(", schedulers: {count}")).unwrap_or_default();
    let sync = setting.sync.map(|sync| format!(", sync {sync}")).unwrap_or_default();
    let load = setting.load_before.map(|load| format!(", load before {load:.2}")).unwrap_or_default();
    let text = format!("cores: {cores}{load}, nats-server {nats}{sync}{schedulers}, workers: {workers}");
    StyledLine::of(FAINT, &text)
}

fn rows(figures: &Figures) -> Vec<Vec<StyledLine>> {
    let Floor { steps_per_second, pipelined, batched } = figures.floor;
    let titles = ["", "STEPS/S", "P50 MS", "P99 MS", "OF FLOOR", ""];
    let mut rows = vec![titles.map(|title| StyledLine::of(FAINT, title)).to_vec()];
    let ways = format!("one by one {pipelined:.0}, in atomic batches {batched:.0}");
    rows.push(row("bare loop, many at once", Some(steps_per_second), None, Some(1.0), &ways));
    for tool in &figures.tools {
        rows.push(vec![StyledLine::of(STRONG, &tool.tool)]);
        rows.push(rate("  runs of one step", &tool.one_step));
        rows.push(rate("  of one step that may not be repeated", &tool.once));
        rows.push(rate("  chains of ten", &tool.chains));
        let OneAtATime { step, published, requested } = tool.one_at_a_time;
        rows.push(lone("  one at a time, bare loop", step, 1.0));
        rows.push(lone("  one at a time, published", published.run, published.of_floor));
        rows.push(lone("  one at a time, requested", requested.run, requested.of_floor));
    }
    rows
}

fn rate(name: &str, rate: &Throughput) -> Vec<StyledLine> {
    let note = format!("{} runs in {:.1} s", rate.runs, rate.seconds);
    row(name, Some(rate.steps_per_second), None, Some(rate.of_floor), &note)
}

fn lone(name: &str, latency: Latency, of_floor: f64) -> Vec<StyledLine> {
    row(name, None, Some(latency), Some(of_floor), "")
}

fn row(
    name: &str,
    per_second: Option<f64>,
    latency: Option<Latency>,
    of_floor: Option<f64>,
    note: &str,
) -> Vec<StyledLine> {
    let cell = |text: Option<String>| StyledLine::of(PLAIN, &text.unwrap_or_default());
    vec![
        StyledLine::of(PLAIN, name),
        cell(per_second.map(|figure| format!("{figure:.0}"))),
        cell(latency.map(|latency| format!("{:.2}", latency.p50_ms))),
        cell(latency.map(|latency| format!("{:.2}", latency.p99_ms))),
        cell(of_floor.map(|figure| format!("{figure:.2}"))),
        StyledLine::of(FAINT, note),
    ]
}

fn processes(processes: &[ProcessFigures]) -> Vec<Vec<StyledLine>> {
    let titles = ["PROCESS", "MIB IDLE", "MIB AT MOST", "CPU US/STEP"];
    let mut rows = vec![titles.map(|title| StyledLine::of(FAINT, title)).to_vec()];
    rows.extend(processes.iter().map(|process| {
        let figures = [process.idle_mib, process.most_mib, process.cpu_us_per_step];
        let cells = figures.map(|figure| StyledLine::of(PLAIN, &format!("{figure:.0}")));
        std::iter::once(StyledLine::of(PLAIN, &process.process)).chain(cells).collect()
    }));
    rows
}
