//! The codes of diagnostics, each with an explanation.
//!
//! `LS00` is about the text, `LS01` about keys, values and references, `LS02` about expressions, `LS03` about parts of the
//! language that are not built yet, `LS04` about servers and their tools, `LS05` about parts that are allowed and probably not
//! intended. A code never changes its meaning, and the code of a removed diagnostic is not used again.

use std::fmt;

use serde::Serialize;

/// Declares the codes: variant, text, explanation.
macro_rules! codes {
    ($($variant:ident $code:literal $explanation:literal)*) => {
        /// The kind of problem of a diagnostic.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub(crate) enum Code { $($variant),* }

        impl Code {
            /// All codes, in order.
            const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the code as text.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// Returns true if the explanation contains more than the message and its help.
            pub(crate) fn has_explanation(self) -> bool {
                !BRIEF.contains(&self)
            }

            /// Returns true if a text with this problem compiles.
            pub(crate) fn is_warning(self) -> bool {
                self.as_str().starts_with("LS05")
            }

            const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $explanation),* }
            }
        }
    };
}

/// Codes whose explanation contains no more than the message and its help.
const BRIEF: [Code; 44] = [
    Code::TooDeep,
    Code::DuplicateKey,
    Code::SeveralDocuments,
    Code::NotAMap,
    Code::Tag,
    Code::NoJsonNumber,
    Code::UnquotedColon,
    Code::UnquotedBraces,
    Code::UnknownKey,
    Code::MissingKey,
    Code::WrongType,
    Code::NotAllowed,
    Code::LaterStep,
    Code::OwnStep,
    Code::DuplicateId,
    Code::NoKind,
    Code::SeveralKinds,
    Code::OutOfRange,
    Code::UnknownInput,
    Code::DefaultType,
    Code::NoSteps,
    Code::Version,
    Code::ExpressionTooLong,
    Code::ExpressionTooDeep,
    Code::UnknownFunction,
    Code::Unclosed,
    Code::MixedCondition,
    Code::UnknownStatus,
    Code::WorkflowStep,
    Code::ForEach,
    Code::Repeat,
    Code::Switch,
    Code::Approve,
    Code::Wait,
    Code::Emit,
    Code::FailStep,
    Code::Fallback,
    Code::Compensate,
    Code::Cache,
    Code::Triggers,
    Code::Concurrency,
    Code::OnFailure,
    Code::Finally,
    Code::FunctionNotBuilt,
];

codes! {
    TooLarge "LS0001" "A workflow may be 1 MiB of text, because it has to fit into one message. Large data does not belong in a workflow: pass it as an input, or let a tool fetch it."
    Syntax "LS0002" "The text is not well-formed YAML 1.2 or JSON. The position is where the parser stopped, so the mistake is there or shortly before: a missing quote, an indentation that does not match, a bracket that is never closed. Text that holds `: ` or ` #`, or that begins with one of `{ [ & * ! | > @ %`, needs quotes."
    TooDeep "LS0003" "Lists and maps may be nested up to 64 levels deep. Deeper data is better passed as an input, or computed by a tool."
    Alias "LS0004" "YAML anchors (`&name`), aliases (`*name`) and merge keys (`<<`) are not part of the format: a few of them can unfold into gigabytes, and a reader has to jump around. Write the value where it is used, or compute it once in a `set` step and refer to that."
    DuplicateKey "LS0005" "A key occurs twice in one map. YAML parsers disagree about which one counts, so both are refused."
    SeveralDocuments "LS0006" "A file holds one workflow. A line `---` begins a second document; put it into a file of its own."
    NotAMap "LS0007" "A workflow is a map whose first key is `longshore: v1`. This text is empty, or a list, or a single value."
    Tag "LS0008" "A value that begins with `!` carries a YAML tag, and the format has no tags. Usually it was meant as the `!` of an expression: write `if: ${{ !cancelled() }}`, or put quotes round the text."
    KeyNotText "LS0009" "The keys of a map are text. YAML would also allow lists and maps as keys; JSON, which the values become, does not."
    NoJsonNumber "LS0010" "Infinity, not-a-number, and numbers beyond the range of a 64-bit float have no form in JSON, which is what every value becomes. In inputs, a whole number of more than 64 bits is refused as well: JSON would hold it as a float, and its last digits would be others."
    UnquotedColon "LS0011" "An unquoted YAML value ends at `: `, so the `: ` of an expression such as `${{ inputs.a ? 'b' : 'c' }}` breaks it. Put quotes round the whole value: `\"${{ inputs.a ? 'b' : 'c' }}\"`."
    UnquotedBraces "LS0012" "Inside `{ ... }` or `[ ... ]`, YAML reads the braces of `${{ }}` as a map of its own. Write the map over several lines (block style), or put quotes round the value: `{ id: \"${{ inputs.x }}\" }`. `{{ x }}` without the `$` is no expression anywhere."

    Unexplained "LS0100" "The text was refused and no reason was recorded. This is a mistake in Longshore; please report it together with the file."
    UnknownKey "LS0101" "The format has no such key at this place. Keys are written in lower case with dashes. At the top level, keys that begin with `x-` are free for other tools."
    MissingKey "LS0102" "A key is missing without which the text says too little: `longshore`, `name` and `steps` at the top level."
    WrongType "LS0103" "The value is of another type than the key wants, for instance a list where a text is expected."
    NotAllowed "LS0104" "The key does not allow this value. The help lists the allowed ones."
    BadName "LS0105" "Names have rules. A workflow's name is 1 to 63 of a-z, 0-9 and `-`. Ids of steps, and names of inputs and outputs, are identifiers of up to 63 characters (letters, digits, `_`, not beginning with a digit), because expressions refer to them: in `steps.my-step.output` the dash would be a subtraction. None is `in`, `true`, `false` or `null`, and ids are no word that expressions reserve."
    BadDuration "LS0106" "A duration is one or more numbers, each with a unit of `ms`, `s`, `m`, `h` or `d`: `30s`, `1h30m`. A `timeout` is longer than zero, and no duration is longer than 365 days."
    UnknownStep "LS0107" "An expression refers to a step that does not exist. Steps are known by their `id`; a step without one cannot be referred to."
    LaterStep "LS0108" "An expression refers to a step that begins only later, so there is no value yet. Move the step that reads below the one it reads from, or name that one in `needs`."
    OwnStep "LS0109" "A step refers to itself, or a step inside a group refers to the group: neither has ended when the value is needed."
    NotAnAncestor "LS0110" "An expression refers to a step that need not have ended when the value is needed, for instance a member of the same `parallel` group. A step sees those that it waits for, directly or through others. Name the step in `needs`."
    Cycle "LS0111" "Steps wait for each other in a circle, so none of them could ever begin. A step without `needs` waits for the one above it; that edge is part of the circle as well."
    DuplicateId "LS0112" "Two steps have the same id. Ids are unique in the whole file, also across groups, so that a step can be named on the command line."
    NoKind "LS0113" "A step does exactly one thing, named by one of the keys `call`, `set` or `parallel`. This one says none."
    SeveralKinds "LS0114" "A step does exactly one thing. This one names several; make them steps of their own."
    KeyOfOtherKind "LS0115" "The key exists, but for another kind of step. `with`, `retry`, `on-tool-error` and `idempotency-key` belong to `call`; `timeout` to `call` and `parallel`."
    BadCall "LS0116" "`call` names a server and a tool as `server/tool`, split at the first slash. The server is a name in the worker's configuration (letters, digits, `-`, `_`), never a command or a URL."
    TooManySteps "LS0117" "A workflow may have 1,000 steps, those inside groups counted: a run keeps the state of each in memory and writes it down many times."
    OutOfRange "LS0118" "The number is outside what the key allows, or contradicts another key."
    UnknownInput "LS0119" "An expression reads an input that the file does not declare under `inputs`."
    UnknownField "LS0120" "Of a step, expressions see `output`, `content`, `status`, `error` and `attempts`. The result of the tool is in `output`: `steps.fetch.output.title`."
    BadNeed "LS0121" "`needs` names steps of the same list: at the top level those of the top level, inside a group those of the same group. To wait for a step inside a group, wait for the group."
    DefaultType "LS0122" "The default of an input is not of the type that the input declares."
    NoSteps "LS0123" "A list of steps, of the file or of a group, needs at least one step."
    Version "LS0124" "The first key of a workflow is `longshore: v1`. Another version needs another release of Longshore."
    NoExpressionHere "LS0125" "Expressions work in `if`, in the values of `with`, `set` and `outputs`, and in `idempotency-key`. Everything else is fixed when the file is checked, so that a plan does not change while it runs."
    BadItems "LS0126" "`items` says what the items of a list must be, as in `{ type: array, items: { type: string } }`. It belongs to `type: array`, has the keys `type`, `items` and `description`, and describes at most 8 lists in each other."
    SecretInput "LS0127" "The value of a secret input is always the name of a secret that the workers have, as in `secret:CARD_TOKEN`: a text. So it is of type `string`, and its default, if it has one, is of that form. The value of a secret is part of the configuration of the workers and never of a workflow."
    SecretUse "LS0128" "A secret input is the name of a secret until the moment of a call. The worker puts the value in place of `${{ inputs.card_token }}` where that is an expression by itself in `with` of a call, alone or within text, as in `Bearer ${{ inputs.card_token }}`. In a larger expression, in `if`, `set`, `outputs` or `idempotency-key`, there would only be the name."
    Label "LS0129" "`labels` are for filters of lists of runs. There may be 16; a name is 1 to 63 letters, digits, `-`, `_`, `.` and `/`, and a value is text of up to 128 characters without control characters."

    ExpressionSyntax "LS0201" "The text between `${{` and `}}` is not a CEL expression. Strings are written in single or double quotes; equality is `==`, and `&&`, `||`, `!` combine conditions."
    ExpressionTooLong "LS0202" "An expression may be 4 KiB of text. Compute parts of it in a `set` step before."
    ExpressionTooDeep "LS0203" "An expression is nested too deeply, or chains too many operators. Compute parts of it in a `set` step before."
    TooManyLoops "LS0204" "Loops in an expression (`map`, `filter`, `all`, `exists`, `exists_one`) may be nested two levels deep, because each level multiplies the work."
    UnknownName "LS0205" "Expressions see `inputs`, `steps`, `run`, and the variables of their own loops. Text needs quotes: `'main'`, not `main`."
    UnknownFunction "LS0206" "Expressions have the functions of standard CEL and a few of Longshore's own; this is not one of them, or it takes another number of arguments."
    DynamicStep "LS0207" "Which steps an expression reads must be known when the file is checked, so a step is always written by its id: `steps.fetch`."
    Unclosed "LS0208" "An expression begins with `${{` and never ends. Close it with `}}`. A literal `${{` is written as `${{ '${{' }}`."
    MixedCondition "LS0209" "A condition is one expression. Either leave the braces out, or put them round the whole: `if: ${{ inputs.a && inputs.b }}`."
    BadDefault "LS0210" "`default(path, value)` takes a path such as `steps.fetch.output.title` and gives `value` where the path leads nowhere."
    UnknownRunField "LS0211" "Of the run, expressions see `run.id`, `run.workflow`, `run.attempt` and `run.error`."
    TooManyExpressions "LS0212" "A workflow may have 10,000 expressions, and 256 KiB of them together: each is parsed when the file is checked, and checking must stay quick even for a file that was written to be slow."
    UnknownStatus "LS0213" "The status of a step is compared with a word that it never is, so the comparison always has the same result. A step that has ended is `succeeded`, `failed`, `indeterminate`, `skipped` or `cancelled`."
    OptionalInText "LS0214" "An optional value such as `inputs.?limit` as a whole value leaves its key or item out where it is absent. Within a text there is nothing to leave out: say what to put there instead, as in `up to ${{ inputs.?limit.orValue(10) }}`. A condition is true or false, and so it cannot be absent either."
    NotACondition "LS0215" "`&&`, `||` and `!` combine conditions, which are true or false, and give a condition. To choose between two values write `condition ? 'yes' : 'no'`; for a value that may be missing write `default(path, 'text')`."
    ConditionType "LS0216" "A condition is true or false, and this one is a value of another type in each run, which would fail the step. A text, a number, a list or a map is not true because it is there or not empty: compare it, as in `inputs.count > 0`, `inputs.text != ''`, `size(inputs.list) > 0` or `steps.fetch.status == 'succeeded'`."

    WorkflowStep "LS0301" "Child workflows (`workflow:`) are part of the language, and this version does not have them yet."
    ForEach "LS0302" "Loops over items (`for-each:`) are part of the language, and this version does not have them yet."
    Repeat "LS0303" "Loops until a condition holds (`repeat:`) are part of the language, and this version does not have them yet."
    Switch "LS0304" "Branches (`switch:`) are part of the language, and this version does not have them yet. Steps with `if` do the same for a few cases."
    Approve "LS0305" "Approvals (`approve:`) are part of the language, and this version does not have them yet."
    Wait "LS0306" "Waiting for a time or an event (`wait:`) is part of the language, and this version does not have it yet."
    Emit "LS0307" "Sending events (`emit:`) is part of the language, and this version does not have it yet."
    FailStep "LS0308" "Ending a run on purpose (`fail:`) is part of the language, and this version does not have it yet."
    Fallback "LS0309" "Fallbacks are part of the language, and this version does not have them yet. `continue-on-error` and a later step with `if: steps.x.status == 'failed'` come close."
    Compensate "LS0310" "Compensations are part of the language, and this version does not have them yet."
    Cache "LS0311" "Caching the result of a step is part of the language, and this version does not have it yet."
    Triggers "LS0312" "Triggers are part of the language, and this version does not have them yet. Start runs with `longshore run`."
    Concurrency "LS0313" "Concurrency groups are part of the language, and this version does not have them yet."
    OnFailure "LS0314" "`on-failure` is part of the language, and this version does not have it yet. A last step with `if: failure()` comes close."
    Finally "LS0315" "`finally` is part of the language, and this version does not have it yet. A last step with `if: always()` comes close."
    // LS0316 was used for secret inputs, before they were built.
    NameNotBuilt "LS0317" "The name is part of the language, and this version does not have it yet: `vars`, `secrets`, `item`, `index`, `round`, `batch` and `run.url`."
    FunctionNotBuilt "LS0318" "`timestamp()` and `duration()` are part of standard CEL, and this version does not have them yet."
    InputRule "LS0319" "Inputs can be given a `type`, and lists the type of their `items`. Further rules of JSON Schema, such as `enum` or `minimum`, are part of the language, and this version does not check them yet."

    UnknownServer "LS0401" "The servers file has no server of this name. The name before the `/` of a `call` is a key of `mcpServers`; servers are never named by a command or a URL in a workflow."
    UnusableServer "LS0402" "The servers file has this server, and it cannot be used here: a variable that it needs is not set, it is disabled, or it did not answer when it was asked for its tools. `longshore servers list` says more."
    UnknownTool "LS0403" "The server has no tool of this name. `longshore servers tools` lists what it has."
    UnknownArgument "LS0404" "The tool takes no argument of this name: the schema of its input does not name it, and allows no others (`additionalProperties: false`)."
    MissingArgument "LS0405" "The schema of the tool's input requires an argument that `with` does not have, so every call would be refused."
    ArgumentType "LS0406" "The value is of another type than the schema of the tool's input wants. Values that come from expressions are known only when the step runs, and are not looked at here."
    UnboundSecret "LS0407" "A secret input goes into the arguments of this call, and the servers file gives the call no such secret: the one that the input's `default` names is not there or bound to other calls, or no secret at all is bound to this server and tool. Bind it under `longshore.secrets` of the servers file. Which namespaces may use it is checked when a run starts."

    ChangedNumber "LS0501" "A warning. This value without quotes is read as a number, and the number is not written as the value is: `02142` becomes 2142, `1.10` becomes 1.1, `1234e8` becomes 123400000000.0, and of a number with more than some 17 digits the last ones are lost. Codes, versions and ids are text, so put quotes round them. If the number is meant, write it as it is shown, and the warning is gone."
    LiteralExpression "LS0502" "A warning. The text looks like an expression of another language or like one without its braces, and it is passed on as it is. An expression is written `${{ inputs.url }}`. If the text is meant as it is, write it as a literal within an expression, as in `${{ '{{ name }}' }}`, and the warning is gone."
    UnnamedArgument "LS0503" "A warning. The schema of the tool's input names arguments, this is not one of them, and the schema does not forbid others. Most tools ignore such an argument, so a name that is written wrongly goes unnoticed. If the tool takes it all the same, the warning can be ignored."
    AbsentInput "LS0504" "A warning. The input is neither required nor has it a default, so it may be absent, and then this expression fails, because a name that is missing is an error. `${{ inputs.?limit }}` by itself leaves its key out where the input is absent; `default(inputs.limit, 10)` puts a value in its place; `has(inputs.limit)` asks whether it is there."
    OperandTypes "LS0505" "A warning. The types of both sides are known from the text, and the operator does not take them together, so it fails whenever it is evaluated. Arithmetic does not mix whole numbers and others: `double(inputs.n) * 1.5`. Text is put together with text: `'Sum ' + string(inputs.n)`."
    ConstantComparison "LS0506" "A warning. The two sides are of different types, so they are never equal, whatever the values are. Text is compared with text (`inputs.zip == '02142'`), and a number with a number. An input that is not given is absent and not null: ask `has(inputs.limit)`."
    UnlistedTool "LS0507" "A warning of `validate --online`. The server does not list the tool now, and declares that its list of tools changes while it runs (`listChanged`). Some servers add tools after another call, such as one that enables a set of them; then the workflow is right. If no call adds the tool, the step will fail."
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Returns the explanation of a code, in any case of letters. `None` for an unknown code.
pub fn explain(code: &str) -> Option<&'static str> {
    Code::ALL.iter().find(|known| known.as_str().eq_ignore_ascii_case(code)).map(|known| known.explanation())
}

/// Returns all codes, in order.
pub fn codes() -> impl Iterator<Item = &'static str> {
    Code::ALL.iter().map(|code| code.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_ordered_and_explained() {
        let all: Vec<_> = codes().collect();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
        for code in all {
            let explanation = explain(&code.to_lowercase()).expect("every code is explained");
            assert!(explanation.len() > 40 && explanation.ends_with('.'), "{code}");
        }
        assert_eq!(explain("LS9999"), None);
    }
}
