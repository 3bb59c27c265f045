//! Requests to the schedulers, as any NATS client sends them: JSON on `longshore.v1.api.<namespace>.<verb>`.

use std::time::Duration;

use async_nats::{Client, RequestErrorKind};
use longshore_proto::{Namespace, subject};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::error::{BenchError, BenchErrorKind};

/// The limit for an answer, the same as in the command line. An election of a JetStream leader takes about four seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The headers of an error response, as in the services protocol of NATS (ADR-32).
const ERROR_CODE: &str = "Nats-Service-Error-Code";
const ERROR_TEXT: &str = "Nats-Service-Error";

/// The schedulers of a cluster, for requests about one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) connection: Client,
    pub(crate) namespace: Namespace,
}

impl Api {
    /// Sends a request and decodes the answer. The error is [`BenchErrorKind::Unreachable`] if the same request may succeed
    /// later.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        verb: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, BenchError> {
        let failed = |kind, why: String| BenchError::new(kind, format!("could not ask for `{verb}`: {why}"));
        let body =
            serde_json::to_vec(body).map_err(|error| failed(BenchErrorKind::Other, error.to_string()))?;
        let asking = self.connection.request(subject::api(&self.namespace, verb), body.into());
        let answer = match timeout(ANSWER_LIMIT, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                let why = format!("no scheduler answers for namespace `{}`", self.namespace);
                return Err(failed(BenchErrorKind::Unreachable, why));
            }
            Ok(Err(error)) if error.kind() != RequestErrorKind::TimedOut => {
                return Err(failed(BenchErrorKind::Other, error.to_string()));
            }
            _ => {
                return Err(failed(
                    BenchErrorKind::Unreachable,
                    format!("no answer within {ANSWER_LIMIT:?}"),
                ));
            }
        };
        if let Some(headers) = &answer.headers
            && let Some(code) = headers.get(ERROR_CODE)
        {
            let kind =
                if code.as_str() == "503" { BenchErrorKind::Unreachable } else { BenchErrorKind::Other };
            let why = headers.get(ERROR_TEXT).map_or("refused", |text| text.as_str());
            return Err(failed(kind, why.to_owned()));
        }
        serde_json::from_slice(&answer.payload)
            .map_err(|error| failed(BenchErrorKind::Other, format!("its answer cannot be read: {error}")))
    }
}
