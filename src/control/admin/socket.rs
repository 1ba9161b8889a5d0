//! The admin's Unix socket: never open to others, not even for a moment.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use tokio::net::UnixListener;

/// Binds the socket, in place of one that a process left behind, and gives its file this mode and group.
///
/// It is bound in a folder that only this user may enter, given its mode, and moved out: between `bind` and `chmod`
/// in the open, anybody could connect.
///
/// # Errors
/// Somebody listens there, something that is no socket stands there, the folder cannot be written, or the group is not
/// one of this user's.
pub fn bind_unix(path: &Path, mode: u32, gid: Option<u32>) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "what stands there is no socket"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::Error::from(io::ErrorKind::AddrInUse));
        }
        Ok(_) | Err(_) => {}
    }
    let folder = path.with_file_name(format!(".scopegate-{}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let bound = bind_within(&folder, path, mode, gid);
    let _ = std::fs::remove_dir_all(&folder);
    bound
}

fn bind_within(folder: &Path, path: &Path, mode: u32, gid: Option<u32>) -> io::Result<UnixListener> {
    let fresh = folder.join("s");
    let listener = UnixListener::bind(&fresh)?;
    // The group first: for a moment the mode would speak of another.
    if gid.is_some() {
        std::os::unix::fs::chown(&fresh, None, gid)?;
    }
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(mode))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}
