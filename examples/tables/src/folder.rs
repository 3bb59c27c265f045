//! The only folder that the tools may read.
//!
//! A tool gets file names from its caller, which is not trusted. [`Folder::open_file`] opens a file by its name, and refuses
//! names that lead out of the folder: absolute paths, `..`, and symbolic links to files outside.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use rmcp::schemars::{self, JsonSchema};
use serde::Serialize;
use thiserror::Error;

/// The limit for a file, which is read into memory completely: 64 MiB are about a million rows.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The limit for a list of files: a longer list is of no use to a user or to a model, and does not fit into a message.
const MAX_LISTED: usize = 10_000;

/// A folder, by its real path.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

/// A CSV file of the folder.
#[derive(Debug, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct CsvFile {
    /// The name that the other tools take.
    pub(crate) name: String,
    /// The size in bytes.
    pub(crate) bytes: u64,
}

/// The reason why a folder or a file cannot be read.
#[derive(Debug, Error)]
pub(crate) enum FolderRefusal {
    #[error("the folder {} cannot be read: {source}", path.display())]
    Root { path: PathBuf, source: io::Error },
    #[error(
        "{0:?} is not a path below the folder: give a name as list_files returns it, without `..` or a leading `/`"
    )]
    Outside(String),
    #[error("there is no file {0:?} in the folder; list_files returns the files")]
    Missing(String),
    #[error("{0:?} is not a regular file")]
    NotAFile(String),
    #[error("{name:?} has {bytes} bytes, and at most {MAX_FILE_BYTES} are read: split the file")]
    TooLarge { name: String, bytes: u64 },
    #[error("{name:?} cannot be read: {source}")]
    Read { name: String, source: io::Error },
    #[error("the folder holds more than {MAX_LISTED} CSV files: serve a smaller folder")]
    TooMany,
}

impl Folder {
    /// Opens the folder at a path. No file outside of its real path is ever opened.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderRefusal> {
        let refuse = |source| FolderRefusal::Root { path: path.to_owned(), source };
        let root = path.canonicalize().map_err(refuse)?;
        fs::read_dir(&root).map_err(refuse)?;
        Ok(Self { root })
    }

    /// Returns the CSV files in the folder itself, in the order of their names.
    pub(crate) fn list(&self) -> Result<Vec<CsvFile>, FolderRefusal> {
        let refuse = |source| FolderRefusal::Root { path: self.root.clone(), source };
        let mut listed = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            let metadata = entry.metadata().map_err(refuse)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !metadata.is_file() || !name.to_ascii_lowercase().ends_with(".csv") {
                continue;
            }
            if listed.len() == MAX_LISTED {
                return Err(FolderRefusal::TooMany);
            }
            listed.push(CsvFile { name, bytes: metadata.len() });
        }
        listed.sort();
        Ok(listed)
    }

    /// Opens a file below the folder.
    pub(crate) fn open_file(&self, name: &str) -> Result<File, FolderRefusal> {
        let path = self.resolve(name)?;
        let refuse = |source| FolderRefusal::Read { name: name.to_owned(), source };
        let metadata = fs::metadata(&path).map_err(refuse)?;
        if !metadata.is_file() {
            return Err(FolderRefusal::NotAFile(name.to_owned()));
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(FolderRefusal::TooLarge { name: name.to_owned(), bytes: metadata.len() });
        }
        File::open(path).map_err(refuse)
    }

    /// Returns the real path of a file. The first check refuses absolute paths and `..`; the second check, after links were
    /// followed, refuses links to files outside.
    fn resolve(&self, name: &str) -> Result<PathBuf, FolderRefusal> {
        let outside = || FolderRefusal::Outside(name.to_owned());
        let relative = Path::new(name);
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || name.is_empty() || name.contains('\0') {
            return Err(outside());
        }
        let real = self.root.join(relative).canonicalize().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => FolderRefusal::Missing(name.to_owned()),
            _ => FolderRefusal::Read { name: name.to_owned(), source },
        })?;
        if real.starts_with(&self.root) { Ok(real) } else { Err(outside()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Makes a folder `data` with files, and a file beside it that must not be read.
    fn scratch() -> (tempfile::TempDir, Folder) {
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("data");
        fs::create_dir_all(data.join("old")).unwrap();
        fs::write(data.join("north.csv"), "a\n1\n").unwrap();
        fs::write(data.join("old/north.csv"), "a\n2\n").unwrap();
        fs::write(data.join("notes.txt"), "no table").unwrap();
        fs::write(scratch.path().join("secret.csv"), "a\n3\n").unwrap();
        let folder = Folder::open(&data).unwrap();
        (scratch, folder)
    }

    #[test]
    fn files_below_the_folder_open() {
        let (_scratch, folder) = scratch();
        for (name, content) in [("north.csv", "a\n1\n"), ("old/north.csv", "a\n2\n")] {
            let mut text = String::new();
            folder.open_file(name).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, content);
        }
    }

    #[test]
    fn names_that_lead_out_of_the_folder_are_refused() {
        let (scratch, folder) = scratch();
        let absolute = scratch.path().join("secret.csv");
        let inside = folder.root.join("north.csv");
        for name in [
            "../secret.csv",
            "old/../../secret.csv",
            "./../secret.csv",
            "..",
            "",
            "north\0.csv",
            absolute.to_str().unwrap(),
            inside.to_str().unwrap(),
        ] {
            let refusal = folder.open_file(name).unwrap_err();
            assert!(matches!(refusal, FolderRefusal::Outside(_)), "{name:?}: {refusal}");
        }
    }

    #[test]
    fn links_that_lead_out_of_the_folder_are_refused() {
        let (scratch, folder) = scratch();
        symlink(scratch.path().join("secret.csv"), folder.root.join("link.csv")).unwrap();
        symlink(scratch.path(), folder.root.join("up")).unwrap();
        symlink("north.csv", folder.root.join("same.csv")).unwrap();
        for name in ["link.csv", "up/secret.csv"] {
            assert!(matches!(folder.open_file(name), Err(FolderRefusal::Outside(_))), "{name}");
        }
        assert!(folder.open_file("same.csv").is_ok(), "a link within the folder is fine");
    }

    #[test]
    fn folders_and_missing_files_are_refused_by_name() {
        let (_scratch, folder) = scratch();
        assert!(matches!(folder.open_file("old"), Err(FolderRefusal::NotAFile(name)) if name == "old"));
        assert!(
            matches!(folder.open_file("east.csv"), Err(FolderRefusal::Missing(name)) if name == "east.csv")
        );
        assert!(matches!(Folder::open(Path::new("/no/such/folder")), Err(FolderRefusal::Root { .. })));
    }

    #[test]
    fn the_list_holds_csv_files_in_order() {
        let (_scratch, folder) = scratch();
        fs::write(folder.root.join("EAST.CSV"), "").unwrap();
        let names: Vec<_> = folder.list().unwrap().into_iter().map(|file| (file.name, file.bytes)).collect();
        assert_eq!(names, [("EAST.CSV".to_owned(), 0), ("north.csv".to_owned(), 4)]);
    }
}
