//! Plans of the histories: some are fixed, and random ones have nested groups, dependencies, conditions, retries and tolerated
//! failures.

use std::fmt::Write;
use std::sync::Arc;

use longshore_workflow::{Plan, compile};

const PLANS: [&str; 3] = [
    "longshore: v1
name: chain
timeout: 10m
steps:
  - { id: a, call: s/t, retry: 3 }
  - { id: b, call: s/t, if: steps.a.output.n > 2 }
  - { id: c, set: { n: '${{ default(steps.b.output.n, 0) }}' } }
  - { id: d, call: s/t, if: always() }
outputs: { n: '${{ steps.c.output.n }}' }
",
    "longshore: v1
name: groups
steps:
  - id: g
    timeout: 1m
    parallel:
      - { id: a, call: s/t }
      - { id: b, call: s/t, needs: [a], continue-on-error: true }
      - parallel: [{ id: c, call: s/t, retry: 5 }, { id: d, call: s/t }]
  - { id: e, call: s/t, if: failure() }
  - { id: f, call: s/t }
",
    "longshore: v1
name: graph
steps:
  - { id: a, call: s/t, timeout: 5s }
  - { id: b, call: s/t, needs: [] }
  - { id: c, call: s/t, needs: [a, b], with: { n: '${{ steps.a.output.n + steps.b.output.n }}' } }
  - { id: d, call: s/t, needs: [b], retry: 2 }
",
];

/// Number of random plans beside the fixed ones.
const RANDOM: u64 = 3;

pub(super) fn all(seed: u64) -> Vec<Arc<Plan>> {
    let compiled = |text: &&str| Arc::new(compile(text).unwrap_or_else(|problems| panic!("{problems}")));
    let random = (0..RANDOM).map(|number| random(seed.wrapping_add(number)));
    PLANS.iter().map(compiled).chain(random).collect()
}

/// Number of plans.
pub(super) const COUNT: usize = PLANS.len() + RANDOM as usize;

/// Deepest nesting of groups.
const DEPTH: usize = 3;

/// A generator of numbers; the same seed gives the same plan.
struct Numbers(u64);

impl Numbers {
    /// Returns a number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        // The constants of Knuth's MMIX. The upper bits are the random ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// The text of a plan that is written.
struct PlanText {
    numbers: Numbers,
    text: String,
    steps: usize,
}

/// Returns the plan of a seed.
fn random(seed: u64) -> Arc<Plan> {
    let text = format!("longshore: v1\nname: random-{seed}\ntimeout: 30m\nsteps:\n");
    let mut plan = PlanText { numbers: Numbers(seed), text, steps: 0 };
    plan.list(1, 2, &[]);
    Arc::new(compile(&plan.text).unwrap_or_else(|problems| panic!("{problems}\n{}", plan.text)))
}

impl PlanText {
    /// Writes a list of steps. `ended` are the steps that have ended when it begins.
    fn list(&mut self, depth: usize, indent: usize, ended: &[usize]) {
        let mut siblings: Vec<usize> = Vec::new();
        for _ in 0..=self.numbers.below(3) {
            let step = self.steps;
            self.steps += 1;
            let is_group = depth < DEPTH && self.numbers.below(4) == 0;
            // Steps of the top wait for the one above, and members of a group for none, unless `needs` says otherwise.
            let needs: Option<Vec<usize>> = (self.numbers.below(3) == 0)
                .then(|| siblings.iter().copied().filter(|_| self.numbers.below(2) == 0).collect());
            let mut seen = ended.to_vec();
            match &needs {
                Some(needs) => seen.extend(needs),
                None if depth == 1 => seen.extend(siblings.last()),
                None => {}
            }
            self.step(step, (depth, indent), is_group, needs.as_deref(), &seen);
            siblings.push(step);
        }
    }

    fn step(
        &mut self,
        step: usize,
        (depth, indent): (usize, usize),
        is_group: bool,
        needs: Option<&[usize]>,
        seen: &[usize],
    ) {
        let pad = " ".repeat(indent);
        let _ = writeln!(self.text, "{pad}- id: s{step}");
        if let Some(needs) = needs {
            let names: Vec<String> = needs.iter().map(|need| format!("s{need}")).collect();
            let _ = writeln!(self.text, "{pad}  needs: [{}]", names.join(", "));
        }
        let read = seen.last().map(|step| format!("default(steps.s{step}.output.n, 1)"));
        match (self.numbers.below(6), &read) {
            (0, _) => self.text += &format!("{pad}  if: always()\n"),
            (1, _) => self.text += &format!("{pad}  if: failure()\n"),
            (2, Some(_)) => {
                let last = seen.last().copied().unwrap_or_default();
                self.text += &format!("{pad}  if: steps.s{last}.status == 'succeeded'\n");
            }
            _ => {}
        }
        if self.numbers.below(4) == 0 {
            self.text += &format!("{pad}  continue-on-error: true\n");
        }
        if is_group {
            if self.numbers.below(3) == 0 {
                self.text += &format!("{pad}  timeout: 2m\n");
            }
            self.text += &format!("{pad}  parallel:\n");
            return self.list(depth + 1, indent + 4, seen);
        }
        let value = read
            .filter(|_| self.numbers.below(2) == 0)
            .map_or_else(|| "1".to_owned(), |read| format!("${{{{ {read} }}}}"));
        if self.numbers.below(4) == 0 {
            self.text += &format!("{pad}  set: {{ n: \"{value}\" }}\n");
            return;
        }
        self.text += &format!("{pad}  call: s/t\n{pad}  with: {{ n: \"{value}\" }}\n");
        if self.numbers.below(2) == 0 {
            self.text += &format!("{pad}  retry: 3\n");
        }
    }
}
