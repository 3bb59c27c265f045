//! The tools: names, descriptions, arguments, results, and hints such as "read only".
//!
//! Each tool is a few lines that call the module with its logic. Every call passes [`Tables::call_tool`], which keeps the
//! journal. A refusal becomes a tool error, whose text says what the caller can do.

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
use crate::folder::{CsvFile, Folder};
use crate::journal::{Journal, JournalEntry};
use crate::report::{Report, Reports, WrittenReport};
use crate::summary::{self, Summary};
use crate::table::Table;

/// The field of `_meta` in which Longshore sends the key that is equal for all attempts of a step.
const IDEMPOTENCY_KEY: &str = "dev.longshore/idempotency-key";

/// The server. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    state: Arc<ServerState>,
    router: ToolRouter<Self>,
}

/// The folders, the journal and the settings of the server.
#[derive(Debug)]
struct ServerState {
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

/// A file of the folder, and the columns to add up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SummariseRequest {
    /// The file's name, as list_files returns it.
    file: String,
    /// A column whose values form groups, each added up separately.
    #[serde(default)]
    group_by: Option<String>,
    /// The columns to add up; all columns of numbers, if not given.
    #[serde(default)]
    columns: Option<Vec<String>>,
}

/// The summaries to combine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CombineRequest {
    /// Results of summarise_csv.
    summaries: Vec<Summary>,
}

/// The text to append to the journal.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoteRequest {
    /// The text of the line.
    text: String,
}

/// The files of the folder.
#[derive(Debug, JsonSchema, Serialize)]
struct FileList {
    /// The files in the order of their names.
    files: Vec<CsvFile>,
}

/// The receipt for a line of the journal.
#[derive(Debug, JsonSchema, Serialize)]
struct NoteReceipt {
    /// The text of the line.
    text: String,
}

/// The text with which a refused call is answered.
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
    /// Creates the server.
    pub(crate) fn new(
        folder: Folder,
        reports: Option<Reports>,
        journal: Option<Journal>,
        delay: Duration,
    ) -> Self {
        let state = Arc::new(ServerState { folder, reports, journal, delay });
        Self { state, router: Self::tool_router() }
    }

    #[tool(
        description = "Lists the CSV files of the folder with their sizes.",
        annotations(title = "List files", read_only_hint = true, open_world_hint = false)
    )]
    async fn list_files(&self) -> Result<Json<FileList>, ToolError> {
        self.blocking(|state| Ok(FileList { files: state.folder.list()? })).await
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
        self.blocking(|state| {
            let table = state.read(&request.file)?;
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
        self.blocking(move |state| {
            let table = state.read(&request.file)?;
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
    async fn write_report(
        &self,
        Parameters(report): Parameters<Report>,
    ) -> Result<Json<WrittenReport>, ToolError> {
        self.blocking(move |state| {
            let reports = state.reports.as_ref().ok_or_else(|| ToolError::not_started_with("--out DIR"))?;
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
    async fn note(
        &self,
        Parameters(request): Parameters<NoteRequest>,
    ) -> Result<Json<NoteReceipt>, ToolError> {
        let journal = self.state.journal.as_ref();
        let journal = journal.ok_or_else(|| ToolError::not_started_with("--journal FILE"))?;
        journal.append(&JournalEntry::Note { text: &request.text })?;
        Ok(Json(NoteReceipt { text: request.text }))
    }

    /// Reads or writes files on a thread for blocking work.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ServerState) -> Result<T, ToolError> + Send + 'static,
    ) -> Result<Json<T>, ToolError> {
        let state = Arc::clone(&self.state);
        tokio::task::spawn_blocking(move || work(&state)).await?.map(Json)
    }
}

impl ServerState {
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
        // Only the delay can be cancelled. A tool that has started is finished, so that the journal is correct.
        tokio::select! {
            () = tokio::time::sleep(self.state.delay) => {}
            () = context.ct.cancelled() => return Ok(CallToolResult::error(vec![ContentBlock::text("cancelled")]).into()),
        }
        self.router.call(ToolCallContext::new(self, request, context)).await
    }

    fn begin(&self, tool: &str, arguments: Option<&JsonObject>, key: Option<&str>) -> Result<u64, ErrorData> {
        let Some(journal) = &self.state.journal else { return Ok(0) };
        let (call, none) = (journal.next_call(), JsonObject::new());
        let arguments = arguments.unwrap_or(&none);
        journal
            .append(&JournalEntry::Begin { call, tool, arguments, idempotency_key: key })
            .map_err(internal)?;
        Ok(call)
    }

    fn end(&self, call: u64, tool: &str, key: Option<&str>, ok: bool) -> Result<(), ErrorData> {
        let Some(journal) = &self.state.journal else { return Ok(()) };
        journal.append(&JournalEntry::End { call, tool, idempotency_key: key, ok }).map_err(internal)
    }
}

fn internal(refusal: impl std::error::Error) -> ErrorData {
    ErrorData::internal_error(refusal.to_string(), None)
}
