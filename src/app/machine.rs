//! What a start asks of the machine: addresses to listen on, and two folders of the gate's own. What it does not get is
//! said with the line of the configuration that asked for it, and how to mend it.

use std::fs::DirBuilder;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _};
use std::path::Path;

use crate::config::Config;
use crate::config::model::Listen;
use crate::control::admin::TokenFileError;
use crate::problem::{At, Problem};
use crate::proxy::worker::SpawnError;

/// For this user alone: state tells which credentials there were, and who reaches the admin socket is an operator.
const FOLDER_MODE: u32 = 0o700;

/// Makes the state folder and the folder of the admin socket where they are not there: the gate alone uses them. No
/// folder above them, for a path that is misspelt must not come into being; and no folder of a gate's socket, which
/// apps must be able to enter.
///
/// # Errors
/// Whatever cannot be made.
pub(super) fn make_folders(config: &Config) -> Result<(), Vec<Problem>> {
    let state = config.state.as_deref().map(|folder| ("`state`", folder, config.places.state));
    let socket = config.admin.as_ref().and_then(|admin| match &admin.listen {
        Listen::Unix(path) => path.parent().map(|folder| ("the admin socket", folder, config.places.admin)),
        Listen::Tcp(_) => None,
    });
    let wanted = state.into_iter().chain(socket).filter(|(_, folder, _)| !folder.as_os_str().is_empty());
    let problems: Vec<Problem> = wanted
        .filter_map(|(whose, folder, at)| {
            let error = make_folder(folder).err()?;
            let message = format!("the folder of {whose}, {}, cannot be made: {error}", folder.display());
            Some(Problem::error(&config.file, at, message).help(folder_remedy(folder, &error)))
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    // Looked at first: a file system that cannot be written may say that rather than that the folder is there.
    if folder.is_dir() {
        return Ok(());
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Err(error) if !(error.kind() == ErrorKind::AlreadyExists && folder.is_dir()) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn folder_remedy(folder: &Path, error: &Error) -> String {
    match (error.kind(), folder.parent()) {
        (ErrorKind::NotFound, Some(parent)) => {
            format!("make the folder {}, in which it is made, or correct the path", parent.display())
        }
        (ErrorKind::AlreadyExists | ErrorKind::NotADirectory, _) => {
            "something that is no folder stands there: move it away, or name another".to_owned()
        }
        (ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem, _) => {
            "make it as root and give it to the gate's user, mode 0700, or name one where that user may write"
                .to_owned()
        }
        _ => "name another".to_owned(),
    }
}

/// Why no worker runs.
pub(super) fn no_workers(config: &Config, error: SpawnError) -> Vec<Problem> {
    match error {
        SpawnError::Listen { gate, error } => match config.gates.get(gate) {
            Some(gate) => not_listening(config, gate.listen_at, &format!("gate {}", gate.name), &gate.listen, &error),
            // A listener is made for each gate and for nothing else.
            None => super::failed("a gate's listener", &error),
        },
        SpawnError::Thread(error) => super::failed("a thread of the data plane", &error),
    }
}

/// A listener that could not be had.
pub(super) fn not_listening(config: &Config, at: At, who: &str, listen: &Listen, error: &Error) -> Vec<Problem> {
    let problem = Problem::error(&config.file, at, format!("{who}, listen {listen}: {error}"));
    vec![problem.help(listen_remedy(listen, error))]
}

fn listen_remedy(listen: &Listen, error: &Error) -> String {
    let or_another = "or choose another `listen`";
    match (listen, error.kind()) {
        (Listen::Unix(path), ErrorKind::AddrInUse | ErrorKind::AlreadyExists) if is_no_socket(path) => {
            format!("move away what stands there, which is no socket, {or_another}")
        }
        (_, ErrorKind::AddrInUse) => format!("stop the other process {or_another}"),
        (Listen::Unix(path), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            format!("make the folder {}, which callers must be able to enter, {or_another}", parent(path))
        }
        (Listen::Unix(path), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            format!("let the gate's user write to the folder {}, {or_another}", parent(path))
        }
        (Listen::Tcp(address), ErrorKind::PermissionDenied) if address.port() < 1024 => {
            format!("ports below 1024 need a privilege that a gate should not have: lead one to it {or_another}")
        }
        (Listen::Tcp(_), ErrorKind::AddrNotAvailable) => {
            "no interface of this machine has this address: write one that has, or 0.0.0.0 for all".to_owned()
        }
        _ => "choose another `listen`".to_owned(),
    }
}

fn is_no_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket())
}

fn parent(path: &Path) -> std::path::Display<'_> {
    path.parent().unwrap_or(path).display()
}

/// An admin listener on TCP without a token that can be used.
pub(super) fn no_token(config: &Config, error: &TokenFileError) -> Vec<Problem> {
    let problem = Problem::error(&config.file, config.places.admin, format!("admin, token {error}"));
    vec![problem.help("write a random text there, such as `openssl rand -hex 32`, readable by the gate's user alone")]
}
