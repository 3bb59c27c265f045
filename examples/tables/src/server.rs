//! The tools: what they are called, what they take and give, and what may be assumed about them.
//!
//! Each tool is a few lines that hand over to the module that knows. Every call, whichever tool it is for, passes
//! [`Tables::call_tool`], which keeps the journal. A refusal becomes a tool error, whose text the caller can act on.

use std::sync::Arc;
use std::time::Duration;

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, IntoContents, JsonObject,
};
use rmcp::schemars::{self, JsonSchema};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, Json, RoleServer, ServerHandler, tool, tool_handler, tool_router};
use serde::{Deserialize, Serialize};

use crate::check::{self, Validation};
use crate::folder::{Folder, Listed};
use crate::journal::{Entry, Journal};
use crate::report::{Report, Reports, Written};
use crate::summary::{self, Summary};
use crate::table::Table;

/// Where Longshore puts the key that is equal for all attempts of a step.
const IDEMPOTENCY_KEY: &str = "dev.longshore/idempotency-key";

/// The server; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    parts: Arc<Parts>,
    router: ToolRouter<Self>,
}

#[derive(Debug)]
struct Parts {
    folder: Folder,
    reports: Option<Reports>,
    journal: Option<Journal>,
    delay: Duration,
}

/// A file of the folder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileRequest {
    /// The file's name, as list_files returns it.
    file: String,
}

/// A file of the folder, and how to add it up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SummariseRequest {
    /// The file's name, as list_files returns it.
    file: String,
    /// A column whose values make groups, each added up on its own.
    #[serde(default)]
    group_by: Option<String>,
    /// The columns to add up; all columns of numbers, if not given.
    #[serde(default)]
    columns: Option<Vec<String>>,
}

/// What to combine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CombineRequest {
    /// Results of summarise_csv.
    summaries: Vec<Summary>,
}

/// What to write down.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoteRequest {
    /// The text of the line.
    text: String,
}

/// The files of the folder.
#[derive(Debug, JsonSchema, Serialize)]
struct FileList {
    /// In order of their names.
    files: Vec<Listed>,
}

/// That something was written down.
#[derive(Debug, JsonSchema, Serialize)]
struct Noted {
    /// The text of the line.
    text: String,
}

/// What a refused call answers: the text of the refusal.
#[derive(Debug)]
struct ToolError(String);

impl<E: std::error::Error> From<E> for ToolError {
    fn from(refusal: E) -> Self {
        Self(refusal.to_string())
    }
}

impl IntoContents for ToolError {
    fn into_contents(self) -> Vec<ContentBlock> {
        vec![ContentBlock::text(self.0)]
    }
}

#[tool_router]
impl Tables {
    /// Puts the parts together.
    pub(crate) fn new(
        folder: Folder,
        reports: Option<Reports>,
        journal: Option<Journal>,
        delay: Duration,
    ) -> Self {
        let parts = Arc::new(Parts { folder, reports, journal, delay });
        Self { parts, router: Self::tool_router() }
    }

    #[tool(
        description = "Lists the CSV files of the folder with their sizes.",
        annotations(title = "List files", read_only_hint = true, open_world_hint = false)
    )]
    async fn list_files(&self) -> Result<Json<FileList>, ToolError> {
        self.blocking(|parts| Ok(FileList { files: parts.folder.list()? })).await
    }

    #[tool(
        description = "Checks a CSV file: counts its rows, names its columns, and reports rows of the wrong length, \
                       columns without a name or with the name of another, and values that should be numbers.",
        annotations(title = "Check a CSV file", read_only_hint = true, open_world_hint = false)
    )]
    async fn validate_csv(
        &self,
        Parameters(request): Parameters<FileRequest>,
    ) -> Result<Json<Validation>, ToolError> {
        self.blocking(|parts| {
            let table = parts.read(&request.file)?;
            Ok(check::validate(request.file, &table))
        })
        .await
    }

    #[tool(
        description = "Adds up the numeric columns of a CSV file (count, sum, min, max, mean), over all rows and, \
                       with group_by, for each value of one column.",
        annotations(title = "Add up a CSV file", read_only_hint = true, open_world_hint = false)
    )]
    async fn summarise_csv(
        &self,
        Parameters(request): Parameters<SummariseRequest>,
    ) -> Result<Json<Summary>, ToolError> {
        self.blocking(move |parts| {
            let table = parts.read(&request.file)?;
            Ok(summary::summarise(request.file, &table, request.group_by, request.columns.as_deref())?)
        })
        .await
    }

    #[tool(
        description = "Combines the results of summarise_csv for several files into one of the same form.",
        annotations(title = "Combine summaries", read_only_hint = true, open_world_hint = false)
    )]
    async fn combine_summaries(
        &self,
        Parameters(request): Parameters<CombineRequest>,
    ) -> Result<Json<Summary>, ToolError> {
        Ok(Json(summary::combine(request.summaries)?))
    }

    #[tool(
        description = "Writes a Markdown report of totals, files, groups and problems, and returns its path. A \
                       report of the same name is replaced.",
        annotations(
            title = "Write a report",
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn write_report(&self, Parameters(report): Parameters<Report>) -> Result<Json<Written>, ToolError> {
        self.blocking(move |parts| {
            let reports = parts.reports.as_ref().ok_or_else(|| ToolError::not_started_with("--out DIR"))?;
            Ok(reports.write(&report)?)
        })
        .await
    }

    #[tool(
        description = "Returns its arguments.",
        annotations(title = "Echo", read_only_hint = true, open_world_hint = false)
    )]
    async fn echo(&self, Parameters(arguments): Parameters<JsonObject>) -> Json<JsonObject> {
        Json(arguments)
    }

    #[tool(
        description = "Appends a line to the journal. Every call appends another one.",
        annotations(
            title = "Note",
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn note(&self, Parameters(request): Parameters<NoteRequest>) -> Result<Json<Noted>, ToolError> {
        let journal = self.parts.journal.as_ref();
        let journal = journal.ok_or_else(|| ToolError::not_started_with("--journal FILE"))?;
        journal.append(&Entry::Note { text: &request.text })?;
        Ok(Json(Noted { text: request.text }))
    }

    /// Files are read and written off the runtime's threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Parts) -> Result<T, ToolError> + Send + 'static,
    ) -> Result<Json<T>, ToolError> {
        let parts = Arc::clone(&self.parts);
        tokio::task::spawn_blocking(move || work(&parts)).await?.map(Json)
    }
}

impl Parts {
    fn read(&self, file: &str) -> Result<Table, ToolError> {
        Ok(Table::read(file, self.folder.open_file(file)?)?)
    }
}

impl ToolError {
    fn not_started_with(option: &str) -> Self {
        Self(format!("this server was started without {option}: start it with that option to use this tool"))
    }
}

#[tool_handler(
    router = self.router,
    name = "tables",
    instructions = "Tools for a folder of CSV files: check them, add them up, combine the sums, write a report."
)]
impl ServerHandler for Tables {
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let key = context.meta.get(IDEMPOTENCY_KEY).and_then(|key| key.as_str()).map(str::to_owned);
        let tool = request.name.clone();
        let call = self.begin(&tool, request.arguments.as_ref(), key.as_deref())?;
        let response = self.answer(request, context).await;
        let ok = matches!(&response, Ok(CallToolResponse::Complete(result)) if result.is_error != Some(true));
        self.end(call, &tool, key.as_deref(), ok)?;
        response
    }
}

impl Tables {
    async fn answer(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // Only the wait can be cancelled: what has begun is finished, so that the journal tells no lies.
        tokio::select! {
            () = tokio::time::sleep(self.parts.delay) => {}
            () = context.ct.cancelled() => return Ok(CallToolResult::error(vec![ContentBlock::text("cancelled")]).into()),
        }
        self.router.call(ToolCallContext::new(self, request, context)).await
    }

    fn begin(&self, tool: &str, arguments: Option<&JsonObject>, key: Option<&str>) -> Result<u64, ErrorData> {
        let Some(journal) = &self.parts.journal else { return Ok(0) };
        let (call, none) = (journal.next_call(), JsonObject::new());
        let arguments = arguments.unwrap_or(&none);
        journal.append(&Entry::Begin { call, tool, arguments, idempotency_key: key }).map_err(internal)?;
        Ok(call)
    }

    fn end(&self, call: u64, tool: &str, key: Option<&str>, ok: bool) -> Result<(), ErrorData> {
        let Some(journal) = &self.parts.journal else { return Ok(()) };
        journal.append(&Entry::End { call, tool, idempotency_key: key, ok }).map_err(internal)
    }
}

fn internal(refusal: impl std::error::Error) -> ErrorData {
    ErrorData::internal_error(refusal.to_string(), None)
}
