//! Files that appear whole or not at all: what is there stays until the new one can take its place. And tables that are
//! read whole.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

/// Two options that name the same file.
#[derive(Debug, thiserror::Error)]
#[error("{first} and {second} both name {}: give each a file of its own", path.display())]
pub(crate) struct SameFile {
    first: &'static str,
    second: &'static str,
    path: PathBuf,
}

/// Refuses a file that is named twice, in whatever way; what is no file, such as `/dev/null`, may be.
pub(crate) fn all_differ(named: &[(&'static str, &Path)]) -> Result<(), SameFile> {
    let mut seen: Vec<(&str, Place)> = Vec::new();
    for &(second, path) in named {
        let Ok(place @ Place::File(_)) = Place::of(path) else { continue };
        if let Some(&(first, _)) = seen.iter().find(|(_, other)| *other == place) {
            return Err(SameFile { first, second, path: path.to_owned() });
        }
        seen.push((second, place));
    }
    Ok(())
}

/// Makes sure that a file can be written later. What it holds stays.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    let Place::File(path) = Place::of(path)? else {
        return Ok(());
    };
    match File::options().write(true).open(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    beside(&path, PRIVATE).map(drop)
}

/// Writes a file beside the one that is there, and puts it in its place when it is whole.
pub(crate) fn replace(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    match Place::of(path)? {
        Place::File(path) => {
            let file = beside(&path, mode)?;
            whole(file.as_file(), write)?;
            file.persist(path)?;
            Ok(())
        }
        Place::Device(path) => whole(&File::options().write(true).open(path)?, write),
    }
}

/// All rows of a file that has these columns, and may have more: CSV with a header, or JSON lines.
pub(crate) fn rows<T: DeserializeOwned>(path: &Path, columns: &[&str]) -> io::Result<Vec<T>> {
    let bytes = fs::read(path)?;
    match bytes.trim_ascii_start().first() {
        None => Err(wrong("it is empty")),
        Some(b'{') => json_lines(&bytes, columns),
        Some(_) => csv_rows(&bytes, columns),
    }
}

fn csv_rows<T: DeserializeOwned>(bytes: &[u8], columns: &[&str]) -> io::Result<Vec<T>> {
    let mut table = csv::Reader::from_reader(bytes);
    let header = table.headers()?;
    if let Some(missing) = columns.iter().find(|column| !header.iter().any(|had| had == **column)) {
        return Err(wrong(format!("it has no column {missing}")));
    }
    Ok(table.deserialize().collect::<csv::Result<_>>()?)
}

fn json_lines<T: DeserializeOwned>(bytes: &[u8], columns: &[&str]) -> io::Result<Vec<T>> {
    let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
    let filled = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    // The parser's own words could quote a password.
    let row = |(number, line)| {
        serde_json::from_slice(line).map_err(|_| {
            wrong(format!("line {number} is no JSON object with {}", columns.join(" and ")))
        })
    };
    filled.map(row).collect()
}

fn wrong(reason: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason.into())
}

/// For everybody, as far as the umask allows.
pub(crate) const PUBLIC: u32 = 0o666;
/// For the owner's eyes only.
pub(crate) const PRIVATE: u32 = 0o600;

fn whole(file: &File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    write(&mut file)?;
    file.flush()
}

fn beside(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new();
    file.prefix(".chat-load.").permissions(Permissions::from_mode(mode)).tempfile_in(folder)
}

/// What a path leads to, links followed.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A file, there or not.
    File(PathBuf),
    /// Something that takes what is written to it: a device or a pipe.
    Device(PathBuf),
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        match fs::canonicalize(path) {
            Ok(path) => match path.metadata()? {
                found if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
                found if found.is_file() => Ok(Self::File(path)),
                _ => Ok(Self::Device(path)),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?;
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                Ok(Self::File(fs::canonicalize(folder.unwrap_or(Path::new(".")))?.join(name)))
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_only_by_a_whole_one() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("report"), directory.path().join("link"));
        fs::write(&path, "earlier").unwrap();
        symlink(&path, &link).unwrap();
        check(&link).unwrap();
        let broken = |file: &mut dyn Write| {
            file.write_all(b"half")?;
            Err(ErrorKind::StorageFull.into())
        };
        assert_eq!(replace(&link, PUBLIC, broken).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(fs::read_to_string(&path).unwrap(), "earlier");
        replace(&link, PRIVATE, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(link.is_symlink());
        assert_eq!(directory.path().read_dir().unwrap().count(), 2, "nothing is left over");
    }

    #[test]
    fn a_place_that_takes_no_file_is_found_out_at_once() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(check(directory.path()).unwrap_err().kind(), ErrorKind::IsADirectory);
        let missing = directory.path().join("no/where");
        assert_eq!(check(&missing).unwrap_err().kind(), ErrorKind::NotFound);
        check(&directory.path().join("new")).unwrap();
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
        check(Path::new("/dev/null")).unwrap();
        replace(Path::new("/dev/null"), PUBLIC, |file| file.write_all(b"gone")).unwrap();
    }

    #[test]
    fn a_table_without_rows_is_told_from_no_table() {
        let rows = |path: &Path| rows::<(String, String)>(path, &["name", "token"]);
        let wrong = |path: &Path| rows(path).unwrap_err().to_string();
        let directory = tempfile::tempdir().unwrap();
        assert!(wrong(directory.path()).contains("Is a directory"), "{}", wrong(directory.path()));
        assert_eq!(wrong(Path::new("/dev/null")), "it is empty");
        let path = directory.path().join("table");
        for header in ["name,password", "name, token", "name,password\na,b"] {
            fs::write(&path, header).unwrap();
            assert_eq!(wrong(&path), "it has no column token", "{header}");
        }
        fs::write(&path, "name,token\n").unwrap();
        assert_eq!(rows(&path).unwrap(), []);
    }

    #[test]
    fn a_table_may_be_json_lines() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Row {
            name: String,
            token: String,
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("table");
        let rows = |text: &str| {
            fs::write(&path, text).unwrap();
            rows::<Row>(&path, &["name", "token"])
        };
        let row = |name: &str, token: &str| Row { name: name.into(), token: token.into() };
        let text = " {\"name\": \"a\", \"token\": \"t,1\", \"more\": 3}\r\n\n{\"token\":\"t2\",\"name\":\"b\"}";
        assert_eq!(rows(text).unwrap(), [row("a", "t,1"), row("b", "t2")]);
        for bad in ["{}", "{\"name\": \"a\", \"token\": 123456}", "{\"name\": \"a\"", "{oops}"] {
            let said = rows(&format!("\n{bad}")).unwrap_err().to_string();
            assert_eq!(said, "line 2 is no JSON object with name and token", "{bad}");
        }
    }

    #[test]
    fn one_file_named_twice_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (one, again) = (directory.path().join("a"), directory.path().join("./a"));
        let other = directory.path().join("b");
        all_differ(&[("--html", &one), ("--hdr-log", &other)]).unwrap();
        let error = all_differ(&[("--html", &one), ("--users", &other), ("--hdr-log", &again)]);
        let said = error.unwrap_err().to_string();
        assert!(said.starts_with("--html and --hdr-log both name"), "{said}");
        let null = Path::new("/dev/null");
        all_differ(&[("--html", null), ("--hdr-log", null)]).unwrap();
    }
}
