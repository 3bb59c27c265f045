//! Checks that the servers file gives the secrets that a workflow needs, before anything begins.

use longshore_proto::{Namespace, SecretName};
use longshore_worker::mcp::{SecretRecipient, ServersConfig};
use longshore_workflow::{CallStep, Plan};
use serde_json::{Map, Value};

use super::{ServersFile, StepProblem, calls};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::suggest;

impl ServersFile {
    /// Returns a failure if inputs name secrets that this file does not have, or does not give to a call that uses them.
    pub(crate) fn refuse_secrets(
        &self,
        plan: &Plan,
        inputs: &Map<String, Value>,
        namespace: &Namespace,
    ) -> Result<(), Failure> {
        let path = self.path.display();
        let known: Vec<&str> =
            self.config.iter().flat_map(ServersConfig::secrets).map(SecretName::as_str).collect();
        let (mut problems, mut helps) = (String::new(), Vec::new());
        for (input, name) in plan.named_secrets(inputs) {
            if !known.contains(&name.as_str()) {
                problems.push_str(&format!("\n  input `{input}`: there is no secret `{name}` in {path}"));
                helps.push(self.similar_secrets(&name));
                continue;
            }
            for (step, call) in calls(plan).filter(|(_, call)| call.with.standalone_inputs().contains(input))
            {
                let to = SecretRecipient { namespace, server: &call.server, tool: &call.tool };
                if !self.config.as_ref().is_some_and(|config| config.gives_secret(&name, &to)) {
                    problems.push_str(&format!(
                        "\n  step `{step}`: {path} does not give the secret `{name}` to {to}"
                    ));
                    helps.push(binding_help(&name));
                }
            }
        }
        let Some(help) = helps.into_iter().next() else { return Ok(()) };
        let message = format!("the workflow `{}` cannot run here:{problems}", plan.name);
        Err(Failure::new(Exit::Invalid, message).help(help))
    }

    /// Returns the reasons why a call cannot get a value for the secret inputs in its arguments, whatever inputs a run has:
    /// the default names no secret of this file that is bound to the call, or no secret is bound to it.
    pub(crate) fn unbound_secrets(&self, plan: &Plan, step: &str, call: &CallStep) -> Vec<StepProblem> {
        let Some(config) = &self.config else { return Vec::new() };
        let path = self.path.display();
        let target = format!("`{}/{}`", call.server, call.tool);
        let bound: Vec<&SecretName> = config.secrets_bound_to(&call.server, &call.tool).collect();
        let inputs = call.with.standalone_inputs();
        let secret_inputs =
            plan.inputs.iter().filter(|input| input.secret && inputs.contains(input.name.as_str()));
        let defaults = Map::new();
        let mut problems = Vec::new();
        for input in secret_inputs {
            let named =
                plan.named_secrets(&defaults).find(|(name, _)| *name == input.name).map(|(_, secret)| secret);
            let (message, help) = match named {
                None if bound.is_empty() => (
                    format!("the input `{}` names a secret, and {path} gives none to {target}", input.name),
                    format!("bind one to `{}` under `longshore.secrets` of the servers file", call.server),
                ),
                Some(secret) if !config.secrets().any(|known| *known == secret) => (
                    format!(
                        "there is no secret `{secret}` in {path}, which the input `{}` names",
                        input.name
                    ),
                    self.similar_secrets(&secret),
                ),
                Some(secret) if !bound.contains(&&secret) => (
                    format!(
                        "{path} does not give the secret `{secret}` of the input `{}` to {target}",
                        input.name
                    ),
                    binding_help(&secret),
                ),
                None | Some(_) => continue,
            };
            problems.push(StepProblem { step: step.to_owned(), message, help: Some(help) });
        }
        problems
    }

    fn similar_secrets(&self, name: &SecretName) -> String {
        let known: Vec<&str> =
            self.config.iter().flat_map(ServersConfig::secrets).map(SecretName::as_str).collect();
        let near = suggest::among(name.as_str(), &known);
        format!("{near}; add it under `longshore.secrets` of the servers file")
    }
}

fn binding_help(name: &SecretName) -> String {
    format!("bind it to that call under `longshore.secrets.{name}` of the servers file")
}

#[cfg(test)]
mod tests {
    use super::super::tests::servers;
    use super::*;

    #[test]
    fn missing_secret_is_reported_with_its_input_and_the_known_secrets() {
        let text = "
longshore: v1
name: demo
inputs: { card: { secret: true, required: true }, key: { secret: true, default: 'secret:API_KEY' } }
steps: [{ set: { a: 1 } }]
";
        let plan = longshore_workflow::compile(text).expect("compiles");
        let inputs = Map::from_iter([("card".to_owned(), Value::from("secret:CARD_TOKN"))]);
        let file = r#"{"mcpServers": {}, "longshore": {"secrets": {
            "CARD_TOKEN": {"value": "v4lue", "servers": ["pay"], "tools": ["pay/charge"]},
            "API_KEY": {"value": "v4lue", "servers": ["pay"], "namespaces": ["other"]}}}}"#;
        let namespace = &crate::embedded::namespace().expect("a namespace");
        let refused =
            servers(Some(file)).refuse_secrets(&plan, &inputs, namespace).expect_err("one is missing");
        assert_eq!(
            refused.message,
            "the workflow `demo` cannot run here:\n  input `card`: there is no secret `CARD_TOKN` in .mcp.json"
        );
        let help = refused.help.expect("there is help");
        assert!(
            help.contains("did you mean `CARD_TOKEN`?") && help.contains("`longshore.secrets`"),
            "{help}"
        );
        assert!(
            servers(Some(file)).refuse_secrets(&plan, &Map::new(), namespace).is_ok(),
            "the default names a secret of the file"
        );
        assert!(
            servers(None).refuse_secrets(&plan, &Map::new(), namespace).is_err(),
            "without a file there are no secrets"
        );
    }

    #[test]
    fn secret_that_is_not_bound_to_a_call_is_refused_before_the_run() {
        let workflow = |tool: &str| {
            let text = format!(
                "
longshore: v1
name: demo
inputs: {{ card: {{ secret: true, default: 'secret:CARD' }} }}
steps: [{{ id: a, call: {tool}, with: {{ text: 'Bearer ${{{{ inputs.card }}}}' }} }}]
"
            );
            longshore_workflow::compile(&text).expect("compiles")
        };
        let namespace = &crate::embedded::namespace().expect("a namespace");
        let refusal = |tool: &str, namespaces: &str| {
            let file = format!(
                r#"{{"mcpServers": {{}}, "longshore": {{"secrets": {{"CARD": {{"value": "v4lue", "servers": ["pay"],
                "tools": ["pay/charge"], "namespaces": ["{namespaces}"]}}}}}}}}"#
            );
            let refused = servers(Some(&file)).refuse_secrets(&workflow(tool), &Map::new(), namespace);
            refused.err().map(|failure| failure.message)
        };
        assert_eq!(refusal("pay/charge", "default"), None);
        for (tool, namespaces) in
            [("pay/refund", "default"), ("crm/charge", "default"), ("pay/charge", "other")]
        {
            let said = refusal(tool, namespaces).expect("refused");
            let expected = format!(
                "step `a`: .mcp.json does not give the secret `CARD` to `{tool}` in namespace `default`"
            );
            assert!(said.contains(&expected), "{said}");
        }
    }

    #[test]
    fn call_that_cannot_get_its_secret_is_found_without_inputs() {
        let workflow = |default: &str| {
            let text = format!(
                "
longshore: v1
name: demo
inputs: {{ card: {{ secret: true{default} }} }}
steps: [{{ id: a, call: pay/charge, with: {{ text: '${{{{ inputs.card }}}}' }} }}]
"
            );
            longshore_workflow::compile(&text).expect("compiles")
        };
        let found = |default: &str, tool: &str| {
            let file = format!(
                r#"{{"mcpServers": {{}}, "longshore": {{"secrets": {{"CARD": {{"value": "v4lue", "servers": ["pay"],
                "tools": ["pay/{tool}"], "namespaces": ["other"]}}}}}}}}"#
            );
            let plan = workflow(default);
            let (step, call) = calls(&plan).next().expect("a call");
            let problems = servers(Some(&file)).unbound_secrets(&plan, step, call);
            problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        assert_eq!(
            (found("", "charge"), found(", default: 'secret:CARD'", "charge")),
            (Vec::new(), Vec::new())
        );
        assert_eq!(
            found("", "refund"),
            ["the input `card` names a secret, and .mcp.json gives none to `pay/charge`"]
        );
        assert_eq!(
            found(", default: 'secret:CARD'", "refund"),
            [".mcp.json does not give the secret `CARD` of the input `card` to `pay/charge`"]
        );
        assert_eq!(
            found(", default: 'secret:OTHER'", "charge"),
            ["there is no secret `OTHER` in .mcp.json, which the input `card` names"]
        );
    }
}
