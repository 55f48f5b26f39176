//! What the journal has a disk do. Tests have it fail.

#[cfg(all(test, unix))]
pub(crate) mod faults;

use std::fs::{self, File};
use std::io;
#[cfg(windows)]
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// Makes a file that is not there yet.
pub(super) fn create(path: &Path) -> io::Result<File> {
    #[cfg(all(test, unix))]
    faults::before_change()?;
    let file = fs::OpenOptions::new().write(true).read(true).create_new(true).open(path)?;
    #[cfg(all(test, unix))]
    faults::created(&file);
    Ok(file)
}

/// Writes all of it, or perhaps a part if it fails.
pub(super) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(all(test, unix))]
    if let Err(error) = faults::before_change() {
        let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
        faults::written(file, half, offset);
        put_all_at(file, half, offset)?;
        return Err(error);
    }
    #[cfg(all(test, unix))]
    faults::written(file, bytes, offset);
    put_all_at(file, bytes, offset)
}

#[cfg(unix)]
fn put_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn put_all_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

/// Cuts a file off, or makes it longer by zeros.
pub(super) fn set_len(file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(all(test, unix))]
    faults::cut(file, bytes);
    file.set_len(bytes)
}

/// Makes what is in a file durable.
///
/// # Errors
/// Never that there is no room, whatever the system says: what became of anything that was not synced before is not known.
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(all(test, unix))]
    faults::synced(file).map_err(io::Error::other)?;
    file.sync_data().map_err(io::Error::other)
}

/// Makes all there is to a file durable; fails as [`sync_data`] does.
pub(super) fn sync_all(file: &File) -> io::Result<()> {
    #[cfg(all(test, unix))]
    faults::synced(file).map_err(io::Error::other)?;
    file.sync_all().map_err(io::Error::other)
}

/// Takes a file's name away. A loss of power may bring it back until the directory is synced.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    #[cfg(all(test, unix))]
    faults::removed(path);
    fs::remove_file(path)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        sync_all(&File::open(directory)?)?;
    }
    #[cfg(all(test, unix))]
    faults::directory_synced();
    Ok(())
}
