//! The admin's Unix socket: never open to others, not even for a moment.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use tokio::net::UnixListener;

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// Binds the socket, in place of one that a process left behind.
///
/// It is bound in a folder that only this user may enter, given its mode, and moved out: between `bind` and `chmod`
/// in the open, anybody could connect.
///
/// # Errors
/// Somebody listens there, something that is no socket stands there, or the folder cannot be written.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{}: not a socket", path.display())));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{}: in use", path.display())));
        }
        Ok(_) | Err(_) => {}
    }
    let folder = path.with_file_name(format!(".scopegate-{}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let bound = bind_within(&folder, path);
    let _ = std::fs::remove_dir_all(&folder);
    bound
}

fn bind_within(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    let fresh = folder.join("s");
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(MODE))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}
